"""The rules for imagined queues, which are written with arrays, for one queue of plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from provision import launches
from provision.pace import Pace


def _one(value: float) -> Any:
    return np.array([float(value)])


def left(pace: Pace, inside: float, per_s: float, ready: float, coming_s: float = 0.0) -> float:
    expected, slots = _one(per_s * pace.launch_s), _one(ready * pace.slots)
    found = launches.left_at_ready(pace, _one(inside), expected, _one(ready), slots, _one(coming_s))
    return float(found[0])


def launched(
    pace: Pace, inside: float, per_s: float, ready: float, there: float, coming_s: float = 0.0, share: float = 1.0
) -> float:
    remains = _one(left(pace, inside, per_s, ready, coming_s))
    in_limit = launches.answered_in_limit(pace, _one(share))
    return float(launches.useful(remains, _one(there), in_limit, pace.slots)[0])


def needed(pace: Pace, inside: float, per_s: float, share: float = 1.0) -> float:
    in_reach = launches.answered_in_reach(pace, _one(share))
    return float(launches.needed(_one(inside), _one(per_s * pace.launch_s), in_reach)[0])


def lifted(
    pace: Pace, inside: float, surge: float, ready: float, there: float, coming_s: float, height: float
) -> float:
    remains = _one(left(pace, inside, surge / pace.launch_s, ready, coming_s))
    rising = launches.half_busy(_one(inside), _one(ready * pace.slots))
    return 0.0 if rising is None else float(launches.lifted(rising, remains, _one(there), _one(height), pace.slots)[0])
