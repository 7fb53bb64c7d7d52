"""The SLO policy: the user names the time that requests may wait and the share of them that must not wait longer.

1. A floor stands ready. It is chosen with the manner of launching above it (`choice.py`), by what both would have meant
   in the past (`queues.py`).
2. Above it only launches that are of use (`launches.py`), in that manner: by the rate, and up to a height as soon as
   half of what is ready is busy.
3. What was launched is given back as it is not needed any more: with a launch time as its half-life, since a launch
   time is what it costs to have it back.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Final

from provision.choice import REQUESTS_FEW, choose
from provision.config import TargetTrackingPolicy
from provision.launches import kept_now, launches_now, lifted_now, needed_now
from provision.pace import Pace
from provision.queues import advance, fresh
from provision.shadow import RATES_S, Shadow, SloMemory, Way
from provision.tracking import Standing, bounded
from provision.traffic import Traffic
from provision.wishes import View
from provision.words import counted

# Until a launch was measured. Instances with a GPU and a model take that long or longer.
LAUNCH_S_GUESSED: Final = 10.0
LAUNCH_S_LEAST: Final = 0.05
SERVICE_S_LEAST: Final = 1e-3
# The service time is a mean over as many requests.
SERVICE_REQUESTS: Final = 1000.0
# Measured times are taken in steps of a twentieth: nothing is to change because of a hundredth of a second.
TIME_FACTOR: Final = 1.05
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
    lifted = 0
    if way.height > way.floor:
        lifted = lifted_now(pace, inside, shadow.surge, ready, float(there), coming_s, way.height)
    needed = math.ceil(traffic.in_flight / pace.slots)
    if shadow.requests >= REQUESTS_FEW:  # else the rate is not known well enough to give anything back by it
        # The last one stays while requests come, though there be moments with none in work.
        needed = max(min(needed, needed_now(pace, inside, rate, way.share)), 1 if max(rates) > 0.0 else 0)
        if traffic.waiting:  # fewer are enough for a queue that is short for them, too
            in_limit = inside / (pace.rate * pace.limit_s * way.share * QUEUE_SHORT)
            needed = max(needed, math.ceil(max(in_limit, rates[-1] / pace.rate) - _ROUNDING))
        if way.height > way.floor:
            needed = max(needed, kept_now(pace, inside, way.height))
    elif traffic.waiting:
        needed = there
    needed = min(there, needed)
    kept = math.exp(-max(0.0, view.now - memory.held_at) / pace.launch_s)
    held = max(needed, needed + (memory.held - needed) * kept)
    if held - needed < 0.5:
        held = float(needed)
    if more or lifted:
        held = max(held, float(there + max(more, lifted)))
    # Whoever were sent away while requests wait would have to be kept until they are answered.
    wanted = max(way.floor, math.floor(held + 0.5), there if traffic.waiting else 0)
    said = bounded(policy, wanted)
    why: tuple[str, ...] = ()
    if lifted > more:
        why = (f"{counted(lifted, 'launch', 'launches')} up to {way.height}: over half are busy",)
    elif more:
        why = _launching(pace, left, more, RATES_S[way.rate], rate)
    elif wanted > way.floor:
        were, are = ("was", "is") if wanted == way.floor + 1 else ("were", "are")
        why = (f"{wanted - way.floor} more {were} needed and {are} given back",)
    if said != wanted:
        why = (*why, f"bounded {wanted}→{said}")
    return said, held, why


def _launching(pace: Pace, left: float, more: int, rate_s: float, rate: float) -> tuple[str, ...]:
    expected = f"{rate:.1f} requests a second in {rate_s:g} s"
    launches, requests = counted(more, "launch", "launches"), counted(f"{left:.0f}", "request")
    return (f"{launches}: {requests} would be left in {pace.launch_s:.1f} s, at {expected}",)
