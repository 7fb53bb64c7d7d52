"""One usage report, made of what the gates counted since the last. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from runtime.contract import FunctionUsage, UsageReport, VersionKey
from runtime.gateway.gate import Gate
from runtime.gateway.usage import ARRIVAL_SLOTS_PER_S, Served

# Their values are made for one report: they need none of the deep copies of `dataclasses.asdict`.
_FIELDS: Final = tuple(field.name for field in dataclasses.fields(FunctionUsage))
_values: Final = attrgetter(*_FIELDS)


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks: decisions elsewhere speak UTC, gates count on the monotonic clock."""

    utc_s: float
    monotonic_s: float


def make_report(
    gateway_id: str,
    sequence: int,
    gates: Mapping[VersionKey, Gate],
    unreachable: list[str],
    *,
    since: Moment,
    now: Moment,
    told: dict[VersionKey, Served] | None = None,
) -> UsageReport:
    """The report of the interval from `since` to `now`. Every gate begins its next interval.

    What is to be written down goes into `told` too, so that it can be told again if nobody heard it.
    """
    functions: list[dict[str, object]] = []
    in_flight: dict[str, int] = {}
    last_used_s: dict[str, float] = {}
    drained: list[str] = []
    for key, gate in gates.items():
        if not gate.usage.is_idle:
            served = gate.usage.take_served()
            if told is not None and served:
                told[key] = served
            usage = _function_usage(key, gate, now, served)
            functions.append(dict(zip(_FIELDS, _values(usage), strict=True)))
        gate.usage.advance(now.monotonic_s)
        gate.usage.begin_interval()
        for instance in gate.instances():
            if instance.in_flight:
                in_flight[instance.instance_id] = instance.in_flight
            elif instance.draining:
                drained.append(instance.instance_id)
            finished_s = instance.last_finished_s
            if finished_s is not None and finished_s >= since.monotonic_s:
                last_used_s[instance.instance_id] = now.utc_s - (now.monotonic_s - finished_s)
    return UsageReport(
        gateway=gateway_id,
        sequence=sequence,
        now_s=now.utc_s,
        interval_s=now.monotonic_s - since.monotonic_s,
        functions=functions,
        in_flight=in_flight,
        last_used_s=last_used_s,
        drained=drained,
        unreachable=unreachable,
    )


def _function_usage(key: VersionKey, gate: Gate, now: Moment, served: Served) -> FunctionUsage:
    service, version, function = key
    usage = gate.usage
    usage.advance(now.monotonic_s)
    ahead = round((now.utc_s - now.monotonic_s) * ARRIVAL_SLOTS_PER_S)
    return FunctionUsage(
        service=service,
        function=function,
        version=version,
        in_flight=usage.in_flight,
        in_flight_on_demand=usage.in_flight - usage.in_flight_provisioned,
        queued=usage.queued + usage.background,
        demand_request_seconds=usage.demand_request_s,
        provisioned_request_seconds=usage.provisioned_request_s,
        demand_peak=usage.demand_peak,
        arrived=usage.arrived,
        finished=usage.finished,
        failed=usage.failed,
        queue_wait_s_sum=usage.queue_wait_s,
        served_provisioned=served.provisioned,
        served_on_demand=served.on_demand,
        service_s_sum=served.service_s,
        arrivals=[[slot + ahead, count] for slot, count in sorted(served.arrivals.items())],
    )
