"""What the gateway counts for whoever watches it, and its text in Prometheus's format. Pure.

Written here rather than by a client library: a request may cost a few list operations, not a lock and three lookups by
label, and the library would take a fifth of the process's memory. The text is the format's version 0.0.4.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final, NamedTuple

from runtime.contract import VersionKey, version_key
from runtime.gateway.lease_term import LeaseState
from runtime.gateway.resolve import Names

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# Seconds. From what a small model takes to what a large one may.
BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

OUTLIER, UNREACHABLE = "outlier", "unreachable"  # why an instance is kept from requests

CLIENT_GONE: Final = 499  # no status of HTTP's: what is counted for a client that left before it was answered


class Histogram:
    """Counts by bucket. `counts[i]` has what was at most BOUNDS_S[i] and above the bound before; the last, the rest."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, value_s: float) -> None:
        self.counts[bisect_left(BOUNDS_S, value_s) if value_s > BOUNDS_S[0] else 0] += 1
        self.sum_s += value_s


class Series:
    """One function by one qualifier."""

    __slots__ = ("cold_starts", "duration", "lost", "request_bytes", "response_bytes", "statuses", "wait")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.duration = Histogram()  # from the request's head to the end of its answer
        self.wait = Histogram()  # of that, until it had a slot
        self.cold_starts = 0
        self.request_bytes = 0
        self.response_bytes = 0
        self.lost: Counter[str] = Counter()  # by what the instance did: refused, died, malformed, timeout

    def observe(self, status: int, duration_s: float, wait_s: float) -> None:
        """One request is over."""
        statuses = self.statuses
        statuses[status] = statuses.get(status, 0) + 1
        self.duration.observe(duration_s)
        self.wait.observe(wait_s)


class Level(NamedTuple):
    """What is at one function version's gate now."""

    service: str
    version: str
    function: str
    in_flight: int
    queued: int
    left_out: int = 0  # instances that fail while their peers do better
    unreachable: int = 0  # instances whose address does not answer


class Metrics:
    """All series of one gateway."""

    def __init__(self) -> None:
        self._series: dict[Names, Series] = {}
        self.refusals: Counter[str] = Counter()  # by FC's code, whatever was asked for
        self.throttled: Counter[tuple[str, ...]] = Counter()  # by whose rate limit: a bucket's name
        self.ejected: Counter[tuple[VersionKey, str]] = Counter()  # instances, by what for: outlier, unreachable
        self.lease: Callable[[], LeaseState | None] = lambda: None  # asked for each text; None: there is none

    def series(self, names: Names) -> Series:
        """Made when it is first asked for."""
        found = self._series.get(names)
        if found is None:
            found = self._series[names] = Series()
        return found

    def forget(self, exists: Callable[[Names], bool]) -> None:
        """Drop the series of what is no more."""
        self._series = {names: series for names, series in self._series.items() if exists(names)}

    def forget_version(self, key: VersionKey) -> None:
        """The same for a function version."""
        self.throttled.pop(key, None)
        for reason in (OUTLIER, UNREACHABLE):
            self.ejected.pop((key, reason), None)

    def text(self, levels: Iterable[Level], cpu_s: float, resident_bytes: int) -> str:
        """Everything, as Prometheus reads it; the process's own figures by the names that its clients have for them."""
        lines = [
            *_counter("stoke_requests_total", "Requests that are over, by status.", self._requests()),
            *_histogram("stoke_request_duration_seconds", "From a request's head to the end of its answer.",
                        ((names, series.duration) for names, series in self._series.items())),
            *_histogram("stoke_queue_wait_seconds", "From a request's head until it had a slot.",
                        ((names, series.wait) for names, series in self._series.items())),
            *_counter("stoke_cold_starts_total", "Requests that waited for an instance to start.",
                      ((_labels(names), series.cold_starts) for names, series in self._series.items())),
            *_counter("stoke_request_bytes_total", "Of requests' bodies.",
                      ((_labels(names), series.request_bytes) for names, series in self._series.items())),
            *_counter("stoke_response_bytes_total", "Of answers' bodies.",
                      ((_labels(names), series.response_bytes) for names, series in self._series.items())),
            *_counter("stoke_upstream_errors_total", "Times that an instance failed a request, by what it did.",
                      ((f'{_labels(names)},kind="{kind}"', count)
                       for names, series in self._series.items() for kind, count in sorted(series.lost.items()))),
            *_counter("stoke_refusals_total", "Requests answered by the gateway itself, by code.",
                      ((f'code="{code}"', count) for code, count in sorted(self.refusals.items()))),
            *_counter("stoke_rate_limit_refusals_total", "Requests refused by the rate limit of a function version.",
                      ((_version_labels(name), count) for name, count in sorted(self.throttled.items())
                       if len(name) == 3)),
            *_counter("stoke_key_rate_limit_refusals_total", "Requests refused by the rate limit of an access key.",
                      ((f'key="{_escaped(name[1])}"', count) for name, count in sorted(self.throttled.items())
                       if len(name) == 2)),
            *_counter("stoke_instance_ejections_total", "Times that an instance was kept from requests, by what for.",
                      ((f'{_version_labels(key)},reason="{reason}"', count)
                       for (key, reason), count in sorted(self.ejected.items()))),
            *_levels(levels),
            *_lease(self.lease()),
            *_family("process_cpu_seconds_total", "counter", "Processor time of the gateway."),
            f"process_cpu_seconds_total {cpu_s!r}",
            *_family("process_resident_memory_bytes", "gauge", "Memory of the gateway."),
            f"process_resident_memory_bytes {resident_bytes}",
        ]  # fmt: skip
        return "\n".join((*lines, ""))

    def _requests(self) -> Iterator[tuple[str, int]]:
        for names, series in self._series.items():
            for status, count in sorted(series.statuses.items()):
                yield f'{_labels(names)},status="{status}"', count


def _levels(levels: Iterable[Level]) -> Iterator[str]:
    listed = [(_version_labels(version_key(each)), each) for each in levels]
    for name, about, field in (
        ("stoke_requests_in_flight", "Requests inside instances.", "in_flight"),
        ("stoke_requests_queued", "Requests that wait for a slot.", "queued"),
        ("stoke_instances_left_out", "Instances left out as they fail while their peers do better.", "left_out"),
        ("stoke_instances_unreachable", "Instances left out as their address does not answer.", "unreachable"),
    ):
        yield from _family(name, "gauge", about)
        for labels, level in listed:
            yield f"{name}{{{labels}}} {getattr(level, field)}"


def _lease(state: LeaseState | None) -> Iterator[str]:
    if state is None:
        return
    yield from _family("stoke_gateway_lease_left_seconds", "gauge", "Until the gateway ends if nothing renews it.")
    yield f"stoke_gateway_lease_left_seconds {state.left_s!r}"
    yield from _family("stoke_gateway_lease_held", "gauge", "Whether this is what has renewed the lease last.")
    for by, holds in (("store", not state.is_by_word), ("word", state.is_by_word)):
        yield f'stoke_gateway_lease_held{{by="{by}"}} {int(holds)}'
    yield from _family(
        "stoke_gateway_lease_word_left_seconds", "gauge", "So long the control plane's word can hold the lease alone."
    )
    yield f"stoke_gateway_lease_word_left_seconds {state.word_left_s!r}"


def _histogram(name: str, about: str, histograms: Iterable[tuple[Names, Histogram]]) -> Iterator[str]:
    yield from _family(name, "histogram", about)
    for names, histogram in histograms:
        labels = _labels(names)
        counts = list(accumulate(histogram.counts))
        for bound_s, count in zip((*map(repr, BOUNDS_S), "+Inf"), counts, strict=True):
            yield f'{name}_bucket{{{labels},le="{bound_s}"}} {count}'
        yield f"{name}_sum{{{labels}}} {histogram.sum_s!r}"
        yield f"{name}_count{{{labels}}} {counts[-1]}"


def _counter(name: str, about: str, values: Iterable[tuple[str, int]]) -> Iterator[str]:
    yield from _family(name, "counter", about)
    for labels, value in values:
        yield f"{name}{{{labels}}} {value}"


def _family(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"


def _labels(names: Names) -> str:
    # FC's names have no character that would have to be escaped.
    return f'service="{names.service}",function="{names.function}",qualifier="{names.qualifier}"'


def _version_labels(key: tuple[str, ...]) -> str:
    service, version, function = key
    return f'service="{service}",version="{version}",function="{function}"'


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
