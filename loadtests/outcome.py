"""What a load test found, in numbers: pure arithmetic over what the load generator and the watcher saw."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.recorder import NameCounts, Span
from loadtests.spans import by_name, total
from loadtests.timeline import Sample, TargetChange, Timeline


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of one name, or of all. Latencies are None when nothing was answered."""

    name: str
    requests: int
    failures: int
    cold_starts: int
    requests_per_s: float
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    max_ms: float | None

    @classmethod
    def of(cls, name: str, counts: NameCounts, span_s: float) -> Requests:
        at = counts.latency.percentile
        return cls(
            name=name,
            requests=counts.requests,
            failures=counts.failures,
            cold_starts=counts.cold_starts,
            requests_per_s=counts.requests / span_s if span_s > 0 else 0.0,
            p50_ms=at(0.50),
            p90_ms=at(0.90),
            p99_ms=at(0.99),
            max_ms=at(1.0),
        )


@dataclass(frozen=True, slots=True)
class Reaction:
    """How the fleet answered the load. Seconds are None when it did not happen, or nobody watched.

    `first_ready_s` and `first_served_s` count from the load's rise; `back_s` from its fall to where it began.
    """

    instances_before: int | None
    instances_peak: int
    target_peak: int
    first_ready_s: float | None
    first_served_s: float | None
    back_s: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything the report shows, apart from the two series."""

    began_at_s: float
    duration_s: float
    total: Requests
    by_name: tuple[Requests, ...]
    errors: dict[str, int]
    reaction: Reaction
    changes: tuple[TargetChange, ...]
    launch_errors: tuple[str, ...]
    looks_missed: int


def outcome(spans: list[Span], timeline: Timeline) -> Outcome:
    """Raises ValueError when no span was recorded: the load generator did not run."""
    if not spans:
        raise ValueError("the load generator recorded nothing")
    duration_s = spans[-1].end_s - spans[0].begin_s
    everything = total(spans)
    return Outcome(
        began_at_s=spans[0].begin_s,
        duration_s=duration_s,
        total=Requests.of("all", everything, duration_s),
        by_name=tuple(Requests.of(name, counts, duration_s) for name, counts in by_name(spans).items()),
        errors=dict(sorted(everything.errors.items(), key=lambda item: -item[1])),
        reaction=reaction(spans, timeline),
        changes=tuple(timeline.changes),
        launch_errors=tuple(timeline.errors),
        looks_missed=timeline.missed,
    )


def reaction(spans: list[Span], timeline: Timeline) -> Reaction:
    samples = timeline.samples
    rose_at_s = next((span.rose_at_s for span in spans if span.rose_at_s is not None), None)
    before = instances_before(samples, rose_at_s)
    ready_s = _first_after(timeline.ready_at_s, rose_at_s)
    served_s = _first_served_s(spans, timeline.ready_at_s, rose_at_s)  # who answers is ready, seen or not
    return Reaction(
        instances_before=before,
        instances_peak=timeline.current_peak,
        target_peak=timeline.target_peak,
        first_ready_s=min((at_s for at_s in (ready_s, served_s) if at_s is not None), default=None),
        first_served_s=served_s,
        back_s=_back_s(samples, before, fell_at_s(spans)),
    )


def instances_before(samples: list[Sample], rose_at_s: float | None) -> int | None:
    """How many instances were current when the load rose: the last look before it, else the first at all."""
    earlier = [sample for sample in samples if rose_at_s is not None and sample.at_s <= rose_at_s]
    chosen = earlier[-1] if earlier else next(iter(samples), None)
    return chosen.current if chosen else None


def fell_at_s(spans: list[Span]) -> float:
    """When the load went down for good: the end of the last span with more users than the run began with."""
    calm = next((span.users for span in spans if span.users), 0)
    if calm == max(span.users for span in spans):  # a steady load falls when it ends
        return next(span.end_s for span in reversed(spans) if span.users or span is spans[0])
    return next(span.end_s for span in reversed(spans) if span.users > calm)


def _first_after(at_s: dict[str, float], rose_at_s: float | None) -> float | None:
    if rose_at_s is None:
        return None
    return min((at - rose_at_s for at in at_s.values() if at > rose_at_s), default=None)


def _first_served_s(spans: list[Span], ready_at_s: dict[str, float], rose_at_s: float | None) -> float | None:
    """The first answer of an instance that was not ready when the load rose."""
    if rose_at_s is None or not ready_at_s:
        return None
    old = {instance for instance, at in ready_at_s.items() if at <= rose_at_s}
    answers = {key: at for span in spans for key, at in span.new_instances.items() if key not in old}
    return _first_after(answers, rose_at_s)


def _back_s(samples: list[Sample], before: int | None, fell: float) -> float | None:
    """From the load's fall until the fleet was as small as before, and stayed so."""
    if before is None or not samples or samples[-1].current > before:
        return None
    back_at_s = samples[-1].at_s
    for sample in reversed(samples):
        if sample.current > before:
            break
        back_at_s = sample.at_s
    grew = any(sample.current > before for sample in samples)
    return max(0.0, back_at_s - fell) if grew else None
