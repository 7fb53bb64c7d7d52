"""What the load generator saw, second by second, as JSON lines: counts and latency buckets, not single requests.

A line's size does not depend on the rate, so a long or a hard run needs no more memory than a short one. Times are UTC
seconds, as the watcher's are, so both fit on one axis. The clock is handed in.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

from loadtests.histogram import Histogram

ERRORS_KEPT_MAX: Final = 20  # different error texts per line and name; the rest counts as "other errors"
ERROR_LENGTH_MAX: Final = 200
INSTANCES_KEPT_MAX: Final = 10_000


@dataclass(slots=True)
class NameCounts:
    """The requests of one name that ended in one span."""

    requests: int = 0
    failures: int = 0
    cold_starts: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    latency: Histogram = field(default_factory=Histogram)

    def add(self, latency_ms: float, error: str, *, cold_start: bool) -> None:
        self.requests += 1
        self.latency.add(latency_ms)
        self.cold_starts += cold_start
        if error:
            self.failures += 1
            self.count_error(error)

    def count_error(self, error: str, times: int = 1) -> None:
        text = error[:ERROR_LENGTH_MAX]
        if text not in self.errors and len(self.errors) >= ERRORS_KEPT_MAX:
            text = "other errors"
        self.errors[text] = self.errors.get(text, 0) + times


@dataclass(frozen=True, slots=True)
class Span:
    """One line: what happened in [begin_s, end_s)."""

    begin_s: float
    end_s: float
    users: int
    in_flight_mean: float
    in_flight_max: int
    names: dict[str, NameCounts]
    new_instances: dict[str, float] = field(default_factory=dict)  # id → UTC second of its first answer
    rose_at_s: float | None = None  # when the load first rose above where it began, if that was in this span

    def to_json(self) -> str:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values["names"] = {
            name: {f.name: getattr(n, f.name) for f in dataclasses.fields(n)} | {"latency": n.latency.to_json()}
            for name, n in self.names.items()
        }
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Span:
        values: dict[str, Any] = json.loads(line)
        names = {
            name: NameCounts(**{**counts, "latency": Histogram.from_json(counts["latency"])})
            for name, counts in values.pop("names").items()
        }
        return cls(names=names, **values)


class InFlight:
    """How many requests are open, and the integral of that over time: an exact mean, however short a request is."""

    def __init__(self, now_s: float) -> None:
        self._open = self._peak = 0
        self._integral = 0.0
        self._since = self._changed = now_s

    def change(self, by: int, now_s: float) -> None:
        self._integral += self._open * (now_s - self._changed)
        self._changed = now_s
        self._open += by
        self._peak = max(self._peak, self._open)

    def take(self, now_s: float) -> tuple[float, int]:
        """(mean, peak) since the last call, and begin anew."""
        self.change(0, now_s)
        mean = self._integral / max(now_s - self._since, 1e-9)
        peak, self._peak = self._peak, self._open
        self._integral, self._since = 0.0, now_s
        return mean, peak


class Recorder:
    """Collects one span's events and writes it as a line when told to."""

    def __init__(self, out: TextIO, now_s: float) -> None:
        self._out = out
        self._begin_s = now_s
        self._names: dict[str, NameCounts] = {}
        self._in_flight = InFlight(now_s)
        self._seen: set[str] = set()
        self._new: dict[str, float] = {}
        self._rose_at_s: float | None = None

    def rose(self, now_s: float) -> None:
        """The load rises above where it began: reaction times are counted from here."""
        self._rose_at_s = now_s

    def began(self, now_s: float) -> None:
        self._in_flight.change(+1, now_s)

    def ended(self, now_s: float) -> None:
        self._in_flight.change(-1, now_s)

    def answered(
        self,
        name: str,
        latency_ms: float,
        now_s: float,
        *,
        error: str = "",
        cold_start: bool = False,
        instance: str = "",
    ) -> None:
        self._names.setdefault(name, NameCounts()).add(latency_ms, error, cold_start=cold_start)
        if instance and instance not in self._seen and len(self._seen) < INSTANCES_KEPT_MAX:
            self._seen.add(instance)
            self._new[instance] = now_s

    def flush(self, users: int, now_s: float) -> None:
        """Write what was collected since the last flush, to the disk's cache at least."""
        mean, peak = self._in_flight.take(now_s)
        span = Span(self._begin_s, now_s, users, round(mean, 4), peak, self._names, self._new, self._rose_at_s)
        self._out.write(span.to_json() + "\n")
        self._out.flush()
        self._begin_s, self._names, self._new, self._rose_at_s = now_s, {}, {}, None
