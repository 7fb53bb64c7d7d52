"""What one target-tracking policy says: first what its metric asks for, then how far it may go there now.

Both are counted in instances. `wish` reads the windows; `settle` applies bounds, the delay and the size of a step down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from provision.config import MetricType, TargetTrackingPolicy
from provision.windows import Gauge, Piece, Usage, mean, sliding_mean_max

# FC scales in by a part of the way and keeps the size of the part to itself. Half: 8 idle instances are 4, 2, 1 after
# three steps, and a lull that ends meanwhile has cost at most half of what served.
SCALE_IN_PART: Final = 0.5
# A step's instances drain and the rest take over their requests, before the next step is thought of.
SCALE_IN_STEP_S: Final = 10.0
# What must have been seen of the stable window to scale in: a lost report or two is no reason to keep everything.
SCALE_IN_SEEN_PART: Final = 0.8
# A gauge this near its target is at it: counters are sampled, and one instance more or less would swing around it.
TOLERANCE: Final = 0.1
_ROUNDING: Final = 1e-6  # 0.6 / 0.3 must be 2 instances, not 3


@dataclass(frozen=True, slots=True)
class View:
    """What a policy looks at."""

    now: float
    current: int
    slots_per_instance: int
    usage: Usage
    gauge: Gauge  # instances' worth of the policy's metric: its maximum × the ready instances, by second
    newest_ready_at: float | None
    capacity_limit: int | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the metric asks for, in parts of instances; None where too little was seen to ask for anything."""

    grow: float | None = None  # by what is seen now
    shrink: float | None = None  # by the most that was seen in the stable window
    why: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a policy has said, kept for its next time."""

    said: int
    below_since: float | None = None  # since when fewer would do, without a break
    stepped_at: float | None = None  # the last step down


def wish(policy: TargetTrackingPolicy, view: View) -> Wish:
    """What the policy's metric asks for."""
    if policy.metric_type is MetricType.CONCURRENCY:
        return _of_concurrency(policy, view)
    return _of_gauge(policy, view)


def settle(
    policy: TargetTrackingPolicy, standing: Standing, wished: Wish, view: View
) -> tuple[Standing, tuple[str, ...]]:
    """What the policy says now, and why.

    1. More than before: at once.
    2. Too little seen to say that fewer would do: as before.
    3. Fewer: after the delay, then by steps with a time between them.
    """
    said = bounded(policy, standing.said)
    why = [wished.why]
    if wished.grow is not None and _whole(wished.grow) > said:
        wanted = _whole(wished.grow)
        said = bounded(policy, wanted)
        return Standing(said, None, standing.stepped_at), _noted(policy, why, wanted)
    if wished.shrink is None:
        return Standing(said, None, standing.stepped_at), tuple(why)
    wanted = _whole(max(wished.shrink, wished.grow or 0.0))
    if bounded(policy, wanted) >= said:
        return Standing(said, None, standing.stepped_at), _noted(policy, why, wanted)
    standing = replace(standing, said=said, below_since=_or(standing.below_since, view.now))
    held_s = _held_s(policy, standing, view.now)
    if held_s > 0.0:
        return standing, (*why, f"scale-in held for {math.ceil(held_s)} s")
    stepped = _step_down(policy, said, max(wished.shrink, wished.grow or 0.0), view.capacity_limit)
    return replace(standing, said=stepped, stepped_at=view.now), (*why, f"scale-in {said}→{stepped}")


def bounded(policy: TargetTrackingPolicy, count: int) -> int:
    return min(max(count, policy.min_capacity), policy.max_capacity)


# -- what the metric asks for -----------------------------------------------------------------------------------------


def _of_concurrency(policy: TargetTrackingPolicy, view: View) -> Wish:
    """All requests, also those that wait or run on demand: served ones cannot show more than what is there takes.

    Target 0.7, 2 slots, 10 requests: 10 / (2 × 0.7) = 7.14, so 8 instances.
    """
    per_instance = view.slots_per_instance * policy.metric_target
    wished = _averages(policy, view.usage.demand(), view.now, per_instance)
    if wished.grow is None:
        return replace(wished, why=f"no usage seen in {policy.stable_window_s} s")
    return _if_seen(policy, wished, view.usage.covered_s(view.now, policy.stable_window_s))


def _of_gauge(policy: TargetTrackingPolicy, view: View) -> Wish:
    """A gauge says how busy the instances are that there are; at none, the first request asks for the first one.

    More instances than requests at once would not help: a single request can keep a GPU busy all the time.
    """
    peak = view.usage.peak(view.now, policy.stable_window_s)
    if view.current == 0:
        recent = view.usage.peak(view.now, policy.panic_window_s)
        return Wish(grow=1.0 if recent else None, why="requests came" if recent else "no ready instance to measure")
    seconds = [second for second, _ in view.gauge.readings if second + 1 > view.now - policy.stable_window_s]
    if not seconds:
        return Wish(why=f"no {policy.metric_type} seen in {policy.stable_window_s} s")
    if peak is None:
        return Wish(why=f"no usage seen in {policy.stable_window_s} s")
    fresh_s = policy.panic_window_s if view.newest_ready_at is None else seconds[-1] - math.floor(view.newest_ready_at)
    if fresh_s < policy.panic_window_s:
        return Wish(why=f"newest instance measured for {fresh_s} of {policy.panic_window_s} s")
    wished = _averages(policy, view.gauge.pieces(), view.now, policy.metric_target)
    wished = replace(
        wished, grow=_helpful(wished.grow, view.current, peak), shrink=_helpful(wished.shrink, view.current, peak)
    )
    if wished.grow == peak:
        wished = replace(wished, why=f"{wished.why} peak={peak}")
    return _if_seen(policy, wished, seconds[-1] - seconds[0] + 1)


def _averages(policy: TargetTrackingPolicy, pieces: list[Piece], now: float, per_instance: float) -> Wish:
    stable = mean(pieces, now, policy.stable_window_s)
    if stable is None:
        return Wish()
    panic = mean(pieces, now, policy.panic_window_s)
    most = sliding_mean_max(pieces, now, policy.stable_window_s, policy.panic_window_s)
    assert most is not None
    parts = {"stable": stable / per_instance} | ({} if panic is None else {"panic": panic / per_instance})
    why = " ".join(f"{name}={_whole(part)}" for name, part in parts.items())
    return Wish(grow=max(parts.values()), shrink=most / per_instance, why=why)


def _helpful(asked: float | None, current: int, peak: int) -> float | None:
    """Near enough to what there is: that. Never more than `peak`."""
    if asked is None:
        return None
    if abs(asked - current) <= TOLERANCE * current + _ROUNDING:
        asked = float(current)
    return min(asked, float(peak))


def _if_seen(policy: TargetTrackingPolicy, wished: Wish, seen_s: float) -> Wish:
    """Without the wish to shrink, unless enough of the stable window was seen."""
    if seen_s + _ROUNDING >= SCALE_IN_SEEN_PART * policy.stable_window_s:
        return wished
    return replace(wished, shrink=None, why=f"{wished.why}, {seen_s:.0f} of {policy.stable_window_s} s seen")


# -- how far it may go ------------------------------------------------------------------------------------------------


def _held_s(policy: TargetTrackingPolicy, standing: Standing, now: float) -> float:
    assert standing.below_since is not None
    due = standing.below_since + policy.scale_in_delay_s
    if standing.stepped_at is not None:
        due = max(due, standing.stepped_at + SCALE_IN_STEP_S)
    return due - now


def _step_down(policy: TargetTrackingPolicy, said: int, asked: float, capacity_limit: int | None) -> int:
    """FC's step: current - k · current · (1 - metric / metricTarget), rounded up; and at least one instance.

    current × metric / metricTarget is what is asked for, so it is k of the way there. Rounding up alone would never
    end: half of the way from 2 to 1 is 1.5, and that is 2 again. Instances that there was no room for take no steps.
    """
    there = said if capacity_limit is None else max(min(said, capacity_limit), policy.min_capacity)
    part_of_way = math.ceil(there - SCALE_IN_PART * (there - asked) - _ROUNDING)
    return max(bounded(policy, _whole(asked)), min(part_of_way, said - 1))


def _noted(policy: TargetTrackingPolicy, why: list[str], wanted: int) -> tuple[str, ...]:
    """With the bounds named, where they have a say."""
    within = bounded(policy, wanted)
    return (*why, f"bounded {wanted}→{within}") if within != wanted else tuple(why)


def _whole(count: float) -> int:
    return math.ceil(count - _ROUNDING)


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
