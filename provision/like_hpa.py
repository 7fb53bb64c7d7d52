"""A policy that behaves as a HorizontalPodAutoscaler: `hpa.py` fed with what the policy sees, every 15 seconds.

The fifteen seconds are counted on the clock, not from the first look, so they do not depend on the pace of the loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from provision.behavior import Behavior
from provision.columns import Totals, mean
from provision.config import INSTANCES_MAX, MetricType, TargetTrackingPolicy, TargetType
from provision.hpa import SYNC_S, Past, advise, of_each, of_total, of_value
from provision.tracking import Standing
from provision.wishes import View


@dataclass(frozen=True, slots=True)
class HpaMemory:
    """What such a policy remembers beside its standing."""

    synced: int | None = None  # the last quarter of a minute that was looked at
    past: Past = field(default_factory=Past)
    why: str = ""  # of that look


def like_hpa(
    policy: TargetTrackingPolicy, before: HpaMemory | None, standing: Standing, view: View
) -> tuple[HpaMemory, Standing, tuple[str, ...]]:
    """What to remember, what the policy says, and why. Without a figure it says what it said before."""
    assert policy.behavior is not None
    memory = HpaMemory() if before is None else before
    sync = math.floor(view.now / SYNC_S)
    least, most = policy.min_capacity, policy.max_capacity
    within = least <= standing.said <= most
    if memory.synced is not None and sync <= memory.synced and within:
        return memory, standing, (memory.why,)
    proposal, seen = _proposal(policy, policy.behavior, standing.said, view)
    asks_for_none = proposal == 0 or (proposal is None and standing.said == 0)
    if asks_for_none and _is_blind(policy) and view.usage.peak(view.now, SYNC_S):
        proposal, seen = 1, f"{seen}, requests came"
    asked = standing.said if proposal is None else proposal
    # Counted from the quarter's beginning: two looks may lie less than its length apart, and periods must not shift.
    advice = advise(policy.behavior, memory.past, float(sync * SYNC_S), standing.said, asked, least, most)
    # A look without a figure proposes nothing, so it is not remembered as a proposal.
    past = memory.past if proposal is None else advice.past
    why = " ".join((seen, *advice.reasons))
    return HpaMemory(sync, past, why), replace(standing, said=advice.count), (why,)


def _is_blind(policy: TargetTrackingPolicy) -> bool:
    """Its metric may show nothing, or 0, while requests wait for the first instance."""
    return policy.metric_type.is_sampled or policy.metric_type in (MetricType.QUEUE_WAIT, MetricType.PROMETHEUS)


def _proposal(policy: TargetTrackingPolicy, behavior: Behavior, current: int, view: View) -> tuple[int | None, str]:
    """What the metric alone asks for, and what it was; None where there is no figure."""
    target = policy.metric_target
    match policy.metric_type:
        case MetricType.CONCURRENCY:
            return _of_total(view.usage.demand(), target * view.slots_per_instance, current, behavior, view)
        case MetricType.REQUEST_RATE:
            return _of_total(view.usage.arrivals(), target, current, behavior, view)
        case MetricType.WAITING:
            return _of_total(view.usage.waiting(), target, current, behavior, view)
        case MetricType.QUEUE_WAIT:
            waited_s = mean(view.usage.waits(0), view.now, SYNC_S)
            if waited_s is None and mean(view.usage.demand(), view.now, SYNC_S) == 0.0:
                waited_s = 0.0  # nobody was there who could have waited
            if waited_s is None:
                return None, f"no request answered in {SYNC_S} s"
            return _of_value(waited_s * 1e3, target, current, behavior, view)
        case MetricType.PROMETHEUS:
            value = view.reading
            if policy.metric_target_type is TargetType.VALUE:
                return _of_value(value, target, current, behavior, view)
            if value is None:
                return None, f"no reading{view.reading_note}"
            return _bounded(of_total(value, target, current, behavior)), f"hpa of {value:.4g}"
    proposal = of_each(view.values, max(0, view.current - len(view.values)), view.starting, target, current, behavior)
    if proposal is None:
        return None, f"no {policy.metric_type} seen"
    return _bounded(proposal), f"hpa of {sum(view.values) / len(view.values):.4g} on {len(view.values)}"


def _of_total(of: Totals, target: float, current: int, behavior: Behavior, view: View) -> tuple[int | None, str]:
    total = mean(of, view.now, SYNC_S)
    if total is None:
        return None, f"no usage seen in {SYNC_S} s"
    return _bounded(of_total(total, target, current, behavior)), f"hpa of {total:.4g}"


def _of_value(
    value: float | None, target: float, current: int, behavior: Behavior, view: View
) -> tuple[int | None, str]:
    if value is None:
        return None, f"no reading{view.reading_note}"
    return _bounded(of_value(value, target, current, view.current, behavior)), f"hpa of {value:.4g}"


def _bounded(count: int) -> int:
    return min(count, INSTANCES_MAX)
