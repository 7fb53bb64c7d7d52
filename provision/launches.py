"""Which launches are of use: those that are ready before what is there has drained the requests that are expected.

One arithmetic for the instances there are and for the ones that are only imagined (`queues.py`): for these it is
written with arrays, one column for each imagined way of scaling, and once more with plain numbers for what there is
(`launches_now`, `needed_now`), as arrays of one number take ten times as long. A property test holds the two together.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from provision.pace import Pace

Numbers = npt.NDArray[np.float64]

_ROUNDING: Final = 1e-9
# Of the requests in work, the part that is still to be done, on average.
LEFT_IN_WORK: Final = 0.5


def left_at_ready(
    pace: Pace, inside: Numbers, arrivals_per_s: Numbers, ready: Numbers, coming_s: Numbers | float
) -> Numbers:
    """Requests that are left when a launch of now would be ready: those there are and come less those answered.

    `inside`: requests that wait or are in work. `coming_s`: seconds that starting instances will have worked by then,
    all together. Nothing is left where this is 0 or less: a launch would find nothing to do.
    """
    in_work = np.minimum(inside, ready * pace.slots)
    work = inside - (1.0 - LEFT_IN_WORK) * in_work
    left: Numbers = work + arrivals_per_s * pace.launch_s - pace.rate * (ready * pace.launch_s + coming_s)
    return left


def useful(pace: Pace, left: Numbers, there: Numbers, share: Numbers) -> Numbers:
    """How many to launch now, 0 where none would be of use.

    As many as bring what is left within `share` of the limit: with 100 requests left, 1 s each, a limit of 4 s and 14
    instances ready or starting (`there`), 25 are enough to answer them in 4 s: 11 more. Never more than what is left
    keeps busy.
    """
    enough = left / (pace.rate * pace.limit_s * share)
    missing = np.ceil(enough - there - _ROUNDING)
    busy = np.ceil(left / pace.slots - _ROUNDING)
    launched: Numbers = np.where(left > _ROUNDING, np.maximum(np.minimum(missing, busy), 0.0), 0.0)
    return launched


def needed(pace: Pace, inside: Numbers, arrivals_per_s: Numbers, share: Numbers) -> Numbers:
    """The fewest instances for which no launch would be of use: what is above them can be given back.

    100 inside and 5 a second of 1 s each, launch 8 s, limit 4 s: 140 in 12 s, so 12.
    """
    work = inside + arrivals_per_s * pace.launch_s
    count: Numbers = np.ceil(work / (pace.rate * (pace.launch_s + pace.limit_s * share)) - _ROUNDING)
    return count


# -- the same for what there is ---------------------------------------------------------------------------------------


def launches_now(
    pace: Pace, inside: float, arrivals_per_s: float, ready: float, there: float, coming_s: float, share: float
) -> tuple[float, int]:
    """`left_at_ready` and, of it, `useful`."""
    work = inside - (1.0 - LEFT_IN_WORK) * min(inside, ready * pace.slots)
    left = work + arrivals_per_s * pace.launch_s - pace.rate * (ready * pace.launch_s + coming_s)
    if left <= _ROUNDING:
        return left, 0
    missing = math.ceil(left / (pace.rate * pace.limit_s * share) - there - _ROUNDING)
    return left, max(0, min(missing, math.ceil(left / pace.slots - _ROUNDING)))


def needed_now(pace: Pace, inside: float, arrivals_per_s: float, share: float) -> int:
    """As `needed`."""
    work = inside + arrivals_per_s * pace.launch_s
    return math.ceil(work / (pace.rate * (pace.launch_s + pace.limit_s * share)) - _ROUNDING)
