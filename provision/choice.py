"""Which way of scaling is taken: by what each would have cost, and how many requests would have been late with it.

Two memories have a say. The recent one (`queues.FADE_S`) tells what is enough now, as it was. The long one
(`queues.LONG_S`) tells what else there has been, bursts counted with what few of them cannot tell. In both a way
becomes dearer by the share that would have been late, at one price.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from provision.experience import costs, late_shares, late_shares_long, standing
from provision.launches import Numbers
from provision.pace import Pace
from provision.shadow import BY_RATE, MANNERS, STANDING, Shadow, Way
from provision.ways import columns_of

REQUESTS_FEW: Final = 20.0  # to say anything by
# What it adds to the price of a way, as a part of it, that as many requests were late as are allowed; twice as many add
# it twice.
DOUBT: Final = 0.05
# What may be paid for that, as a part of the price of the cheapest: the past may be over.
PREMIUM: Final = 0.4
# A share that is so many times as large as allowed is no matter of price.
TIMES_MAX: Final = 20.0
# How many deviations the shares of the long memory are raised by.
DEVIATIONS: Final = 1.0
# Up to this part of what the fewest instances that always stand would cost all ways count as equally dear: so much
# safety costs nothing that anybody who does not know the future could save by a number of his own. Not all of it, as
# what is in memory may be over: see the page.
STANDING_PART: Final = 0.74
# Of two that are equally dear and safe the cheaper one is taken: what its price counts for then.
_EVEN: Final = 1e-3
# The manner for as long as little was seen: the one that launches soonest and most.
SOONEST: Final = 0
_ROUNDING: Final = 1e-9  # so that doubts count where nothing costs


def choose(shadow: Shadow, percentile: float, pace: Pace) -> Way:
    """The way with the lowest price, doubts added.

    With fewer than REQUESTS_FEW requests in memory, the minimum and launches as early and as many as can be.
    """
    floors = shadow.floors
    if shadow.requests < REQUESTS_FEW:
        few = f"floor {floors[0]}: {shadow.requests:.0f} of {REQUESTS_FEW:.0f} requests seen"
        return Way(floors[0], floors[0], *BY_RATE[SOONEST], few)
    allowed = 1.0 - percentile
    shares, prices = late_shares(shadow, 0.0), costs(shadow)
    ways = _by_rate_alone(floors) if shadow.requests * allowed < 1.0 else _all(floors)
    best, stands = _best(shadow, ways, shares[ways], prices[ways], allowed)
    beside = f"; {stands} that always stand would have been enough" if stands else ""
    return _way(floors, int(ways[best]), pace, shares, beside)


def _best(
    shadow: Shadow, ways: npt.NDArray[np.intp], lately: Numbers, prices: Numbers, allowed: float
) -> tuple[int, int | None]:
    """Which of `ways`, and how many would have been enough that always stand, where it costs far less than those."""
    possible = lately <= max(TIMES_MAX * allowed, float(lately.min()))
    stands = standing(shadow, allowed)
    free = 0.0 if stands is None else STANDING_PART * stands[1]
    possible &= prices <= max(free, _most(lately[possible], prices[possible], allowed))
    late = lately + late_shares_long(shadow, DEVIATIONS)[ways]
    counted = (np.maximum(prices, free) + _EVEN * prices + _ROUNDING) * (1.0 + DOUBT * late / allowed)
    best = int(np.argmin(np.where(possible, counted, np.inf)))
    return best, stands[0] if stands is not None and prices[best] < free else None


def _most(shares: Numbers, prices: Numbers, allowed: float) -> float:
    """What a way may cost: PREMIUM more than the cheapest, or than the cheapest that kept the share lately, if that is
    not dearer itself."""
    cheapest = float(prices[np.argmin((prices + _ROUNDING) * (1.0 + DOUBT * np.maximum(0.0, shares / allowed - 1.0)))])
    kept = float(np.min(prices, where=shares <= allowed, initial=np.inf))
    most = cheapest * (1.0 + PREMIUM)
    return max(most, kept * (1.0 + PREMIUM)) if kept <= most else most


def _all(floors: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """The columns of all ways but of those that always stand."""
    columns = columns_of(floors)
    every = np.arange(len(columns.floor))
    found: npt.NDArray[np.intp] = every[(every >= columns.lifted) | (every % MANNERS != STANDING)]
    return found


def _by_rate_alone(floors: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Those of the manner that launches soonest: few requests do not tell manners apart."""
    return np.arange(SOONEST, columns_of(floors).lifted, MANNERS)


def _way(floors: tuple[int, ...], index: int, pace: Pace, shares: Numbers, beside: str) -> Way:
    columns = columns_of(floors)
    floor, height = int(columns.floor[index]), int(columns.height[index])
    why = f"floor {floor}"
    if height > floor:
        why += f", {height} as soon as half are busy"
    why += f": {_told(shares[index])} waited over {pace.limit_s:g} s with it"
    if floor > floors[0]:
        below = index - 1 if height > floor else index - MANNERS
        why += f", {_told(shares[below])} with {int(columns.floor[below])}"
    return Way(floor, height, int(columns.rate[index]), float(columns.share[index]), why + beside)


def _told(share: float) -> str:
    return f"up to {share:.1%} of recent requests would have"
