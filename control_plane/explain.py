"""Why there are so many instances: the last decisions of a provision config that changed something.

They are for people to read; the decisions themselves need only `Memory`. `explanations` keeps them over a restart.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from provision.decide import Decision, Seen

# An hour of a restless function, in about 100 kB.
EXPLAINED_MAX: Final = 100
QUERY_LENGTH_MAX: Final = 60  # of a query that names what was read


@dataclass(frozen=True, slots=True)
class PolicyExplained:
    """What one policy or scheduled action in force wanted."""

    name: str
    wanted: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was seen since the decision before."""

    current: int  # ready instances
    starting: int
    slots_per_instance: int
    interval_s: float  # covered by gateways' reports; 0.0 = none came
    demand: float  # requests in flight and waiting, on average
    demand_peak: int
    waiting: int
    requests_per_second: float
    metrics: dict[str, float]  # the largest newest sample of all instances, by metric
    capacity_limit: int | None


@dataclass(frozen=True, slots=True)
class Explained:
    """One decision, in full."""

    at_s: float  # UTC
    version: str
    target: int
    was: int | None  # the target before, None for the first
    reasons: tuple[str, ...]
    policies: tuple[PolicyExplained, ...]
    inputs: Inputs


@dataclass(slots=True)
class History:
    """The decisions of one provision config that changed the target or what a policy wanted, and the newest."""

    _changes: deque[Explained] = field(default_factory=lambda: deque(maxlen=EXPLAINED_MAX))
    _decision: Decision | None = None
    _newest: tuple[float, str, Seen] | None = None

    def note(self, now: float, version: str, seen: Seen, decision: Decision) -> Explained | None:
        """Take a decision in. One that changed something is kept and given; another only stands in for the newest."""
        before, self._decision = self._decision, decision
        self._newest = (now, version, seen)
        if before is not None and _gist(before) == _gist(decision):
            return None
        change = _explained(now, version, seen, decision, before.target if before else None)
        self._changes.append(change)
        return change

    def newest_first(self) -> tuple[Explained, ...]:
        """The newest decision as it stands, then the changes before it; at most EXPLAINED_MAX together."""
        if self._decision is None or self._newest is None:
            return ()
        changes = tuple(reversed(self._changes))
        newest = _explained(*self._newest, self._decision, self._decision.target)
        if changes[0].at_s == newest.at_s and _same(changes[0], newest):
            return changes
        return (newest, *changes)[:EXPLAINED_MAX]


def _gist(decision: Decision) -> tuple[object, ...]:
    """What makes a decision another one: its reasons have figures in them that always move."""
    return (decision.target, decision.static, tuple((say.name, say.wanted) for say in decision.says))


def _same(one: Explained, other: Explained) -> bool:
    return (one.target, one.reasons, one.inputs) == (other.target, other.reasons, other.inputs)


def _shortened(query: str) -> str:
    return query if len(query) <= QUERY_LENGTH_MAX else query[: QUERY_LENGTH_MAX - 1] + "…"


def _explained(now: float, version: str, seen: Seen, decision: Decision, was: int | None) -> Explained:
    metrics: dict[str, float] = {}
    for sample in seen.samples:
        metrics[sample.metric_type] = max(sample.value, metrics.get(sample.metric_type, sample.value))
    for reading in seen.readings:
        if reading.value is not None:
            metrics[f"Prometheus {_shortened(reading.query)}"] = reading.value
    return Explained(
        at_s=now,
        version=version,
        target=decision.target,
        was=was,
        reasons=decision.reasons,
        policies=tuple(PolicyExplained(say.name, say.wanted, say.reasons) for say in decision.says),
        inputs=Inputs(
            current=seen.current,
            starting=seen.starting,
            slots_per_instance=seen.slots_per_instance,
            interval_s=seen.interval_s,
            demand=seen.demand,
            demand_peak=seen.demand_peak,
            waiting=seen.waiting,
            requests_per_second=seen.arrived / seen.interval_s if seen.interval_s > 0.0 else 0.0,
            metrics=metrics,
            capacity_limit=seen.capacity_limit,
        ),
    )
