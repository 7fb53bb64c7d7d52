"""Which way of scaling is taken: by what each would have cost, and how many requests would have been late with it.

Two memories have a say. The recent one (`queues.FADE_S`) tells what is enough now, as it was. The long one
(`queues.LONG_S`) tells what else there has been, bursts counted with what few of them cannot tell; safety from that is
bought as far as it is cheap.
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
# What it may cost to avoid a recent share that is twice as large as allowed, as a part of all: a single burst may have
# made it so large.
DOUBT: Final = 0.05
# A share that is so many times as large as allowed is no matter of price.
TIMES_MAX: Final = 20.0
# What a smaller share in the long memory may cost, as a part of the price.
PREMIUM: Final = 0.3
# How many deviations the shares of the long memory are raised by.
DEVIATIONS: Final = 1.0
# Up to this part of what the fewest instances that always stand would cost, more safety costs nothing that anybody who
# does not know the future could save by a number of his own. 0.7, as what is in memory may be over: see the page.
STANDING_PART: Final = 0.7
# Shares that are alike, for which the cheaper way is taken.
_ALIKE: Final = 1e-5
# The manner for as long as little was seen: the one that launches soonest and most.
SOONEST: Final = 0
_ROUNDING: Final = 1e-9


def choose(shadow: Shadow, percentile: float, pace: Pace) -> Way:
    """The cheapest way by what was seen lately; or, where it is not much dearer, the safest by what was seen long ago.

    With fewer than REQUESTS_FEW requests in memory, the minimum and launches as early and as many as can be.
    """
    floors = shadow.floors
    if shadow.requests < REQUESTS_FEW:
        few = f"floor {floors[0]}: {shadow.requests:.0f} of {REQUESTS_FEW:.0f} requests seen"
        return Way(floors[0], floors[0], *BY_RATE[SOONEST], few)
    allowed = 1.0 - percentile
    shares, prices = late_shares(shadow, 0.0), costs(shadow)
    if shadow.requests * allowed < 1.0:
        ways = _by_rate_alone(floors)
        return _way(floors, int(ways[_cheapest(shares[ways], prices[ways], allowed)]), pace, shares, "")
    ways = _all(floors)
    cheapest = int(ways[_cheapest(shares[ways], prices[ways], allowed)])
    most, beside = _may_cost(shadow, allowed, shares[ways], prices[ways], float(prices[cheapest]))
    lately = max(float(shares[cheapest]), allowed) + _ALIKE
    within = ways[(prices[ways] <= most) & (shares[ways] <= lately)]
    # Who kept the share long ago, too, is safe enough: of those the cheapest is taken.
    long = np.maximum(allowed, late_shares_long(shadow, DEVIATIONS)[within])
    return _way(floors, int(within[_safest(long, prices[within])]), pace, shares, beside)


def _all(floors: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """The columns of all ways but of those that always stand."""
    columns = columns_of(floors)
    every = np.arange(len(columns.floor))
    found: npt.NDArray[np.intp] = every[(every >= columns.lifted) | (every % MANNERS != STANDING)]
    return found


def _by_rate_alone(floors: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Those of the manner that launches soonest: few requests do not tell manners apart."""
    return np.arange(SOONEST, columns_of(floors).lifted, MANNERS)


def _cheapest(shares: Numbers, prices: Numbers, allowed: float) -> int:
    """With the price of doubt; none with a share far too large while there is another."""
    doubtful = (prices + _ROUNDING) * (1.0 + DOUBT * np.maximum(0.0, shares / allowed - 1.0))
    return int(np.argmin(np.where(shares <= max(TIMES_MAX * allowed, float(shares.min())), doubtful, np.inf)))


def _may_cost(shadow: Shadow, allowed: float, shares: Numbers, prices: Numbers, cheapest: float) -> tuple[float, str]:
    """What a safer way than the cheapest may cost, and what to say of it.

    PREMIUM more. Where the cheapest has a share above the allowed one and for that much more there is a way that kept
    it lately, that is bought first, and the premium is counted from there.
    """
    most = cheapest * (1.0 + PREMIUM)
    kept = float(np.min(prices, where=shares <= allowed, initial=np.inf))
    if kept <= most:
        most = kept * (1.0 + PREMIUM)
    stands = standing(shadow, allowed)
    if stands is None or cheapest >= STANDING_PART * stands[1]:
        return most, ""
    return max(most, STANDING_PART * stands[1]), f"; {stands[0]} that always stand would have been enough"


def _safest(shares: Numbers, prices: Numbers) -> int:
    """The smallest share, the cheapest of equals."""
    alike = np.round(shares / _ALIKE)
    return int(np.argmin(np.where(alike == alike.min(), prices, np.inf)))


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
