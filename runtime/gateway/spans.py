"""A finished request as an OpenTelemetry span, in OTLP's JSON. Pure.

The names are those of OpenTelemetry's semantic conventions for HTTP servers and for functions (`faas.*`); what they
have no name for begins with `stoke.`. The ids of a span follow from the request's id, so either leads to the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from runtime.gateway.access_log import Record
from runtime.gateway.metrics import CLIENT_GONE

# W3C Trace Context: version, trace, parent, flags; of later versions more may follow.
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_METHODS: Final = frozenset(
    (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE", b"CONNECT", b"QUERY")
)
_SAMPLED: Final = 0x01
_REMOTE: Final = 0x300  # that the parent is remote is known, and so it is
_KIND_SERVER: Final = 2
_STATUS_ERROR: Final = 2
_SPREAD: Final = 2_654_435_761  # 2³² ÷ φ: counts that follow each other are spread evenly


class Parent(NamedTuple):
    trace_id: str
    span_id: str
    flags: int


def parent_of(traceparent: bytes) -> Parent | None:
    """None where the client's is missing or none; whoever reads it then begins a trace."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or (match[1] == b"00" and match[5]):
        return None
    return Parent(match[2].decode(), match[3].decode(), int(match[4], 16))


def is_wanted(record: Record, share: float) -> bool:
    """Whether it gets a span: as the client has decided, or so many of the traces that begin here."""
    parent = parent_of(record.traceparent)
    if parent is not None:
        return bool(parent.flags & _SAMPLED)
    count = int(record.request_id.rpartition("-")[2], 16)
    return (count * _SPREAD & 0xFFFF_FFFF) < share * (1 << 32)


def span_of(record: Record, scheme: str) -> str:
    """The span as JSON. `scheme` is how clients speak to this gateway: "http" or "https"."""
    parent = parent_of(record.traceparent)
    _, second, process, count = record.request_id.split("-")
    method = record.method if record.method in _METHODS else b"_OTHER"
    # A float of today's nanoseconds would be 256 of them coarse.
    begin_ns = int(record.at_s) * 1_000_000_000 + round(record.at_s % 1.0 * 1e9)
    span: dict[str, object] = {
        "traceId": f"{second}{process}0000{count}" if parent is None else parent.trace_id,
        "spanId": f"{process[4:]}{count}",
        "flags": _SAMPLED if parent is None else parent.flags | _REMOTE,
        "name": f"{'HTTP' if method == b'_OTHER' else method.decode()} {record.service}/{record.function}",
        "kind": _KIND_SERVER,
        "startTimeUnixNano": str(begin_ns),
        "endTimeUnixNano": str(begin_ns + round(record.duration_s * 1e9)),
        "attributes": _attributes(record, method, scheme),
    }
    if parent is not None:
        span["parentSpanId"] = parent.span_id
    if record.status >= 500:
        span["status"] = {"code": _STATUS_ERROR}
    return json.dumps(span, separators=(",", ":"))


def request_of(spans: Sequence[str], gateway_id: str) -> bytes:
    """What a collector is sent."""
    resource = _values({"service.name": "stoke-gateway", "service.instance.id": gateway_id})
    scope = {"name": "stoke.gateway"}
    head = f'{{"resourceSpans":[{{"resource":{{"attributes":{json.dumps(resource)}}},"scopeSpans":[{{"scope":'
    return f'{head}{json.dumps(scope)},"spans":[{",".join(spans)}]}}]}}]}}'.encode()


def _attributes(record: Record, method: bytes, scheme: str) -> list[dict[str, object]]:
    path, _, query = record.target.decode("latin-1").partition("?")
    found: dict[str, str | int | bool | float] = {
        "http.request.method": method.decode(),
        "url.scheme": scheme,
        "url.path": path,
        "http.request.body.size": record.request_bytes,
        "http.response.body.size": record.response_bytes,
        "faas.trigger": "http",
        "faas.invoked_name": f"{record.service}/{record.function}",
        "faas.version": record.version,
        "faas.invocation_id": record.request_id,
        "faas.coldstart": record.cold_start,
        "stoke.qualifier": record.qualifier,
        "stoke.queue.seconds": round(record.wait_s, 6),
    }
    if method == b"_OTHER":
        found["http.request.method_original"] = record.method.decode("latin-1")
    if query:
        found["url.query"] = query
    if record.client_ip:
        found["client.address"] = record.client_ip.decode("latin-1")
    if record.instance_id:
        found["faas.instance"] = record.instance_id
    if record.status != CLIENT_GONE:
        found["http.response.status_code"] = record.status
    if record.status >= 500 or record.status == CLIENT_GONE or record.code:
        found["error.type"] = record.code or ("client_gone" if record.status == CLIENT_GONE else str(record.status))
    return _values(found)


def _values(named: dict[str, str | int | bool | float] | dict[str, str]) -> list[dict[str, object]]:
    return [{"key": name, "value": _value(value)} for name, value in named.items()]


def _value(value: str | float | bool) -> dict[str, object]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}
