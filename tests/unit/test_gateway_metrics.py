"""What the gateway counts, and how it says so."""

from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.gateway.access_log import Record, line_of
from runtime.gateway.metrics import BOUNDS_S, OUTLIER, Level, Metrics
from runtime.gateway.resolve import Names

NAMES = Names("s", "LATEST", "f")
LABELS = {"service": "s", "function": "f", "qualifier": "LATEST"}


def told(metrics: Metrics, levels: tuple[Level, ...] = ()) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample, as Prometheus's own parser reads the text."""
    families = text_string_to_metric_families(metrics.text(levels, 1.5, 4096))
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def test_a_request_shows_in_its_status_and_its_buckets() -> None:
    metrics = Metrics()
    series = metrics.series(NAMES)
    series.observe(200, 0.003, 0.0)
    series.observe(200, 400.0, 2.0)
    series.observe(502, 0.001, 0.0)
    samples = told(metrics)

    def value(name: str, **labels: str) -> float:
        return samples[name, frozenset({**LABELS, **labels}.items())]

    assert value("stoke_requests_total", status="200") == 2
    assert value("stoke_requests_total", status="502") == 1
    at_most = {le: value("stoke_request_duration_seconds_bucket", le=le) for le in ("0.001", "0.0025", "0.005", "+Inf")}
    assert at_most == {"0.001": 1, "0.0025": 1, "0.005": 2, "+Inf": 3}
    assert value("stoke_request_duration_seconds_count") == 3
    assert value("stoke_request_duration_seconds_sum") == pytest.approx(400.004)
    assert value("stoke_queue_wait_seconds_bucket", le="0.001") == 2
    assert value("stoke_queue_wait_seconds_bucket", le="2.5") == 3


def test_a_value_on_a_bound_is_within_it() -> None:
    series = Metrics().series(NAMES)
    for bound_s in BOUNDS_S:
        series.duration.observe(bound_s)
    assert series.duration.counts == [1] * len(BOUNDS_S) + [0]


def test_errors_refusals_and_levels_are_said_by_kind() -> None:
    metrics = Metrics()
    metrics.series(NAMES).lost["died"] += 1
    metrics.refusals["ResourceExhausted"] += 2
    samples = told(metrics, (Level("s", "1", "f", in_flight=3, queued=4),))
    assert samples["stoke_upstream_errors_total", frozenset({**LABELS, "kind": "died"}.items())] == 1
    assert samples["stoke_refusals_total", frozenset({"code": "ResourceExhausted"}.items())] == 2
    version = frozenset({"service": "s", "version": "1", "function": "f"}.items())
    assert (samples["stoke_requests_in_flight", version], samples["stoke_requests_queued", version]) == (3, 4)
    assert samples["process_resident_memory_bytes", frozenset()] == 4096


def test_refusals_by_rate_and_instances_that_are_held_back_are_counted_by_whose_they_are() -> None:
    metrics = Metrics()
    version = ("s", "1", "f")
    metrics.throttled[version] += 2
    metrics.throttled["key", 'a"k\\'] += 3
    metrics.ejected[version, OUTLIER] += 1
    samples = told(metrics, (Level(*version, in_flight=0, queued=0, left_out=1, unreachable=2),))
    labels = {"service": "s", "version": "1", "function": "f"}
    assert samples["stoke_rate_limit_refusals_total", frozenset(labels.items())] == 2
    assert samples["stoke_key_rate_limit_refusals_total", frozenset({"key": 'a"k\\'}.items())] == 3
    assert samples["stoke_instance_ejections_total", frozenset({**labels, "reason": "outlier"}.items())] == 1
    assert samples["stoke_instances_left_out", frozenset(labels.items())] == 1
    assert samples["stoke_instances_unreachable", frozenset(labels.items())] == 2
    metrics.forget_version(version)
    assert 'function="f"' not in metrics.text((), 0.0, 0)


def test_what_is_no_more_is_forgotten() -> None:
    metrics = Metrics()
    kept, gone = metrics.series(NAMES), metrics.series(Names("s", "LATEST", "g"))
    kept.observe(200, 0.1, 0.0)
    gone.observe(200, 0.1, 0.0)
    metrics.forget(lambda names: names == NAMES)
    assert metrics.series(NAMES) is kept
    assert 'function="g"' not in metrics.text((), 0.0, 0)


def record(**changed: object) -> Record:
    values: dict[str, object] = {
        "at_s": 0.25,
        "request_id": "1-a",
        "service": "s",
        "qualifier": "prod",
        "version": "2",
        "function": "f",
        "method": b"POST",
        "target": b'/\xe9?q="',
        "status": 200,
        "code": "",
        "duration_s": 0.0123456,
        "wait_s": 0.001,
        "cold_start": True,
        "instance_id": "i",
        "request_bytes": 1,
        "response_bytes": 2,
        "client_ip": b"192.0.2.1",
        "traceparent": b"",
    }
    return Record(**{**values, **changed})  # type: ignore[arg-type]


def test_a_record_becomes_one_line_of_json() -> None:
    line = line_of(record())
    assert "\n" not in line
    said = json.loads(line)
    assert said["time"] == "1970-01-01T00:00:00.250Z"
    assert (said["target"], said["durationMs"], said["queueMs"], said["coldStart"]) == ('/\xe9?q="', 12.346, 1.0, True)
    assert "code" not in said
    assert "traceparent" not in said


def test_a_refusal_and_a_trace_are_said_where_there_is_one() -> None:
    said = json.loads(line_of(record(status=429, code="ResourceExhausted", traceparent=b"00-a-b-01")))
    assert (said["status"], said["code"], said["traceparent"]) == (429, "ResourceExhausted", "00-a-b-01")
