"""How many provisioned instances there should be now: one pure step from what was seen to a decision with its reasons.

In force are all policies whose time has come, and the scheduled action that fired last; the largest number wins. The
static target counts while nothing is in force. What the devices can hold is the last word.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from provision.columns import Columns
from provision.config import STABLE_WINDOW_S, MetricType, ProvisionConfig, ScheduledAction, TargetTrackingPolicy
from provision.memory import Memory
from provision.policies import NOTHING_KEPT, Kept, say
from provision.tracking import Standing, bounded
from provision.traffic import Traffic
from provision.windows import NO_READINGS, Bucket, Gauge, Usage
from provision.wishes import READING_AGE_MAX_S, SAMPLE_AGE_MAX_S, View

__all__ = ["Decision", "Memory", "MetricSample", "PolicySay", "Reading", "Seen", "step"]

# A queue is a surge when so many times the requests are there that the provisioned instances take: 2 is also where
# Knative panics. A shorter queue is gone before an instance more would be there, or the average soon tells of it.
SURGE_TIMES: Final = 2.0
# A wall clock further back than this was wrong and has been put right; waiting for the old time could take years.
CLOCK_STEP_MAX_S: Final = 3600.0
_GAUGED: Final = frozenset(each for each in MetricType if each.is_sampled or each is MetricType.PROMETHEUS)


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One reading of one instance: a share, in [0, 1] as a rule."""

    metric_type: str
    instance_id: str
    value: float
    at: float  # UTC seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """What a query of Prometheus last said, and why it says nothing newer. One seen before counts once."""

    url: str
    query: str
    value: float | None  # None if it never said anything
    at: float  # UTC seconds, of the value
    error: str = ""  # of the last try


@dataclass(frozen=True, slots=True)
class Seen:
    """What the caller has seen since the last step. Without a report of the gateways, `interval_s` is 0."""

    now: float  # UTC seconds
    current: int  # ready instances that count as provisioned
    starting: int = 0
    slots_per_instance: int = 1
    demand: float = 0.0  # mean over the interval of requests in flight and queued, on any instance
    demand_peak: int = 0
    interval_s: float = 0.0
    provisioned_in_flight: float = 0.0  # mean over the interval
    arrived: float = 0.0  # requests in the interval
    finished: float = 0.0  # requests in the interval
    queue_wait_s_sum: float = 0.0  # of the requests whose wait ended in the interval
    waiting: int = 0  # requests without a slot now
    pressed: int = 0  # most requests at once in the interval while some had no slot, 0 = all had one
    samples: tuple[MetricSample, ...] = ()  # the newest of each instance; one seen before counts once
    newest_ready_at: float | None = None  # when the last of the ready instances became so
    capacity_limit: int | None = None  # as many instances as the devices can hold, None = not known
    readings: tuple[Reading, ...] = ()  # the newest of each query that policies track
    in_flight: int = 0  # requests in instances now
    on_demand: int = 0  # ready instances beside the `current` ones
    starting_at: tuple[float, ...] = ()  # when each of the starting ones was launched, UTC seconds
    launch_s: float | None = None  # how long a launch takes until ready, as measured; None = not measured yet


@dataclass(frozen=True, slots=True)
class PolicySay:
    """What one policy or scheduled action says, within its own bounds."""

    name: str
    wanted: int
    reasons: tuple[str, ...]
    least: int = 0  # what it would say with nothing seen: a policy's minimum, an action's target

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)


@dataclass(frozen=True, slots=True)
class Decision:
    """How many there should be, and why."""

    target: int
    static: bool  # nothing is in force
    reasons: tuple[str, ...]
    in_force: tuple[str, ...]  # names
    utilization: float | None  # FC's ProvisionedConcurrencyUtilization over the last minute, None if it had no slots
    says: tuple[PolicySay, ...]
    floor: int = 0  # the part of the target that was asked for as a number, and does not come from what was seen


def step(config: ProvisionConfig, memory: Memory, seen: Seen) -> tuple[Memory, Decision]:
    """Decide. The same arguments give the same answer, and it does not matter how often this is asked.

    A time before the last one counts as the last one, up to CLOCK_STEP_MAX_S; beyond, what was seen is dropped and what
    was said is kept.
    """
    if seen.now < memory.now - CLOCK_STEP_MAX_S:
        memory = Memory(
            seen.now,
            memory.target,
            standings={name: Standing(standing.said) for name, standing in memory.standings.items()},
            kept={name: kept.after_a_clock_was_set() for name, kept in memory.kept.items()},
        )
    now = max(seen.now, memory.now)
    keep_s = kept_s(config)
    usage = _usage(memory.usage, now, seen, keep_s)
    columns = Columns(usage)
    gauges = _gauges(config, memory.gauges, now, seen, keep_s)

    standings: dict[str, Standing] = {}
    kept: dict[str, Kept] = {}
    says: list[PolicySay] = []
    for policy in config.target_tracking_policies:
        if policy.holds_at(now):
            before = memory.standings.get(policy.name) or _first_standing(config, policy, memory, seen)
            view = _view(policy, now, seen, columns, gauges)
            said, own, keeps, why = say(policy, before, memory.kept.get(policy.name, NOTHING_KEPT), view)
            standings[policy.name] = own
            if keeps is not NOTHING_KEPT and keeps != NOTHING_KEPT:
                kept[policy.name] = keeps
            says.append(PolicySay(policy.name, said.said, why, policy.min_capacity))
    says += _scheduled(config.scheduled_actions, now)

    target, reasons = _largest(config, says)
    if seen.capacity_limit is not None and target > seen.capacity_limit:
        reasons = (*reasons, f"room for {seen.capacity_limit} of {target}")
        target = max(0, seen.capacity_limit)
    decision = Decision(
        target=target,
        static=not says,
        reasons=reasons,
        in_force=tuple(say.name for say in says),
        utilization=columns.utilization(now, STABLE_WINDOW_S),
        says=tuple(says),
        floor=min(target, _floor(config, says)),
    )
    return Memory(now, target, usage, gauges, standings, kept), decision


# -- what was seen ----------------------------------------------------------------------------------------------------


def kept_s(config: ProvisionConfig) -> int:
    """For how many seconds what was seen is of use: the window, its first sliding averages, and the current second."""
    windows = (policy.stable_window_s + policy.panic_window_s for policy in config.target_tracking_policies)
    return max([STABLE_WINDOW_S, *windows]) + 1


def _usage(usage: Usage, now: float, seen: Seen, keep_s: int) -> Usage:
    slots = float(seen.current * seen.slots_per_instance)
    per_s = 1.0 / seen.interval_s if seen.interval_s > 0.0 else 0.0
    means = Bucket(
        0,
        1.0,
        seen.demand,
        seen.provisioned_in_flight,
        slots,
        seen.demand_peak,
        seen.arrived * per_s,
        seen.finished * per_s,
        seen.queue_wait_s_sum * per_s,
        float(seen.waiting),
        seen.pressed if seen.pressed >= SURGE_TIMES * slots else 0,
    )
    return usage.add(now, seen.interval_s, means, keep_s)


def _gauges(
    config: ProvisionConfig, before: Mapping[str, Gauge], now: float, seen: Seen, keep_s: int
) -> dict[str, Gauge]:
    """The sampled metrics that policies track: the largest reading of all instances × the ready instances, by second.

    An instance that has just become ready takes over a part of what the others had, so what was read before the second
    after it says nothing of how busy they are now.
    """
    first = math.floor(now) - keep_s + 1
    if not any(policy.metric_type in _GAUGED for policy in config.target_tracking_policies):
        return {}
    read = _read(config, before, now, first, seen.readings)
    tracked = {policy.metric_type.measured for policy in config.target_tracking_policies}
    gauges = {metric.value: before.get(metric.value, Gauge()) for metric in tracked if metric.is_sampled}
    if not gauges:
        return read
    if seen.newest_ready_at is not None:
        first = max(first, math.floor(seen.newest_ready_at) + 1)
    gauges = {metric: gauge.since(first) for metric, gauge in gauges.items()}
    for sample in seen.samples:
        metric = _measured(sample.metric_type)
        second = math.floor(min(sample.at, now))
        if metric in gauges and second >= first and now - sample.at <= SAMPLE_AGE_MAX_S:
            gauges[metric] = gauges[metric].put(second, sample.value * seen.current)
    return gauges | read


def _read(
    config: ProvisionConfig, before: Mapping[str, Gauge], now: float, first: int, readings: Iterable[Reading]
) -> dict[str, Gauge]:
    """What Prometheus has said, by second. It counts however few instances there are, and whenever one became ready."""
    asked = [policy for policy in config.target_tracking_policies if policy.metric_type is MetricType.PROMETHEUS]
    found: dict[str, Gauge] = {}
    for policy in asked:
        assert policy.gauge is not None
        gauge = before.get(policy.gauge, Gauge()).since(first)
        for reading in readings:
            second = math.floor(min(reading.at, now))
            if _is_of(reading, policy) and reading.value is not None and second >= first:
                gauge = gauge.put(second, reading.value)
        found[policy.gauge] = gauge
    return found


def _is_of(reading: Reading, policy: TargetTrackingPolicy) -> bool:
    return (reading.url, reading.query) == (policy.url, policy.query)


def _measured(metric_type: str) -> str:
    """The one spelling of a metric; what is no metric of FC's stays as it is, and no policy tracks it."""
    try:
        return MetricType(metric_type).measured.value
    except ValueError:
        return metric_type


def _view(policy: TargetTrackingPolicy, now: float, seen: Seen, usage: Columns, gauges: Mapping[str, Gauge]) -> View:
    lag_s, values = _newest_samples(policy, now, seen.samples) if seen.samples else (0.0, ())
    reading, note = _newest(policy, now, seen.readings)
    return View(
        now=now,
        current=seen.current,
        slots_per_instance=seen.slots_per_instance,
        usage=usage,
        gauge=gauges.get(policy.gauge or "", NO_READINGS) if gauges else NO_READINGS,
        lag_s=lag_s,
        newest_ready_at=seen.newest_ready_at,
        capacity_limit=seen.capacity_limit,
        starting=seen.starting,
        values=values,
        reading=reading,
        reading_note=note,
        launch_s=seen.launch_s,
        traffic=_traffic(seen),
    )


def _newest_samples(
    policy: TargetTrackingPolicy, now: float, samples: Iterable[MetricSample]
) -> tuple[float, tuple[float, ...]]:
    """The age of one that is too old to count, 0.0 if there is none; and the policy's metric of each instance."""
    metric = policy.metric_type.measured
    if not metric.is_sampled:
        return 0.0, ()
    tracked = [one for one in samples if _measured(one.metric_type) == metric]
    lag_s = max([now - one.at for one in tracked], default=0.0)
    values = {one.instance_id: one.value for one in tracked if now - one.at <= SAMPLE_AGE_MAX_S}
    return lag_s if lag_s > SAMPLE_AGE_MAX_S else 0.0, tuple(values.values())


def _traffic(seen: Seen) -> Traffic:
    """With on-demand instances the time in instances is what is left of all time without the waits that are over."""
    served_s = seen.provisioned_in_flight if not seen.on_demand else seen.demand
    served_s = served_s * seen.interval_s - (seen.queue_wait_s_sum if seen.on_demand else 0.0)
    return Traffic(
        seen.interval_s,
        seen.arrived,
        seen.finished,
        max(0.0, served_s),
        seen.waiting,
        seen.in_flight,
        seen.on_demand,
        seen.starting_at,
    )


def _newest(policy: TargetTrackingPolicy, now: float, readings: Iterable[Reading]) -> tuple[float | None, str]:
    """A policy's newest reading, None if it is too old; how old it is, and why there is no newer one."""
    for reading in readings:
        if _is_of(reading, policy):
            why = f": {reading.error}" if reading.error else ""
            if reading.value is None:
                return None, why
            age_s = max(0.0, now - reading.at)
            if age_s > READING_AGE_MAX_S:
                return None, f", the newest is {age_s:.0f} s old{why}"
            return reading.value, f", {age_s:.0f} s old{why}"
    return None, ": not asked yet" if policy.metric_type is MetricType.PROMETHEUS else ""


# -- who has a say ----------------------------------------------------------------------------------------------------


def _first_standing(config: ProvisionConfig, policy: TargetTrackingPolicy, memory: Memory, seen: Seen) -> Standing:
    """A policy that comes into force begins with what was there, and goes down from it by its own rules.

    Without a memory, what exists has been asked for by somebody, so it is not dropped at once.
    """
    before = seen.current + seen.starting if memory.target is None else memory.target
    return Standing(bounded(policy, max(before, config.static_target)))


def _scheduled(actions: Iterable[ScheduledAction], now: float) -> list[PolicySay]:
    """The action that fired last, unless its end has come. Of several that fired together, the largest target."""
    fired = [(at, action.target, action) for action in actions if (at := _fired(action, now)) is not None]
    if not fired:
        return []
    at, _, action = max(fired, key=lambda one: one[:2])
    if now >= action.end_s:
        return []
    why = f"fired at {datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return [PolicySay(action.name, action.target, (why,), action.target)]


def _fired(action: ScheduledAction, now: float) -> float | None:
    """The last firing in [start, end) that has come."""
    until = min(now, math.nextafter(action.end_s, -math.inf))
    return action.schedule.last_firing(math.nextafter(action.start_s, -math.inf), until)


def _floor(config: ProvisionConfig, says: list[PolicySay]) -> int:
    """The largest number that somebody has written down for now: a minimum, an action's target, the static target."""
    if not says:
        return config.static_target
    return max(say.least for say in says)


def _largest(config: ProvisionConfig, says: list[PolicySay]) -> tuple[int, tuple[str, ...]]:
    """The largest say, with its reasons; of several, the first."""
    if len(says) == 1:
        return says[0].wanted, says[0].reasons
    if not says:
        listed = config.target_tracking_policies or config.scheduled_actions
        return config.static_target, (f"static target {config.static_target}", *(["none in force"] if listed else []))
    largest = max(says, key=lambda say: say.wanted)
    compared = ", ".join(f"{say.name}={say.wanted}" for say in says)
    return largest.wanted, (f"largest of {compared}", *largest.reasons)
