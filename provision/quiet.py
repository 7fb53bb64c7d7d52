"""Which configs need no look for now: those whose next steps would all say what the last one said. Pure.

A config is quiet when no request was there in all that it remembers, its policies are down at their minimum, and no
time of a policy or an action is due. What would change that is a report that tells of requests, a sample, an instance,
a newer config (the caller hears of these), or the time given here. `Silence` then makes up for the steps left out, so
that a config that was left alone decides as one that was not.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import Final

from provision.config import MetricType, ProvisionConfig, TargetTrackingPolicy
from provision.decide import Decision, kept_s
from provision.memory import Memory
from provision.windows import Bucket, Usage

# The longest windows there may be, and the second that is now: see `kept_s`.
SILENCE_KEPT_S: Final = 700.0
# Metrics of requests and of instances stand still while both do. Any other may move by itself: it is always looked at.
STILL: Final = frozenset(
    {
        MetricType.CONCURRENCY,
        MetricType.CPU,
        MetricType.GPU_SM,
        MetricType.GPU_MEMORY,
        MetricType.GPU_MEMORY_SYNONYM,
        MetricType.GPU_ENCODER,
        MetricType.GPU_DECODER,
        MetricType.MEMORY,
        MetricType.REQUEST_RATE,
        MetricType.QUEUE_WAIT,
        MetricType.WAITING,
    }
)
# A field that is not among these may give a policy a say of its own, such as one by the time of day.
STILL_FIELDS: Final = frozenset(
    {
        "name",
        "start_time",
        "end_time",
        "time_zone",
        "metric_type",
        "metric_target",
        "min_capacity",
        "max_capacity",
        "stable_window_seconds",
        "panic_window_seconds",
        "scale_in_delay_seconds",
        "panic_threshold",
        "scale_out_limit",
        "scale_in_limit",
    }
)


def quiet_until(config: ProvisionConfig, memory: Memory, decision: Decision) -> float | None:
    """Until when the steps after this one would say the same, if nothing is heard of; None if they might not.

    `memory` and `decision` are what the last step gave.
    """
    wanted = max((say.wanted for say in decision.says), default=config.static_target)
    if decision.target != wanted:  # there was no room: there may be any time
        return None
    if not all(_is_still(policy, memory) for policy in config.target_tracking_policies):
        return None
    return _next_edge(config, memory.now) if memory.usage.is_silent else None


def _is_still(policy: TargetTrackingPolicy, memory: Memory) -> bool:
    """At its minimum, or not in force; and of a kind that stays there."""
    if policy.metric_type not in STILL or not policy.model_fields_set <= STILL_FIELDS:
        return False
    standing = memory.standings.get(policy.name)
    return standing is None or (standing.said == policy.min_capacity and standing.below_since is None)


def _next_edge(config: ProvisionConfig, now: float) -> float:
    """The next moment at which a policy begins or ends, or an action fires or ends; inf if there is none."""
    edges = [edge for policy in config.target_tracking_policies for edge in (policy.start_s, policy.end_s)]
    for action in config.scheduled_actions:
        edges.append(action.end_s)
        edges.append(next(action.schedule.firings(max(now, math.nextafter(action.start_s, -math.inf)), math.inf), now))
    return min((edge for edge in edges if edge > now), default=math.inf)


class Silence:
    """When somebody looked while there was nothing to see, and how much of the time before was covered by reports."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, float]] = deque()
        self._made: dict[tuple[float, int], Usage] = {}  # of those that are silent for longer than they remember

    def passed(self, now: float, covered_s: float) -> None:
        """Another look; `covered_s` of the time before it were covered, and told of nothing for what is quiet."""
        self._made.clear()
        self._looks.append((now, covered_s))
        while self._looks[0][0] < now - SILENCE_KEPT_S:
            self._looks.popleft()

    def make_up(self, config: ProvisionConfig, memory: Memory, slots: float) -> Memory:
        """The memory as it were, had each look since its last one been taken. `slots` are those of its instances."""
        if not self._looks or self._looks[-1][0] <= memory.now:
            return memory
        last = self._looks[-1][0]
        keep_s = kept_s(config)
        forgotten = memory.now < last - keep_s
        usage = self._made.get((slots, keep_s)) if forgotten else None
        if usage is None:
            means = Bucket(0, 1.0, 0.0, 0.0, slots, 0)
            looks = self._since(max(memory.now, last - keep_s - 1.0))
            usage = (Usage() if forgotten else memory.usage).add_each(looks, means, keep_s)
            if forgotten:
                self._made[slots, keep_s] = usage
        return replace(memory, now=last, usage=usage)

    def _since(self, at: float) -> list[tuple[float, float]]:
        newer = []
        for look in reversed(self._looks):
            if look[0] <= at:
                break
            newer.append(look)
        return newer[::-1]
