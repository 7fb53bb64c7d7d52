"""Stories told in time: a world whose instances follow the decisions, and requests that come as the story says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from provision.config import ProvisionConfig, parse
from provision.decide import Decision, Memory, MetricSample, Reading, Seen, step

START = 1_750_000_000.0  # 2025-06-15T15:06:40Z


def tracking(**changes: Any) -> dict[str, Any]:
    """A policy as JSON; changes in snake_case."""
    values: dict[str, Any] = {
        "name": "p",
        "metricType": "ProvisionedConcurrencyUtilization",
        "metricTarget": 0.5,
        "minCapacity": 2,
        "maxCapacity": 8,
    }
    return values | changes


def config(*policies: dict[str, Any], **others: Any) -> ProvisionConfig:
    return parse({"targetTrackingPolicies": list(policies), **others})


@dataclass
class Story:
    """Ticks until a time of the story, with instances ready `launch_s` after they were asked for."""

    config: ProvisionConfig
    demand: Callable[[float], float] = lambda _: 0.0
    gauge: Callable[[float, int], float] | None = None  # a metric's value, by time and ready instances
    metric: str = "GPUSmUtilization"
    rate: Callable[[float], float] = lambda _: 0.0  # requests a second that come and are answered
    wait_s: Callable[[float, int], float] = lambda *_: 0.0  # that each of them waited, by time and ready instances
    slots: int = 1
    tick_s: float = 1.0
    launch_s: float = 0.0
    launch_measured_s: float | None = None  # what is told of it
    reading: Callable[[float], Reading | None] = lambda _: None  # of Prometheus
    capacity_limit: int | None = None
    memory: Memory = field(default_factory=Memory)
    t: float = 0.0  # seconds since START
    ready: list[float] = field(default_factory=list)  # since when, by instance
    starting: list[float] = field(default_factory=list)  # ready when, by instance
    decision: Decision | None = None
    changes: list[tuple[float, int]] = field(default_factory=list)

    def until(self, t: float) -> Decision:
        """Go on to a time, and give the decision there."""
        if self.decision is None:
            self._tick(0.0)
        while self.t + self.tick_s <= t + 1e-9:
            self._tick(self.tick_s)
        assert self.decision is not None
        return self.decision

    def _tick(self, interval_s: float) -> None:
        self.t = round(self.t + interval_s, 6)
        self.ready += [at for at in self.starting if at <= self.t]
        self.starting = [at for at in self.starting if at > self.t]
        self.memory, decision = step(self.config, self.memory, self._seen(interval_s))
        if self.decision is None or decision.target != self.decision.target:
            self.changes.append((self.t, decision.target))
        self.decision = decision
        missing = decision.target - len(self.ready) - len(self.starting)
        self.starting += [self.t + self.launch_s] * max(0, missing)
        del self.ready[max(0, decision.target - len(self.starting)) :]

    def _seen(self, interval_s: float) -> Seen:
        demand = self.demand(self.t - interval_s / 2)
        requests = self.rate(self.t - interval_s / 2) * interval_s
        samples: tuple[MetricSample, ...] = ()
        if self.gauge is not None and self.ready:
            value = self.gauge(self.t, len(self.ready))
            samples = (MetricSample(self.metric, "i", value, START + self.t),)
        return Seen(
            now=START + self.t,
            current=len(self.ready),
            starting=len(self.starting),
            slots_per_instance=self.slots,
            demand=demand,
            demand_peak=-int(-demand // 1),
            interval_s=interval_s,
            provisioned_in_flight=min(demand, float(len(self.ready) * self.slots)),
            arrived=requests,
            finished=requests,
            queue_wait_s_sum=requests * self.wait_s(self.t, len(self.ready)),
            waiting=max(0, -int(-demand // 1) - len(self.ready) * self.slots),
            samples=samples,
            newest_ready_at=START + max(self.ready) if self.ready else None,
            capacity_limit=self.capacity_limit,
            readings=tuple(filter(None, (self.reading(self.t),))),
            launch_s=self.launch_measured_s,
        )


def surge(level: float, start: float, end: float, before: float = 0.0) -> Callable[[float], float]:
    """Requests at once: `level` from start until end, else `before`."""
    return lambda t: level if start <= t < end else before
