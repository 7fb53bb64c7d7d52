"""What a record's lines add up to: read while they are written, kept in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from loadtests.histogram import Histogram
from loadtests.recorder import NameCounts, Span

WHOLE_S: Final = 0.5  # a shorter last line (the run ended between two) would look like a dip or a spike
SPANS_KEPT_MAX: Final = 1200  # 20 minutes in seconds; twice as wide spans after that, as no chart shows more


class SpanLog:
    """Spans in order of time. When there are too many, each two neighbours become one: totals stay exact."""

    def __init__(self, kept_max: int = SPANS_KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._seconds = 1  # lines that make up one kept span
        self._pending: list[Span] = []
        self._spans: list[Span] = []

    def add(self, line: Span) -> None:
        if line.end_s - line.begin_s < WHOLE_S and self._spans and not self._pending:
            self._spans[-1] = merged([self._spans[-1], line])
            return
        self._pending.append(line)
        if len(self._pending) >= self._seconds:
            self._spans.append(merged(self._pending))
            self._pending.clear()
        if len(self._spans) > self._kept_max:
            self._spans = [merged(self._spans[i : i + 2]) for i in range(0, len(self._spans), 2)]
            self._seconds *= 2

    @property
    def spans(self) -> list[Span]:
        return [*self._spans, merged(self._pending)] if self._pending else list(self._spans)


def merged(spans: list[Span]) -> Span:
    """One span for neighbours in time; `spans` is not empty."""
    if len(spans) == 1:
        return spans[0]
    length_s = max(sum(span.end_s - span.begin_s for span in spans), 1e-9)
    return Span(
        begin_s=spans[0].begin_s,
        end_s=spans[-1].end_s,
        users=max(span.users for span in spans),
        in_flight_mean=sum(span.in_flight_mean * (span.end_s - span.begin_s) for span in spans) / length_s,
        in_flight_max=max(span.in_flight_max for span in spans),
        names=by_name(spans),
        new_instances={key: at_s for span in reversed(spans) for key, at_s in span.new_instances.items()},
        rose_at_s=next((span.rose_at_s for span in spans if span.rose_at_s is not None), None),
    )


def by_name(spans: list[Span]) -> dict[str, NameCounts]:
    """The counts of all spans together, for each request name."""
    return {name: total(spans, name) for name in sorted({name for span in spans for name in span.names})}


def total(spans: list[Span], name: str | None = None) -> NameCounts:
    """The counts of all spans together, of one name or (None) of all."""
    parts = [counts for span in spans for key, counts in span.names.items() if name in (None, key)]
    whole = NameCounts(
        requests=sum(part.requests for part in parts),
        failures=sum(part.failures for part in parts),
        cold_starts=sum(part.cold_starts for part in parts),
        latency=Histogram.merged(part.latency for part in parts),
    )
    for part in parts:
        for error, times in part.errors.items():
            whole.count_error(error, times)
    return whole


class RecordReader:
    """The lines that were added to a record since the last look. A line that is still being written waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[Span]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        return [Span.from_json(line.decode()) for line in complete.splitlines()]
