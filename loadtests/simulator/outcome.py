"""What a simulation comes to, in numbers: how long requests waited, what was paid for, and how steady it was. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from loadtests.simulator.control import Change
from loadtests.simulator.fleet import Instance
from loadtests.simulator.run import Record, Sample


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of the judged part: what arrived, existed and was decided from `history_s` until the trace's end."""

    requests: int
    attainment: float  # share of requests that waited at most wait_limit_s; one without an answer did not
    wait_mean_s: float | None  # None: no request was answered
    wait_p50_s: float | None
    wait_p90_s: float | None
    wait_p99_s: float | None
    wait_max_s: float | None
    cold_start_share: float  # requests that waited for an instance to become ready
    refused: int  # the queue was full, or they waited there for too long
    retried: int  # their instance died
    lost: int  # neither answered nor refused: must be 0
    instance_seconds: float  # from launch to end
    work_seconds: float  # the same if no instance were ever idle: service times ÷ slots
    over_provisioned_s: float  # seconds at which more instances were ready than the requests there were needed
    under_provisioned_s: float  # seconds at which fewer were
    direction_changes_per_hour: float  # the target turned from rising to falling, or the other way round
    launches: int
    useful_launches: int  # took a request for which the instances that were ready before had no slot
    instances_peak: int  # ready or starting
    gpu_seconds: float | None = None  # instance-seconds × the share of a card; None: no card
    optimum_seconds: float | None = None  # no policy gets by with fewer instance-seconds; None: not computed
    simulated: bool = True

    @property
    def cost(self) -> float:
        """Instance-seconds in multiples of the pure work."""
        return self.instance_seconds / self.work_seconds if self.work_seconds else math.inf

    def as_json(self) -> dict[str, Any]:
        values = {name: round(v, 6) if isinstance(v, float) else v for name, v in asdict(self).items()}
        return values | {"cost": round(self.cost, 6) if self.work_seconds else None}


def outcome(record: Record) -> Outcome:
    """Of all that is judged."""
    return between(record, record.scenario.history_s, record.trace.duration_s)


def between(record: Record, begin_s: float, end_s: float) -> Outcome:
    """Of what arrived, existed and was decided in [begin, end)."""
    scenario = record.scenario
    until_s = end_s if end_s < record.trace.duration_s else math.inf
    requests = [request for request in record.requests if begin_s <= request.arrived_s < until_s]
    answered = [request for request in requests if request.finished_s is not None]
    waits = sorted(r.started_s - r.arrived_s for r in answered if r.started_s is not None)
    within = sum(wait_s <= scenario.wait_limit_s for wait_s in waits)
    refused = sum(request.refused for request in requests)
    launched = [instance for instance in record.instances if begin_s <= instance.launched_s < end_s]
    samples = [sample for sample in record.samples if begin_s <= sample.at_s < until_s]
    needs = [math.ceil((sample.in_flight + sample.queued) / scenario.slots) for sample in samples]
    changes = [change for change in record.changes if begin_s <= change.at_s < end_s]
    instance_seconds = sum(paid_s(instance, begin_s, end_s) for instance in record.instances)
    return Outcome(
        requests=len(requests),
        attainment=within / len(requests) if requests else 1.0,
        wait_mean_s=sum(waits) / len(waits) if waits else None,
        wait_p50_s=percentile(waits, 0.5),
        wait_p90_s=percentile(waits, 0.9),
        wait_p99_s=percentile(waits, 0.99),
        wait_max_s=waits[-1] if waits else None,
        cold_start_share=sum(r.cold_start for r in requests) / len(requests) if requests else 0.0,
        refused=refused,
        retried=sum(r.retries > 0 for r in requests),
        lost=len(requests) - len(answered) - refused,
        instance_seconds=instance_seconds,
        work_seconds=sum(request.service_s for request in requests) / scenario.slots,
        over_provisioned_s=float(sum(s.ready > need for s, need in zip(samples, needs, strict=True))),
        under_provisioned_s=float(sum(s.ready < need for s, need in zip(samples, needs, strict=True))),
        direction_changes_per_hour=turns(changes) * 3600.0 / (end_s - begin_s),
        launches=len(launched),
        useful_launches=sum(instance.useful for instance in launched),
        instances_peak=_peak(samples),
        gpu_seconds=instance_seconds * scenario.device_share if scenario.device_share else None,
    )


def paid_s(instance: Instance, begin_s: float, end_s: float) -> float:
    """How long of [begin, end) it existed, starting and draining included."""
    ended_s = end_s if instance.ended_s is None else instance.ended_s
    return max(0.0, min(ended_s, end_s) - max(instance.launched_s, begin_s))


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of them does not exceed; None of none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def turns(changes: Sequence[Change]) -> int:
    """How often up followed down or down followed up."""
    rises = [change.after > change.before for change in changes]
    return sum(a is not b for a, b in pairwise(rises))


def _peak(samples: Sequence[Sample]) -> int:
    return max((sample.ready + sample.starting for sample in samples), default=0)
