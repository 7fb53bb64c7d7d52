"""A finished request as a span: whose child it is, what it says, and which requests have none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.gateway.access_log import Record
from runtime.gateway.spans import Parent, is_wanted, parent_of, request_of, span_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECORD = Record(
    at_s=1_800_000_000.25,
    request_id="1-67a59f35-150c1267-f381ba1c085c",
    service="s",
    qualifier="prod",
    version="3",
    function="f",
    method=b"POST",
    target=b"/2016-08-15/proxy/s/f/a?b=c",
    status=200,
    code="",
    duration_s=0.5,
    wait_s=0.125,
    cold_start=True,
    instance_id="i-1",
    request_bytes=5,
    response_bytes=7,
    client_ip=b"127.0.0.1",
    traceparent=b"",
)


def span(**changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(span_of(RECORD._replace(**changed), "http"))
    return found


def said(found: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in found["attributes"]}


def test_a_span_is_a_server_s_and_its_parent_is_the_client_s() -> None:
    found = span(traceparent=f"00-{TRACE}-{SPAN}-01".encode())
    assert (found["traceId"], found["parentSpanId"], found["kind"]) == (TRACE, SPAN, 2)
    assert found["flags"] == 0x301, "sampled, and the parent is known to be remote"
    assert found["name"] == "POST s/f"
    assert (found["startTimeUnixNano"], found["endTimeUnixNano"]) == ("1800000000250000000", "1800000000750000000")
    assert "status" not in found


def test_without_a_parent_the_ids_follow_from_the_request_s() -> None:
    found = span()
    assert (found["traceId"], found["spanId"]) == ("67a59f35150c12670000f381ba1c085c", "1267f381ba1c085c")
    assert "parentSpanId" not in found


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
    ],
)
def test_what_is_no_traceparent_is_no_parent(given: str) -> None:
    assert parent_of(given.encode()) is None


def test_a_later_version_may_say_more() -> None:
    assert parent_of(f"01-{TRACE}-{SPAN}-00-more".encode()) == Parent(TRACE, SPAN, 0)


def test_attributes_have_the_conventions_names() -> None:
    assert said(span()) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/2016-08-15/proxy/s/f/a",
        "url.query": "b=c",
        "http.request.body.size": "5",
        "http.response.body.size": "7",
        "http.response.status_code": "200",
        "client.address": "127.0.0.1",
        "faas.trigger": "http",
        "faas.invoked_name": "s/f",
        "faas.version": "3",
        "faas.invocation_id": RECORD.request_id,
        "faas.coldstart": True,
        "faas.instance": "i-1",
        "stoke.qualifier": "prod",
        "stoke.queue.seconds": 0.125,
    }


def test_only_what_failed_on_this_side_is_an_error() -> None:
    assert span(status=404).get("status") is None
    assert "error.type" not in said(span(status=404))
    assert span(status=502, code="InstanceDied")["status"] == {"code": 2}
    assert said(span(status=502, code="InstanceDied"))["error.type"] == "InstanceDied"
    assert said(span(status=500))["error.type"] == "500"
    gone = said(span(status=499))
    assert gone["error.type"] == "client_gone"
    assert "http.response.status_code" not in gone


def test_a_method_of_nobody_s_is_no_name() -> None:
    found = span(method=b"BREW")
    assert found["name"] == "HTTP s/f"
    assert (said(found)["http.request.method"], said(found)["http.request.method_original"]) == ("_OTHER", "BREW")


def test_the_client_decides_about_its_trace_and_the_share_about_those_that_begin_here() -> None:
    sampled, not_sampled = (RECORD._replace(traceparent=f"00-{TRACE}-{SPAN}-{f}".encode()) for f in ("01", "00"))
    assert is_wanted(sampled, 0.0)
    assert not is_wanted(not_sampled, 1.0)
    records = [RECORD._replace(request_id=f"1-67a59f35-150c1267-{0xF381BA1C085C + n:012x}") for n in range(1000)]
    assert all(is_wanted(each, 1.0) for each in records)
    assert not any(is_wanted(each, 0.0) for each in records)
    in_each_hundred = [sum(is_wanted(each, 0.1) for each in records[n : n + 100]) for n in range(0, 1000, 100)]
    assert set(in_each_hundred) <= {9, 10, 11}, "evenly, not in runs"


def test_what_a_collector_is_sent_is_one_resource_with_its_spans() -> None:
    (resource,) = json.loads(request_of([span_of(RECORD, "http")] * 2, 'g"1'))["resourceSpans"]
    assert said(resource["resource"]) == {"service.name": "stoke-gateway", "service.instance.id": 'g"1'}
    (scope,) = resource["scopeSpans"]
    assert len(scope["spans"]) == 2
