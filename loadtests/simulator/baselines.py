"""How other systems decide, each after its published rule, on requests in flight and waiting per instance.

All of them are given what they ask for without a limit on simultaneous launches, and start with `least` instances.
None has on-demand instances beside the rule: a request that finds no slot waits in the gateway's queue.
"""

from __future__ import annotations

import math
from collections import deque

from loadtests.simulator.control import Look, Moment
from provision.behavior import Behavior
from provision.hpa import SYNC_S, Past, advise, of_total

INSTANCES_MAX = 1000
TOLERANCE = 0.1  # of HPA, and of EAS, which has taken it over
_ROUNDING = 1e-9


def _demand(moment: Moment) -> float:
    return moment.demand


def _utilization(look: Look) -> float | None:
    """Requests served ÷ slots over the last minute, so at most 1; None where there was nothing to serve them."""
    served = look.mean(60.0, lambda moment: moment.in_flight)
    slots = look.mean(60.0, lambda moment: float(moment.ready * look.slots))
    return None if served is None or not slots else min(1.0, served / slots)


def _bounded(count: int, least: int) -> int:
    return min(max(count, least), INSTANCES_MAX)


def _ceil(count: float) -> int:
    return math.ceil(count - _ROUNDING)


class StaticTarget:
    """N instances all the time; what dies is replaced."""

    every_s = 10.0

    def __init__(self, count: int) -> None:
        self._count = count

    def first(self) -> int:
        return self._count

    def decide(self, look: Look) -> int:  # noqa: ARG002 - whatever it sees
        return self._count


class FunctionComputeRule:
    """Function Compute's target tracking of ProvisionedConcurrencyUtilization (its help page on provisioned instances).

    Once a minute. The metric is requests served by provisioned instances ÷ their slots, so at most 1. Above the target
    ceil(current × metric ÷ target); below it ceil(current − k × current × (1 − metric ÷ target)). FC keeps k to
    itself; a half here, as in Stoke.
    """

    every_s = 60.0
    part = 0.5

    def __init__(self, target: float, least: int = 1) -> None:
        self._target = target
        self._least = least

    def first(self) -> int:
        return self._least

    def decide(self, look: Look) -> int:
        metric = _utilization(look)
        if metric is None:
            return look.target
        if metric > self._target:
            return _bounded(_ceil(look.target * metric / self._target), self._least)
        less = self.part * look.target * (1.0 - metric / self._target)
        return _bounded(_ceil(look.target - less), self._least)


class HorizontalPodAutoscaler:
    """Kubernetes' HPA with its default behavior, by the module that a policy with `"behavior": "HPA"` uses.

    Every 15 s, an AverageValue metric: here the requests in flight and waiting over the last 15 s.
    """

    every_s = float(SYNC_S)

    def __init__(self, target: float, least: int = 1) -> None:
        self._target = target
        self._least = least
        self._behavior = Behavior()
        self._past = Past()

    def first(self) -> int:
        return self._least

    def decide(self, look: Look) -> int:
        total = look.mean(self.every_s, _demand)
        if total is None:
            return look.target
        proposal = of_total(total, self._target * look.slots, look.target, self._behavior)
        advice = advise(
            self._behavior, self._past, look.now_s, look.target, proposal, self._least, max(INSTANCES_MAX, look.target)
        )
        self._past = advice.past
        return advice.count


class KnativePodAutoscaler:
    """Knative Serving's KPA with its default settings (knative.dev, "Autoscaling": its configuration pages).

    Every 2 s, two averages of concurrency: stable over 60 s, panic over 10 % of it. When the panic one asks for twice
    the ready pods or more, panic begins: the number only rises until 60 s have passed without that. Otherwise the
    stable one decides, downwards at most to half of the ready pods. Upwards the limit is a thousandfold.
    """

    every_s = 2.0
    stable_s = 60.0
    panic_s = 6.0
    panic_threshold = 2.0
    down_rate_max = 2.0
    up_rate_max = 1000.0

    def __init__(self, target: float, least: int = 1) -> None:
        self._target = target
        self._least = least
        self._panic_since_s: float | None = None
        self._panic_most = 0

    def first(self) -> int:
        return self._least

    def decide(self, look: Look) -> int:
        stable_mean, panic_mean = look.mean(self.stable_s, _demand), look.mean(self.panic_s, _demand)
        if stable_mean is None or panic_mean is None:
            return look.target
        ready = max(1, look.ready)
        most, fewest = math.ceil(self.up_rate_max * ready), math.floor(ready / self.down_rate_max)
        per_instance = self._target * look.slots
        stable = min(max(_ceil(stable_mean / per_instance), fewest), most)
        panic = min(max(_ceil(panic_mean / per_instance), fewest), most)
        if panic / ready >= self.panic_threshold:
            if self._panic_since_s is None:
                self._panic_most = 0
            self._panic_since_s = look.now_s
        elif self._panic_since_s is not None and look.now_s > self._panic_since_s + self.stable_s:
            self._panic_since_s = None
        if self._panic_since_s is None:
            return _bounded(stable, self._least)
        self._panic_most = max(self._panic_most, stable, panic)
        return _bounded(self._panic_most, self._least)


class LambdaAlarms:
    """AWS Lambda's provisioned concurrency under Application Auto Scaling target tracking (its developer guide).

    Once a minute, the mean utilization of that minute. Out when 3 minutes in a row are above the target, in when 15 in
    a row are below 90 % of it, both to ceil(current × metric ÷ target). The mean is a choice of ours: the statistic can
    be configured.
    """

    every_s = 60.0
    up_minutes = 3
    down_minutes = 15
    down_part = 0.9

    def __init__(self, target: float, least: int = 1) -> None:
        self._target = target
        self._least = least
        self._above = self._below = 0

    def first(self) -> int:
        return self._least

    def decide(self, look: Look) -> int:
        metric = _utilization(look)
        if metric is None:
            return look.target
        self._above = self._above + 1 if metric > self._target else 0
        self._below = self._below + 1 if metric < self._target * self.down_part else 0
        if self._above >= self.up_minutes or self._below >= self.down_minutes:
            self._above = self._below = 0
            return _bounded(_ceil(look.target * metric / self._target), self._least)
        return look.target


class WaitingLength:
    """PAI-EAS's horizontal autoscaling on waiting requests per instance (its help page on automatic scaling).

    ceil(current × waiting per instance ÷ threshold), unchanged within 10 %; up at once, down to the highest proposal of
    the last 300 s. It reacts in about 10 s, which is taken as its pace and the window of its metric.
    """

    every_s = 10.0
    down_window_s = 300.0

    def __init__(self, threshold: float, least: int = 1) -> None:
        self._threshold = threshold
        self._least = least
        self._proposals: deque[tuple[float, int]] = deque()

    def first(self) -> int:
        return self._least

    def decide(self, look: Look) -> int:
        waiting = look.mean(self.every_s, lambda moment: float(moment.queued))
        if waiting is None:
            return look.target
        ratio = waiting / max(1, look.ready) / self._threshold
        proposal = look.target if abs(ratio - 1.0) <= TOLERANCE + _ROUNDING else _ceil(look.ready * ratio)
        proposal = _bounded(proposal, self._least)
        self._proposals.append((look.now_s, proposal))
        while self._proposals[0][0] <= look.now_s - self.down_window_s:
            self._proposals.popleft()
        return (
            max(look.target, proposal)
            if proposal > look.target
            else min(look.target, max(number for _, number in self._proposals))
        )
