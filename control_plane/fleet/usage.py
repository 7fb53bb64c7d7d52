"""What the gateways have seen, added up until somebody looks. Pure: reports in, observations out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from runtime.contract import FunctionUsage, UsageReport, VersionKey, version_key

# A gateway reports at least every 5 s; one that has missed three is not waited for any more.
GATEWAY_SILENT_S = 15.0


class Observation(NamedTuple):
    """What was seen of one function version since the last look: means over `interval_s`; 0 s = nothing was seen."""

    interval_s: float = 0.0
    demand: float = 0.0  # mean of in flight + queued
    demand_peak: int = 0
    provisioned_in_flight: float = 0.0
    queued: int = 0
    in_flight: int = 0
    arrived: float = 0.0  # requests in the interval, and so are the next two
    finished: float = 0.0
    queue_wait_s_sum: float = 0.0  # seconds that requests have waited, counted when their wait was over
    pressed: int = 0  # most requests at once in the reports that told of waiting ones


@dataclass(slots=True)
class _Tally:
    demand_request_seconds: float = 0.0
    provisioned_request_seconds: float = 0.0
    demand_peak: int = 0
    arrived: int = 0
    finished: int = 0
    queue_wait_s_sum: float = 0.0
    pressed: int = 0
    last: FunctionUsage | None = None
    since_s: float = 0.0  # this gateway's covered seconds when the tally began


@dataclass(slots=True)
class _Gateway:
    heard_at_s: float = 0.0
    covered_s: float = 0.0  # sum of the intervals of all reports
    passed_s: float | None = None  # what was covered when time last passed; None = not yet since it was first heard
    in_flight: dict[str, int] = field(default_factory=dict)
    drained: frozenset[str] = frozenset()
    tallies: dict[VersionKey, _Tally] = field(default_factory=dict)
    busy: set[VersionKey] = field(default_factory=set)  # in its newest report
    queued: set[VersionKey] = field(default_factory=set)  # with requests waiting, by its newest report


class UsageBook:
    """The reports of all gateways. One observer a function version: `observe` empties what it has read.

    Who looks only at what changed asks `touched` for that. What he leaves alone has been looked at by `pass_time`, as
    far as the next observation of it is concerned: see `resume`.
    """

    def __init__(self) -> None:
        self._gateways: dict[str, _Gateway] = {}
        self._last_used_s: dict[str, float] = {}
        self._touched: set[VersionKey] = set()
        self.expected: frozenset[str] = frozenset()  # gateways that are known to live, heard or not

    def absorb(self, report: UsageReport) -> set[VersionKey]:
        """Take a report in; gives the function versions that have requests waiting."""
        gateway = self._gateways.setdefault(report.gateway, _Gateway())
        gateway.heard_at_s = report.now_s
        gateway.covered_s += report.interval_s
        gateway.in_flight = report.in_flight
        gateway.drained = frozenset(report.drained)
        self._last_used_s.update(report.last_used_s)
        waiting = set()
        seen = set()
        before = gateway.busy
        for usage in (FunctionUsage.from_dict(values) for values in report.functions):
            key = version_key(usage)
            seen.add(key)
            self._add(gateway, key, usage, report.interval_s)
            if usage.queued:
                waiting.add(key)
        for key in before - seen:
            gateway.tallies[key].last = None  # left out of the report: nothing is in flight or queued there
        self._touched |= before | seen
        gateway.busy, gateway.queued = seen, waiting
        return set(waiting)

    @staticmethod
    def _add(gateway: _Gateway, key: VersionKey, usage: FunctionUsage, interval_s: float) -> None:
        tally = gateway.tallies.get(key)
        if tally is None:
            tally = gateway.tallies[key] = _Tally(since_s=gateway.covered_s - interval_s)
        tally.demand_request_seconds += usage.demand_request_seconds
        tally.provisioned_request_seconds += usage.provisioned_request_seconds
        tally.demand_peak = max(tally.demand_peak, usage.demand_peak)
        tally.arrived += usage.arrived
        tally.finished += usage.finished
        tally.queue_wait_s_sum += usage.queue_wait_s_sum
        if usage.queued:
            tally.pressed = max(tally.pressed, usage.in_flight + usage.queued)
        tally.last = usage

    def observe(self, key: VersionKey) -> Observation:
        """What was seen of one function version since the last call, over all gateways.

        Gateways report at their own pace, so what each has counted is taken as a rate over the time it has covered.
        """
        interval_s = demand = provisioned = arrived_per_s = finished_per_s = waited_per_s = 0.0
        peak = queued = in_flight = pressed = others = 0
        for gateway in self._gateways.values():
            tally = gateway.tallies.setdefault(key, _Tally(since_s=gateway.covered_s))
            span_s = gateway.covered_s - tally.since_s
            if span_s > 0.0:
                interval_s = max(interval_s, span_s)
                demand += tally.demand_request_seconds / span_s
                provisioned += tally.provisioned_request_seconds / span_s
                peak += tally.demand_peak
                arrived_per_s += tally.arrived / span_s
                finished_per_s += tally.finished / span_s
                waited_per_s += tally.queue_wait_s_sum / span_s
            if tally.last is not None:
                queued += tally.last.queued
                in_flight += tally.last.in_flight
            pressed += tally.pressed
            if not tally.pressed and tally.last is not None:
                others += tally.last.in_flight
            gateway.tallies[key] = _Tally(since_s=gateway.covered_s, last=tally.last)
        return Observation(
            interval_s,
            demand,
            peak,
            provisioned,
            queued,
            in_flight,
            arrived_per_s * interval_s,
            finished_per_s * interval_s,
            waited_per_s * interval_s,
            pressed + others if pressed else 0,
        )

    def waiting(self) -> set[VersionKey]:
        """The function versions that have requests waiting for a slot, by the newest reports."""
        return {key for gateway in self._gateways.values() for key in gateway.queued}

    def touched(self) -> set[VersionKey]:
        """The function versions that reports told of since the last call, the one where a report first left them out
        too."""
        touched, self._touched = self._touched, set()
        return touched

    # -- what nobody looks at ---------------------------------------------------------------------------------------

    def pass_time(self) -> float:
        """The seconds that gateways have covered since the last call: what an observer of an idle function version
        would see now. The most of all gateways, as in `observe`."""
        most_s = 0.0
        for gateway in self._gateways.values():
            if gateway.passed_s is not None:
                most_s = max(most_s, gateway.covered_s - gateway.passed_s)
            gateway.passed_s = gateway.covered_s
        return most_s

    def is_even(self, key: VersionKey) -> bool:
        """It was observed when time last passed, and has not been told of since: it may be left alone from there on."""
        for gateway in self._gateways.values():
            tally = gateway.tallies.get(key)
            if tally is None or tally.last is not None or tally.since_s != gateway.passed_s:
                return False
        return True

    def resume(self, key: VersionKey) -> None:
        """Observe it again, as if it had been observed each time that time passed."""
        for gateway in self._gateways.values():
            if gateway.passed_s is not None:
                tally = gateway.tallies.setdefault(key, _Tally())
                tally.since_s = gateway.passed_s

    def in_flight(self, instance_id: str) -> int:
        return sum(gateway.in_flight.get(instance_id, 0) for gateway in self._gateways.values())

    def last_used_s(self, instance_id: str) -> float:
        """UTC seconds at which it last finished a request, 0.0 if it never did."""
        return self._last_used_s.get(instance_id, 0.0)

    def is_drained(self, instance_id: str) -> bool:
        """Every gateway that lives or is heard of knows that this instance drains, and has no request inside."""
        gateways = self._gateways
        return (
            bool(gateways)
            and self.expected <= gateways.keys()
            and all(instance_id in each.drained for each in gateways.values())
        )

    def forget_instance(self, instance_id: str) -> None:
        self._last_used_s.pop(instance_id, None)

    def forget_gateway(self, name: str) -> None:
        """Its process is gone, and holds nothing."""
        gateway = self._gateways.pop(name, None)
        if gateway is not None:
            self._touched |= gateway.busy

    def forget_silent(self, now: float) -> None:
        """Drop gateways that have not been heard for GATEWAY_SILENT_S: they are gone, and hold nothing. One that is
        known to live is waited for."""
        for name in [n for n, g in self._gateways.items() if now - g.heard_at_s > GATEWAY_SILENT_S]:
            if name not in self.expected:
                self.forget_gateway(name)
