"""One simulation: a trace, a scenario and whoever decides, from the first arrival until the last answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from control_plane.fleet.usage import UsageBook
from loadtests.simulator.control import Change, Control, Rule, RuleControl, StokeControl, check_config
from loadtests.simulator.fleet import Fleet, Instance
from loadtests.simulator.front import Front, Request
from loadtests.simulator.kernel import Kernel
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import Trace
from provision.config import ProvisionConfig

# A month takes minutes, as each second is lived through; what lasts years has times of two kinds, or wrong units.
DURATION_S_MAX: Final = 31 * 86_400.0
# After the last arrival, and beyond what the longest request takes; one without an answer then is lost.
SETTLE_S_MAX: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Sample:
    """How things stood at one second."""

    at_s: float
    in_flight: int
    queued: int
    ready: int
    starting: int
    target: int


@dataclass(frozen=True, slots=True)
class Record:
    """All that happened."""

    trace: Trace
    scenario: Scenario
    requests: list[Request]
    instances: list[Instance]
    samples: list[Sample]
    changes: list[Change]


def simulate_config(trace: Trace, scenario: Scenario, config: ProvisionConfig) -> Record:
    """Replay under Stoke's own autoscaler. Raises ValueError for a metric that a simulation does not have."""
    check_config(config)

    def stoke(kernel: Kernel, usage: UsageBook) -> StokeControl:
        return StokeControl(kernel, scenario, trace.began_utc_s, usage, config)

    return _simulate(trace, scenario, stoke, urgent=True, launches_at_once_max=scenario.launches_at_once_max)


def simulate_rule(trace: Trace, scenario: Scenario, rule: Rule) -> Record:
    """Replay under another system's rule, on the same gateway and fleet."""

    def other(kernel: Kernel, usage: UsageBook) -> RuleControl:
        return RuleControl(kernel, scenario, trace.began_utc_s, usage, rule)

    return _simulate(trace, scenario, other, urgent=False, launches_at_once_max=len(trace.arrivals_s) + 1000)


def _simulate(
    trace: Trace,
    scenario: Scenario,
    make_control: Callable[[Kernel, UsageBook], StokeControl | RuleControl],
    *,
    urgent: bool,
    launches_at_once_max: int,
) -> Record:
    if trace.duration_s > DURATION_S_MAX:
        raise ValueError(
            f"trace: {trace.name} lasts {trace.duration_s:.0f} s; at most {DURATION_S_MAX:.0f} are allowed (since and "
            "until cut)"
        )
    if scenario.history_s >= trace.duration_s:
        raise ValueError(f"history_s: {scenario.history_s}; less than the trace's {trace.duration_s} s are allowed")
    kernel, usage = Kernel(), UsageBook()
    control = make_control(kernel, usage)
    fleet = Fleet(
        kernel,
        scenario,
        trace.began_utc_s,
        usage,
        control.fleet_changed,
        launches_at_once_max=launches_at_once_max,
    )
    front = Front(kernel, scenario, trace.began_utc_s, control.heard, fleet.took, urgent=urgent)
    control.fleet, fleet.front = fleet, front
    requests = [
        Request(arrival_s, trace.service_of(index, scenario.service_s))
        for index, arrival_s in enumerate(trace.arrivals_s)
    ]
    samples: list[Sample] = []
    _Arrivals(kernel, front, requests).begin()
    kernel.at(scenario.tick_phase_s, control.begin)
    _Sampler(kernel, front, fleet, control, samples, trace.duration_s).begin()
    settled_s = trace.duration_s + SETTLE_S_MAX + max((r.service_s for r in requests), default=0.0)
    gate = front.gate

    def goes_on() -> bool:
        return kernel.now_s < settled_s and bool(gate.usage.in_flight or gate.usage.queued)

    kernel.run(trace.duration_s, goes_on)
    return Record(trace, scenario, requests, fleet.all, samples, control.changes)


class _Arrivals:
    """One after the other: the heap holds only the next."""

    def __init__(self, kernel: Kernel, front: Front, requests: list[Request]) -> None:
        self._kernel = kernel
        self._front = front
        self._coming = iter(requests)

    def begin(self) -> None:
        self._plan_next()

    def _plan_next(self) -> None:
        request = next(self._coming, None)
        if request is not None:
            self._kernel.at(request.arrived_s, self._arrive, request)

    def _arrive(self, request: Request) -> None:
        self._plan_next()
        self._front.arrive(request)


class _Sampler:
    """Looks at everything once a second, until the trace ends."""

    def __init__(
        self, kernel: Kernel, front: Front, fleet: Fleet, control: Control, samples: list[Sample], until_s: float
    ) -> None:
        self._kernel = kernel
        self._front = front
        self._fleet = fleet
        self._control = control
        self._samples = samples
        self._until_s = until_s

    def begin(self) -> None:
        now_s, usage = self._kernel.now_s, self._front.gate.usage
        census, target = self._fleet.census(), self._control.target
        self._samples.append(Sample(now_s, usage.in_flight, usage.queued, census.ready, census.starting, target))
        if now_s + 1.0 < self._until_s:
            self._kernel.at(now_s + 1.0, self.begin)
