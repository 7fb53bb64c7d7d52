"""The SLO policy: the user names the time that requests may wait and the share of them that must not wait longer.

1. A floor stands ready. It is chosen with the manner of launching above it, as the cheapest of all that would have kept
   the share in the recent past (`queues.py`), bursts counted with what few of them cannot tell.
2. Above it only launches that are of use (`launches.py`), in that manner.
3. What was launched is given back as it is not needed any more: with a launch time as its half-life, since a launch
   time is what it costs to have it back.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np

from provision.config import TargetTrackingPolicy
from provision.launches import Numbers, launches_now, needed_now
from provision.pace import Pace
from provision.queues import advance, fresh, late_shares, standing
from provision.shadow import RATES_S, SHARES, STANDING, Shadow, SloMemory, Way
from provision.tracking import Standing, bounded
from provision.traffic import Traffic
from provision.wishes import View

# Until a launch was measured. Instances with a GPU and a model take that long or longer.
LAUNCH_S_GUESSED: Final = 10.0
LAUNCH_S_LEAST: Final = 0.05
SERVICE_S_LEAST: Final = 1e-3
# The service time is a mean over as many requests.
SERVICE_REQUESTS: Final = 1000.0
# Measured times are taken in steps of a twentieth: nothing is to change because of a hundredth of a second.
TIME_FACTOR: Final = 1.05
# How many deviations what a few bursts have shown is raised by.
DEVIATIONS: Final = 1.0
# What it may cost to avoid a share that is twice as large as allowed, as a part of all: the share is a bound that a
# single burst may have raised, and a tenth of the instances is the price of such doubt.
DOUBT: Final = 0.1
# A share that is so many times as large as allowed is no matter of price.
TIMES_MAX: Final = 20.0
REQUESTS_FEW: Final = 20.0  # to say anything by
# Up to this part of what the fewest instances that always stand would cost, more safety costs nothing that anybody who
# does not know the future could save by a number of his own. 0.7, as what is in memory may be over: see the page.
STANDING_PART: Final = 0.7
# Shares that are alike, for which the cheaper way is taken.
_ALIKE: Final = 1e-5
# The manner for as long as little was seen: the one that launches soonest and most.
SOONEST: Final = 0
# A queue is short where it is answered within this part of what may be waited.
QUEUE_SHORT: Final = 0.5
_LOG_TIME_FACTOR: Final = math.log(TIME_FACTOR)
_ROUNDING: Final = 1e-9


def by_slo(
    policy: TargetTrackingPolicy, memory: SloMemory | None, before: Standing, view: View
) -> tuple[SloMemory, Standing, tuple[str, ...]]:
    """What to remember, what the policy says, and why."""
    assert policy.percentile is not None
    traffic = view.traffic
    memory = memory or SloMemory(held=float(before.said), held_at=view.now)
    served_s, answered = _served(memory, traffic)
    if answered < 1.0:
        return _unknown(policy, replace(memory, served_s=served_s, answered=answered), view)
    pace = _pace(policy, served_s / answered, view)
    shadow = memory.shadow
    if shadow is None or not shadow.is_of(pace, policy.min_capacity, policy.max_capacity):
        shadow = fresh(pace, policy.min_capacity, policy.max_capacity, view.now - traffic.interval_s)
    if traffic.interval_s > 0.0:
        shadow = advance(shadow, pace, view.now - traffic.interval_s, view.now, traffic.arrived)
    chosen, known = memory.chosen, memory.shadow
    if known is None or shadow.table is not known.table:
        chosen = None
    if chosen is None or chosen[0] != policy.percentile:
        chosen = (policy.percentile, choose(shadow, policy.percentile, pace))
    way = chosen[1]
    said, held, launches = _reaction(policy, shadow, way, pace, memory, view)
    why = (way.why, *launches)
    memory = SloMemory(shadow, served_s, answered, held, view.now, chosen)
    return memory, Standing(said), why


def choose(shadow: Shadow, percentile: float, pace: Pace) -> Way:
    """The cheapest way by what it would have cost and how many would have waited too long under it.

    Where that is far less than what as few instances as would have been enough cost when they always stand, the safest
    way for a good part of their price.
    """
    floors = shadow.floors
    if shadow.requests < REQUESTS_FEW:
        few = f"floor {floors[0]}: {shadow.requests:.0f} of {REQUESTS_FEW:.0f} requests seen"
        return _way(floors, 0, SOONEST, few)
    allowed = 1.0 - percentile
    shares, costs = (of_all[:, :STANDING] for of_all in late_shares(shadow, DEVIATIONS))
    prices = (costs + _ROUNDING) * (1.0 + DOUBT * np.maximum(0.0, shares / allowed - 1.0))
    prices = np.where(shares <= max(TIMES_MAX * allowed, float(shares.min())), prices, np.inf)
    if shadow.requests * allowed < 1.0:  # too few to tell manners apart
        index, manner = int(np.argmin(prices[:, SOONEST])), SOONEST
    else:
        index, manner = (int(i) for i in np.unravel_index(int(np.argmin(prices)), prices.shape))
    beside = ""
    if shadow.requests * allowed >= 1.0 and (stands := standing(shadow, allowed)) is not None:
        most = STANDING_PART * stands[1]
        if costs[index, manner] < most:
            index, manner = _safest(shares, costs, most)
            beside = f"; {stands[0]} that always stand would have been enough"
    why = f"floor {floors[index]}: {_told(shares[index, manner])} waited over {pace.limit_s:g} s with it"
    if index:
        why += f", {_told(shares[index - 1, manner])} with {floors[index - 1]}"
    return _way(floors, index, manner, why + beside)


def _safest(shares: Numbers, costs: Numbers, most: float) -> tuple[int, int]:
    """The way with the smallest share of those that cost so much at most, the cheapest of equals."""
    within = np.where(costs <= most, np.round(shares / _ALIKE), np.inf)
    least = np.where(within == within.min(), costs, np.inf)
    index, manner = np.unravel_index(int(np.argmin(least)), least.shape)
    return int(index), int(manner)


def _way(floors: tuple[int, ...], index: int, manner: int, why: str) -> Way:
    rate, share = divmod(manner, len(SHARES))
    assert 0 <= manner < STANDING
    return Way(floors[index], rate, SHARES[share], why)


def _told(share: float) -> str:
    return f"up to {share:.1%} of recent requests would have"


# -- what is measured -------------------------------------------------------------------------------------------------


def _served(memory: SloMemory, traffic: Traffic) -> tuple[float, float]:
    """Seconds in instances, of how many requests."""
    if not traffic.interval_s:
        return memory.served_s, memory.answered
    served_s, answered = memory.served_s + traffic.served_s, memory.answered + traffic.answered
    fade = min(1.0, SERVICE_REQUESTS / answered) if answered else 1.0
    return served_s * fade, answered * fade


def _pace(policy: TargetTrackingPolicy, service_s: float, view: View) -> Pace:
    launch_s = LAUNCH_S_GUESSED if view.launch_s is None else max(LAUNCH_S_LEAST, view.launch_s)
    times = _stepped(max(SERVICE_S_LEAST, service_s)), _stepped(launch_s)
    return Pace(*times, policy.metric_target / 1e3, view.slots_per_instance)


def _stepped(seconds: float) -> float:
    return _power(round(math.log(seconds) / _LOG_TIME_FACTOR))


@lru_cache(maxsize=1024)
def _power(steps: int) -> float:
    return float(TIME_FACTOR**steps)


# -- what is done now -------------------------------------------------------------------------------------------------


def _unknown(
    policy: TargetTrackingPolicy, memory: SloMemory, view: View
) -> tuple[SloMemory, Standing, tuple[str, ...]]:
    """Before the first answer: what there is, and one instance for the requests that may be there."""
    asked = max(memory.held, 1.0 if view.traffic.waiting or view.traffic.in_flight else 0.0)
    said = bounded(policy, math.ceil(asked - _ROUNDING))
    return replace(memory, held_at=view.now), Standing(said), ("no request answered yet",)


def _reaction(
    policy: TargetTrackingPolicy, shadow: Shadow, way: Way, pace: Pace, memory: SloMemory, view: View
) -> tuple[int, float, tuple[str, ...]]:
    """What to say, what is held for the next time, and what was thought of launches."""
    traffic = view.traffic
    ready, there = float(view.current), view.current + view.starting
    coming_s = math.fsum([min(max(view.now - at, 0.0), pace.launch_s) for at in traffic.starting_at])
    inside = float(traffic.waiting + traffic.in_flight)
    rates = shadow.rates()
    rate = rates[way.rate]
    left, more = launches_now(pace, inside, rate, ready, float(there), coming_s, way.share)
    needed = math.ceil(traffic.in_flight / pace.slots)
    if shadow.requests >= REQUESTS_FEW:  # else the rate is not known well enough to give anything back by it
        # The last one stays while requests come, though there be moments with none in work.
        needed = max(min(needed, needed_now(pace, inside, rate, way.share)), 1 if max(rates) > 0.0 else 0)
        if traffic.waiting:  # fewer are enough for a queue that is short for them, too
            in_limit = inside / (pace.rate * pace.limit_s * way.share * QUEUE_SHORT)
            needed = max(needed, math.ceil(max(in_limit, rates[-1] / pace.rate) - _ROUNDING))
    elif traffic.waiting:
        needed = there
    needed = min(there, needed)
    kept = math.exp(-max(0.0, view.now - memory.held_at) / pace.launch_s)
    held = max(needed, needed + (memory.held - needed) * kept)
    if held - needed < 0.5:
        held = float(needed)
    if more:
        held = max(held, float(there + more))
    # Whoever were sent away while requests wait would have to be kept until they are answered.
    wanted = max(way.floor, math.floor(held + 0.5), there if traffic.waiting else 0)
    said = bounded(policy, wanted)
    why = _launching(pace, left, more, RATES_S[way.rate], rate) if more else ()
    if not more and wanted > way.floor:
        why = (f"{wanted - way.floor} more were needed and are given back",)
    if said != wanted:
        why = (*why, f"bounded {wanted}→{said}")
    return said, held, why


def _launching(pace: Pace, left: float, more: int, rate_s: float, rate: float) -> tuple[str, ...]:
    expected = f"{rate:.1f} requests a second in {rate_s:g} s"
    return (f"{more} launches: {left:.0f} requests would be left in {pace.launch_s:.1f} s, at {expected}",)
