"""Histogram, recorder and span log: what the load generator saw, in bounded memory."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import pytest

from loadtests.histogram import Histogram
from loadtests.recorder import ERRORS_KEPT_MAX, Recorder, Span
from loadtests.spans import RecordReader, SpanLog, by_name, total


def recorded(out: io.StringIO) -> list[Span]:
    return [Span.from_json(line) for line in out.getvalue().splitlines()]


def span(begin_s: float, *latencies_ms: float, error: str = "", length_s: float = 1.0) -> Span:
    out = io.StringIO()
    recorder = Recorder(out, begin_s)
    for latency_ms in latencies_ms:
        recorder.answered("POST digits", latency_ms, begin_s + 0.5, error=error)
    recorder.flush(1, begin_s + length_s)
    return recorded(out)[0]


def test_percentiles_are_within_one_percent() -> None:
    histogram = Histogram()
    for i in range(1, 1001):
        histogram.add(i / 10)
    assert histogram.percentile(0.50) == pytest.approx(50.0, rel=0.011)
    assert histogram.percentile(0.90) == pytest.approx(90.0, rel=0.011)
    assert histogram.percentile(0.99) == pytest.approx(99.0, rel=0.011)
    assert histogram.percentile(1.0) == pytest.approx(100.0, rel=0.011)


def test_percentiles_of_nothing_are_none() -> None:
    assert Histogram().percentile(0.5) is None


def test_the_shortest_and_the_longest_latency_have_a_bucket() -> None:
    histogram = Histogram()
    histogram.add(0.0)
    histogram.add(1e12)
    assert histogram.total == 2
    assert len(histogram.to_json()) == 2


def test_merged_histograms_are_as_if_counted_together() -> None:
    parts, whole = [Histogram(), Histogram()], Histogram()
    for i in range(1, 200):
        parts[i % 2].add(i)
        whole.add(i)
    merged = Histogram.merged(Histogram.from_json(part.to_json()) for part in parts)
    assert merged.to_json() == whole.to_json()


def test_a_line_has_counts_by_name_and_what_was_new() -> None:
    out = io.StringIO()
    recorder = Recorder(out, 100.0)
    recorder.rose(100.2)
    recorder.answered("a", 5.0, 100.3, cold_start=True, instance="i-1")
    recorder.answered("a", 7.0, 100.4, error="HTTPError: 500", instance="i-1")
    recorder.answered("b", 9.0, 100.5, instance="i-2")
    recorder.flush(3, 101.0)
    recorder.answered("a", 5.0, 101.5, instance="i-1")
    recorder.flush(2, 102.0)
    first, second = recorded(out)
    assert (first.begin_s, first.end_s, first.users, first.rose_at_s) == (100.0, 101.0, 3, 100.2)
    assert (first.names["a"].requests, first.names["a"].failures, first.names["a"].cold_starts) == (2, 1, 1)
    assert first.names["a"].errors == {"HTTPError: 500": 1}
    assert first.new_instances == {"i-1": 100.3, "i-2": 100.5}
    assert (second.begin_s, second.users, second.rose_at_s, second.new_instances) == (101.0, 2, None, {})


def test_in_flight_is_an_exact_mean_over_time() -> None:
    out = io.StringIO()
    recorder = Recorder(out, 0.0)
    recorder.began(0.25)
    recorder.began(0.5)
    recorder.ended(0.75)
    recorder.flush(2, 1.0)  # 0.25 s of one, 0.25 s of two, 0.25 s of one
    recorder.ended(1.5)
    recorder.flush(2, 2.0)
    first, second = recorded(out)
    assert (first.in_flight_mean, first.in_flight_max) == (1.0, 2)
    assert (second.in_flight_mean, second.in_flight_max) == (0.5, 1)


def test_many_different_errors_do_not_make_a_line_grow_without_end() -> None:
    out = io.StringIO()
    recorder = Recorder(out, 0.0)
    for i in range(500):
        recorder.answered("a", 1.0, 0.5, error=f"error {i} " + "x" * 5000)
    recorder.flush(1, 1.0)
    counts = recorded(out)[0].names["a"]
    assert counts.failures == 500
    assert len(counts.errors) == ERRORS_KEPT_MAX + 1
    assert counts.errors["other errors"] == 500 - ERRORS_KEPT_MAX
    assert len(out.getvalue()) < 10_000


def test_a_long_run_keeps_few_spans_and_exact_totals() -> None:
    log = SpanLog(kept_max=8)
    for second in range(1000):
        log.add(span(second, 5.0, 50.0))
    spans = log.spans
    assert len(spans) <= 9
    assert (spans[0].begin_s, spans[-1].end_s) == (0, 1000)
    assert all(before.end_s == after.begin_s for before, after in pairwise(spans))
    assert total(spans).requests == 2000


def test_a_short_last_line_joins_the_one_before() -> None:
    log = SpanLog()
    log.add(span(0, 5.0))
    log.add(span(1, 5.0, length_s=0.02))
    assert [(one.begin_s, one.end_s) for one in log.spans] == [(0, 1.02)]
    assert total(log.spans).requests == 2


def test_totals_are_kept_apart_by_name() -> None:
    spans = [span(0, 5.0), span(1, 5.0, 6.0, error="refused")]
    assert list(by_name(spans)) == ["POST digits"]
    assert by_name(spans)["POST digits"].errors == {"refused": 2}
    assert total(spans).failures == 2
    assert total([]).requests == 0


def test_a_record_is_read_while_it_is_written(tmp_path: Path) -> None:
    record = tmp_path / "requests.jsonl"
    reader = RecordReader(record)
    assert reader.read() == []
    line = span(0, 5.0).to_json() + "\n"
    record.write_text(line + line[:30])
    assert len(reader.read()) == 1
    assert reader.read() == []
    record.write_text(line + line + line)
    assert len(reader.read()) == 2
