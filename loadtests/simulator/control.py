"""Who decides how many: Stoke's own step, or another system's published rule, on the same fleet and the same reports.

`StokeControl` does what `control_plane.autoscale` does in a tick; `RuleControl` asks a rule at the rule's own pace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from control_plane.fleet.plan import Want
from control_plane.fleet.usage import UsageBook
from loadtests.simulator.fleet import REVISION, Fleet
from loadtests.simulator.front import KEY
from loadtests.simulator.kernel import Kernel
from loadtests.simulator.scenario import Scenario
from provision.config import MetricType, ProvisionConfig
from provision.decide import Memory, Seen, step
from runtime.contract import UsageReport

UNLIMITED = 1_000_000
SIMULATED_METRICS = frozenset({MetricType.CONCURRENCY, MetricType.QUEUE_WAIT})
KEPT_S = 900.0  # of reports, for rules: the longest look back is that of Lambda's alarms


@dataclass(frozen=True, slots=True)
class Change:
    """A target that differs from the one before."""

    at_s: float
    before: int
    after: int
    reasons: tuple[str, ...]


class Control(Protocol):
    """Hears of reports and of changes in the fleet, and settles the fleet."""

    target: int
    changes: list[Change]

    def begin(self) -> None: ...

    def heard(self, report: UsageReport) -> None: ...

    def fleet_changed(self) -> None: ...


def check_config(config: ProvisionConfig) -> None:
    """Raises ValueError for a policy whose metric does not exist in a simulation: there are no devices in it."""
    for index, policy in enumerate(config.target_tracking_policies):
        if policy.metric_type not in SIMULATED_METRICS:
            allowed = ", ".join(sorted(SIMULATED_METRICS))
            raise ValueError(
                f"targetTrackingPolicies[{index}].metricType is {policy.metric_type.value}: a simulation has {allowed}"
            )


class StokeControl:
    """The autoscaler's tick: each second, and at once when requests wait or the fleet changed."""

    def __init__(
        self, kernel: Kernel, scenario: Scenario, began_utc_s: float, usage: UsageBook, config: ProvisionConfig
    ) -> None:
        self.fleet: Fleet  # set by whoever makes both
        self.target = 0
        self.changes: list[Change] = []
        self._kernel = kernel
        self._scenario = scenario
        self._began_utc_s = began_utc_s
        self._usage = usage
        self._config = config
        self._memory = Memory()
        self._hurried = False

    def begin(self) -> None:
        self._tick()
        self._kernel.at(self._kernel.now_s + self._scenario.tick_s, self.begin)

    def heard(self, report: UsageReport) -> None:
        if self._usage.absorb(report):
            self.fleet_changed()

    def fleet_changed(self) -> None:
        if not self._hurried:
            self._hurried = True
            self._kernel.at(self._kernel.now_s, self._tick)

    def _tick(self) -> None:
        self._hurried = False
        scenario, fleet = self._scenario, self.fleet
        now = self._began_utc_s + self._kernel.now_s
        observation = self._usage.observe(KEY)
        room = fleet.room()
        census = fleet.census()
        newest_s = census.newest_ready_s
        seen = Seen(
            now=now,
            current=census.ready_provisioned,
            starting=census.starting_provisioned,
            slots_per_instance=scenario.slots,
            demand=observation.demand,
            demand_peak=observation.demand_peak,
            interval_s=observation.interval_s,
            provisioned_in_flight=observation.provisioned_in_flight,
            pressed=observation.pressed,
            newest_ready_at=None if newest_s is None else self._began_utc_s + newest_s,
            capacity_limit=None if room is None else room + fleet.live(),
            arrived=observation.arrived,
            finished=observation.finished,
            queue_wait_s_sum=observation.queue_wait_s_sum,
            waiting=observation.queued,
            in_flight=observation.in_flight,
            on_demand=census.ready - census.ready_provisioned,
            starting_at=tuple(self._began_utc_s + at_s for at_s in census.starting_provisioned_s),
            launch_s=scenario.launch_s,
        )
        self._memory, decision = step(self._config, self._memory, seen)
        if decision.target != self.target:
            self.changes.append(Change(self._kernel.now_s, self.target, decision.target, decision.reasons))
            self.target = decision.target
        fleet.settle(
            Want(
                now=now,
                revision=REVISION,
                slots=scenario.slots,
                provisioned=decision.target,
                queued=observation.queued,
                on_demand_max=scenario.on_demand_max,
                on_demand_idle_s=scenario.on_demand_idle_s,
                launches_max=UNLIMITED if room is None else room,
            )
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """What one report said: means over its interval, which ended at `at_s`; the rest as it was then."""

    at_s: float
    interval_s: float
    demand: float  # in flight and queued
    in_flight: float
    queued: int
    ready: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a rule looks at."""

    now_s: float
    target: int  # what was asked for before
    ready: int
    slots: int
    moments: deque[Moment]

    def mean(self, window_s: float, value: Callable[[Moment], float]) -> float | None:
        """Over the reports of the last `window_s` seconds, None if there were none."""
        weight = total = 0.0
        for moment in reversed(self.moments):
            if moment.at_s <= self.now_s - window_s:
                break
            weight += moment.interval_s
            total += value(moment) * moment.interval_s
        return total / weight if weight > 0.0 else None


class Rule(Protocol):
    """Another system's way to a number of instances. Made anew for each run: it may remember."""

    every_s: float

    def first(self) -> int:
        """Before anything was seen."""

    def decide(self, look: Look) -> int: ...


class RuleControl:
    """Asks a rule every `rule.every_s`, launches and drains what it says, and repairs what died."""

    def __init__(self, kernel: Kernel, scenario: Scenario, began_utc_s: float, usage: UsageBook, rule: Rule) -> None:
        self.fleet: Fleet  # set by whoever makes both
        self.target = rule.first()
        self.changes = [Change(0.0, 0, self.target, ("first",))]
        self._kernel = kernel
        self._scenario = scenario
        self._began_utc_s = began_utc_s
        self._usage = usage
        self._rule = rule
        self._moments: deque[Moment] = deque()
        self._hurried = False

    def begin(self) -> None:
        self._settle()
        self._kernel.at(self._kernel.now_s + self._rule.every_s, self._ask)

    def heard(self, report: UsageReport) -> None:
        self._usage.absorb(report)
        seen = self._usage.observe(KEY)
        now_s, moments = self._kernel.now_s, self._moments
        ready = self.fleet.census().ready
        moments.append(Moment(now_s, seen.interval_s, seen.demand, seen.provisioned_in_flight, seen.queued, ready))
        while moments[0].at_s < now_s - KEPT_S:
            moments.popleft()

    def fleet_changed(self) -> None:
        if not self._hurried:
            self._hurried = True
            self._kernel.at(self._kernel.now_s, self._settle)

    def _ask(self) -> None:
        look = Look(self._kernel.now_s, self.target, self.fleet.census().ready, self._scenario.slots, self._moments)
        target = max(0, self._rule.decide(look))
        if (most := self.fleet.most()) is not None:
            target = min(target, most)
        if target != self.target:
            self.changes.append(Change(self._kernel.now_s, self.target, target, (type(self._rule).__name__,)))
            self.target = target
        self.begin()

    def _settle(self) -> None:
        self._hurried = False
        room = self.fleet.room()
        self.fleet.settle(
            Want(
                now=self._began_utc_s + self._kernel.now_s,
                revision=REVISION,
                slots=self._scenario.slots,
                provisioned=self.target,
                on_demand_max=0,
                launches_max=UNLIMITED if room is None else room,
            )
        )
