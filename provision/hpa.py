"""The number that a Kubernetes HorizontalPodAutoscaler would ask for: proposals, stabilization, limits of change.

After the published algorithm: kubernetes.io, "Horizontal Pod Autoscaling" (algorithm details, ambiguous and missing
metrics, configurable scaling behavior, stabilization window), and the API reference of autoscaling/v2. Where the page
leaves something open, the controller is what counts: a period's change is measured from the number at its beginning,
a percentage is rounded up on the way up and down to whole instances left on the way down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from provision.behavior import Behavior, ChangeKind, ScalingPolicy, Select

SYNC_S: Final = 15  # the controller's default pace
_ROUNDING: Final = 1e-9
_MOST: Final = 2.0**31  # more than any bound allows


@dataclass(frozen=True, slots=True)
class Past:
    """What was proposed and done lately; times in UTC seconds, oldest first."""

    proposals: tuple[tuple[float, int], ...] = ()  # before stabilization
    ups: tuple[tuple[float, int], ...] = ()  # instances added
    downs: tuple[tuple[float, int], ...] = ()  # instances taken away


@dataclass(frozen=True, slots=True)
class Advice:
    """How many there should be, what to remember, and why."""

    count: int
    past: Past
    reasons: tuple[str, ...] = field(default=())


# -- proposals --------------------------------------------------------------------------------------------------------


def of_total(total: float, target: float, current: int, behavior: Behavior) -> int:
    """An AverageValue: the total over what each should have; `current` while that is within the tolerance.

    95 at a target of 10 are 10 instances. 41 for 4 instances are 2.5 % more than 40: still 4.
    """
    if current and is_near(total / (target * current), behavior):
        return current
    return _ceil(total / target)


def of_value(value: float, target: float, current: int, ready: int, behavior: Behavior) -> int:
    """One Value for all: the ready instances times the ratio; from none, the ratio itself."""
    ratio = value / target
    if not current:
        return _ceil(ratio)
    return current if is_near(ratio, behavior) else _ceil(ratio * ready)


def of_each(
    values: Sequence[float], missing: int, starting: int, target: float, current: int, behavior: Behavior
) -> int | None:
    """What each of the ready instances shows, averaged; None if none shows anything.

    1. Those without a sample are taken to be at the target where the others say fewer, and at 0 where they say more.
    2. Those that start are taken to be at 0 where the others say more.
    3. If that brings the average within the tolerance, or turns its direction round, nothing changes.
    """
    if not values:
        return None
    ratio = sum(values) / len(values) / target
    grows = ratio > 1.0
    if not missing and not (starting and grows):
        return current if is_near(ratio, behavior) else _ceil(ratio * len(values))
    total, counted = sum(values), len(values) + missing
    if not grows:
        total += missing * target
    else:
        counted += starting
    again = total / counted / target
    if is_near(again, behavior) or (again > 1.0) != grows:
        return current
    proposed = _ceil(again * counted)
    return current if (proposed > current) != grows else proposed


def is_near(ratio: float, behavior: Behavior) -> bool:
    """Within the tolerance of its direction, 10 % by default."""
    rules = behavior.scale_up if ratio > 1.0 else behavior.scale_down
    return abs(ratio - 1.0) <= rules.within + _ROUNDING


# -- behavior ---------------------------------------------------------------------------------------------------------


def advise(behavior: Behavior, past: Past, now: float, current: int, proposal: int, least: int, most: int) -> Advice:
    """From a proposal to a number.

    1. Stabilization: at least the lowest proposal of the window for scaling up, at most the highest of that for
       scaling down.
    2. Limits: no more change within a period than the policies allow.
    3. The bounds. A number outside of them goes to them at once.
    """
    if not least <= current <= most:
        count = min(max(current, least), most)
        return Advice(count, past, (f"bounded {current}→{count}",))
    reasons: list[str] = []
    steady = _stabilized(behavior, past, now, current, proposal)
    if steady != proposal:
        reasons.append(f"stabilized {proposal}→{steady}")
    allowed = _limited(behavior, past, now, current, steady)
    if allowed != steady:
        reasons.append(f"limited {steady}→{allowed}")
    count = min(max(allowed, least), most)
    if count != allowed:
        reasons.append(f"bounded {allowed}→{count}")
    return Advice(count, _remembered(behavior, past, now, proposal, count - current), tuple(reasons))


def _stabilized(behavior: Behavior, past: Past, now: float, current: int, proposal: int) -> int:
    up = min([proposal, *_since(past.proposals, now - behavior.up_window_s)])
    down = max([proposal, *_since(past.proposals, now - behavior.down_window_s)])
    return min(max(current, up), down)


def _limited(behavior: Behavior, past: Past, now: float, current: int, wanted: int) -> int:
    def began(policy: ScalingPolicy) -> int:
        """The number at the beginning of the policy's period."""
        since = now - policy.period_seconds
        return current - sum(_since(past.ups, since)) + sum(_since(past.downs, since))

    if wanted > current:
        if behavior.scale_up.select is Select.DISABLED:
            return current
        most = _selected(behavior.scale_up.select, behavior.up_policies, lambda p: _up(p, began(p)), max, min)
        return min(wanted, max(current, most))
    if wanted < current:
        if behavior.scale_down.select is Select.DISABLED:
            return current
        fewest = _selected(behavior.scale_down.select, behavior.down_policies, lambda p: _down(p, began(p)), min, max)
        return max(wanted, min(current, fewest))
    return current


def _selected(
    select: Select,
    policies: Sequence[ScalingPolicy],
    reaches: Callable[[ScalingPolicy], int],
    largest_change: Callable[[list[int]], int],
    smallest_change: Callable[[list[int]], int],
) -> int:
    reached = [reaches(policy) for policy in policies]
    return largest_change(reached) if select is Select.MAX else smallest_change(reached)


def _up(policy: ScalingPolicy, began: int) -> int:
    if policy.type is ChangeKind.PODS:
        return began + policy.value
    return _ceil(began * (1.0 + policy.value / 100.0))


def _down(policy: ScalingPolicy, began: int) -> int:
    if policy.type is ChangeKind.PODS:
        return began - policy.value
    return math.floor(began * (1.0 - policy.value / 100.0) + _ROUNDING)


# -- what is remembered -----------------------------------------------------------------------------------------------


def _remembered(behavior: Behavior, past: Past, now: float, proposal: int, change: int) -> Past:
    window_s = max(behavior.up_window_s, behavior.down_window_s)
    up_s = max(p.period_seconds for p in (*behavior.up_policies, *behavior.down_policies))
    ups = (*past.ups, (now, change)) if change > 0 else past.ups
    downs = (*past.downs, (now, -change)) if change < 0 else past.downs
    return Past(
        _kept((*past.proposals, (now, proposal)), now - window_s), _kept(ups, now - up_s), _kept(downs, now - up_s)
    )


def _since(events: Sequence[tuple[float, int]], since: float) -> list[int]:
    return [count for at, count in events if at > since]


def _kept(events: tuple[tuple[float, int], ...], since: float) -> tuple[tuple[float, int], ...]:
    return tuple(event for event in events if event[0] > since)


def _ceil(count: float) -> int:
    return math.ceil(min(count, _MOST) - _ROUNDING)
