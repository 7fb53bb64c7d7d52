"""Load over time: how many closed-loop users a shape asks for at a moment. Pure, so a simulator may drive it too.

Every shape runs for `duration_s` and stays within `low`..`high`; outside [0, duration_s) it asks for nobody.
"""

from __future__ import annotations

import math
from typing import Final

SHAPES: Final = ("steady", "step", "tidal", "burst")

STEPS: Final = 5  # `step` climbs low..high in this many equal stays: long enough each for a scaling decision to settle
BURST_BEGINS: Final = 0.2  # share of the duration: first enough calm to see the fleet at rest …
BURST_ENDS: Final = 0.65  # … and afterwards enough to see it begin to come back


def users_at(shape: str, t: float, *, low: int, high: int, duration_s: float) -> int:
    """The number of users wanted `t` seconds after the start.

    * steady: `high` all the time.
    * step: from `low` to `high` in five equal stays.
    * tidal: one tide, `low` at both ends and `high` in the middle (a raised cosine).
    * burst: `low`, at once `high` for a bit less than half of the time, at once `low` again.

    Raises:
        ValueError: an unknown shape, or bounds that are not 0 <= low <= high with high >= 1, or duration_s <= 0.
    """
    check(shape, low=low, high=high, duration_s=duration_s)
    if not 0.0 <= t < duration_s:
        return 0
    return low + round((high - low) * _height(shape, t / duration_s))


def check(shape: str, *, low: int, high: int, duration_s: float) -> None:
    """Raises ValueError, naming the argument, its value and what is allowed, when no load can be made of these."""
    if shape not in SHAPES:
        raise ValueError(f"shape: '{shape}' is not one of {', '.join(SHAPES)}")
    if low < 0:
        raise ValueError(f"low: {low} users; 0 or more are allowed")
    if high < max(low, 1):
        raise ValueError(f"high: {high} users; at least {max(low, 1)} are allowed (1, and not fewer than low)")
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise ValueError(f"duration_s: {duration_s}; a finite number above 0 is allowed")


def _height(shape: str, share: float) -> float:
    """How far between low (0) and high (1) a shape is when `share` of its duration has passed."""
    if shape == "steady":
        return 1.0
    if shape == "step":
        return math.floor(share * STEPS) / (STEPS - 1)
    if shape == "tidal":
        return (1.0 - math.cos(2.0 * math.pi * share)) / 2.0
    return 1.0 if BURST_BEGINS <= share < BURST_ENDS else 0.0
