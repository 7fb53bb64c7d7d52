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
# The same and nothing, as arrays of no dimension: quicker than a plain number.
_LEAST: Final = np.array(_ROUNDING)
_NOTHING: Final = np.array(0.0)
# Of the requests in work, the part that is still to be done, on average.
LEFT_IN_WORK: Final = 0.5
# A way with a height launches up to it once this part of the ready slots is taken: before anybody waits, as a burst
# that is met when its first requests wait is met a second later, which is a part of the limit.
HALF_BUSY: Final = 0.5
_HALF: Final = np.array(HALF_BUSY)


def answered_in_limit(pace: Pace, share: Numbers) -> Numbers:
    """Requests that one instance answers within `share` of the limit."""
    answered: Numbers = pace.rate * pace.limit_s * share
    return answered


def answered_in_reach(pace: Pace, share: Numbers) -> Numbers:
    """Requests that one instance answers in the time of a launch and `share` of the limit."""
    answered: Numbers = pace.rate * (pace.launch_s + pace.limit_s * share)
    return answered


def left_at_ready(
    pace: Pace, inside: Numbers, expected: Numbers, ready: Numbers, slots: Numbers, coming_s: Numbers | None
) -> Numbers:
    """Requests that are left when a launch of now would be ready: those there are and come less those answered.

    `inside`: requests that wait or are in work, `expected`: those that come in one launch time, `slots`: of the ready
    instances. `coming_s`: seconds that starting instances will have worked by then, all together. Nothing is left where
    this is 0 or less: a launch would find nothing to do.
    """
    left: Numbers = np.minimum(inside, slots)
    left *= 1.0 - LEFT_IN_WORK
    np.subtract(inside, left, out=left)
    left += expected
    done = ready * pace.launch_s
    if coming_s is not None:
        done += coming_s
    done *= pace.rate
    left -= done
    return left


def useful(left: Numbers, there: Numbers, in_limit: Numbers, slots: int) -> Numbers:
    """How many to launch now, 0 where none would be of use.

    As many as bring what is left within the limit, where one answers `in_limit` (`answered_in_limit`): with 100
    requests left, 1 s each, a limit of 4 s and 14 instances ready or starting (`there`), 25 are enough to answer them
    in 4 s: 11 more. Never more than what is left keeps busy, with `slots` each.
    """
    missing = left / in_limit
    missing -= there
    missing -= _LEAST
    busy = left / slots if slots > 1 else left.copy()
    busy -= _LEAST
    launched: Numbers = np.minimum(missing, busy, out=missing)
    np.ceil(launched, out=launched)
    np.maximum(launched, _NOTHING, out=launched)
    np.putmask(launched, left <= _LEAST, _NOTHING)
    return launched


def needed(inside: Numbers, expected: Numbers, in_reach: Numbers) -> Numbers:
    """The fewest instances for which no launch would be of use: what is above them can be given back.

    100 inside and 5 a second of 1 s each, launch 8 s, limit 4 s: 140 in 12 s (`answered_in_reach`), so 12.
    """
    count: Numbers = inside + expected
    count /= in_reach
    count -= _LEAST
    np.ceil(count, out=count)
    return count


def half_busy(inside: Numbers, slots: Numbers) -> npt.NDArray[np.bool_] | None:
    """Where half of the slots are taken; None for nowhere."""
    rising: npt.NDArray[np.bool_] = inside > slots * _HALF + _LEAST
    return rising if rising.item(rising.argmax()) else None


def lifted(rising: npt.NDArray[np.bool_], left: Numbers, there: Numbers, height: Numbers, of_one: int) -> Numbers:
    """Launches up to `height` where half is busy (`rising`), as many as find something to do.

    `left`: as `left_at_ready`, with what a surge brings in one launch time for `expected`. `of_one`: slots of one.
    """
    more = height - there
    busy = left / of_one
    busy -= _LEAST
    np.minimum(more, np.ceil(busy, out=busy), out=more)
    more *= rising
    launched: Numbers = np.maximum(more, _NOTHING, out=more)
    return launched


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


def lifted_now(
    pace: Pace, inside: float, surge: float, ready: float, there: float, coming_s: float, height: int
) -> int:
    """As `lifted`; `surge`: requests in one launch time."""
    if height <= there or inside <= ready * pace.slots * HALF_BUSY + _ROUNDING:
        return 0
    left, _ = launches_now(pace, inside, surge / pace.launch_s, ready, there, coming_s, 1.0)
    return max(0, min(math.floor(height - there), math.ceil(left / pace.slots - _ROUNDING)))


def kept_now(pace: Pace, inside: float, height: int) -> int:
    """The fewest instances that would not be launched again at once, up to the height."""
    return min(height, math.ceil(inside / (pace.slots * HALF_BUSY) - _ROUNDING))


def needed_now(pace: Pace, inside: float, arrivals_per_s: float, share: float) -> int:
    """As `needed`."""
    work = inside + arrivals_per_s * pace.launch_s
    return math.ceil(work / (pace.rate * (pace.launch_s + pace.limit_s * share)) - _ROUNDING)
