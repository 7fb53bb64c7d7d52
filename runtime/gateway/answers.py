"""The whole answers that the gateway writes by itself."""

from __future__ import annotations

import itertools
import json
import secrets
import time

from runtime.contract import HEADER_ERROR_TYPE, HEADER_REQUEST_ID
from runtime.error_body import error_body
from runtime.gateway.refusal import Refusal
from runtime.gateway.relay import connection_line
from runtime.http.exchange import Exchange
from runtime.http.framing import date_header, header_block, status_line


class RequestIds:
    """Ids in FC's form, `1-67a59f35-150c1267-f381ba1c085c`: the second, this process, a count from a random start.

    Unique, not secret; a count is several times cheaper than random bytes for each.
    """

    def __init__(self) -> None:
        self._process = f"{secrets.randbits(32):08x}"
        self._count = itertools.count(secrets.randbits(47))
        self._second = 0
        self._begin = ""

    def new(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._begin = f"1-{second:08x}-{self._process}-"
        return f"{self._begin}{next(self._count):012x}"


def refuse(exchange: Exchange, refusal: Refusal, request_id: str) -> None:
    """Answer with the error and finish the exchange."""
    body = error_body(refusal.code, refusal.message, request_id)
    headers = header_block([(HEADER_REQUEST_ID, request_id), *refusal.headers])
    _answer(exchange, refusal.status, headers, body)


def whole(exchange: Exchange, content_type: str, body: bytes) -> None:
    """Answer 200 and finish the exchange."""
    parts = [
        status_line(200),
        date_header(),
        header_block([("content-type", content_type), ("content-length", len(body))]),
        connection_line(exchange),
    ]
    exchange.write([b"".join(parts) if exchange.method == b"HEAD" else b"".join((*parts, body))])
    exchange.finish()


def methods(exchange: Exchange) -> None:
    """Answer `OPTIONS *`, which asks about the server as a whole (RFC 9110, section 9.3.7), and finish the exchange."""
    lines = header_block([("allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"), ("content-length", 0)])
    exchange.write([b"".join((status_line(200), date_header(), lines, connection_line(exchange)))])
    exchange.finish()


def timed_out(exchange: Exchange, timeout_s: float, request_id: str, *, status: int, more_headers: bytes) -> None:
    """Answer for a function that did not within its timeout: its own fault, so said as a function error."""
    message = f"Function timed out after {timeout_s:g} seconds"
    headers = _function_error_headers(request_id, "UnhandledInvocationError") + more_headers
    _answer(exchange, status, headers, _function_error(message, "FunctionTimeout", request_id))


def not_initialized(exchange: Exchange, reason: str, request_id: str, *, status: int) -> None:
    """Answer for a function whose initializer fails: its own fault too."""
    headers = _function_error_headers(request_id, "UnhandledInitializationError")
    _answer(exchange, status, headers, _function_error(reason, "InitializationError", request_id))


def _function_error(message: str, error_type: str, request_id: str) -> bytes:
    return json.dumps({"errorMessage": message, "errorType": error_type, "requestId": request_id}).encode()


def _function_error_headers(request_id: str, kind: str) -> bytes:
    return header_block([(HEADER_REQUEST_ID, request_id), (HEADER_ERROR_TYPE, kind)])


def _answer(exchange: Exchange, status: int, headers: bytes, body: bytes) -> None:
    parts = [
        status_line(status),
        date_header(),
        b"content-type: application/json\r\n",
        b"content-length: %d\r\n" % len(body),
        headers,
        connection_line(exchange),
    ]
    if exchange.method != b"HEAD":
        parts.append(body)
    exchange.write([b"".join(parts)])
    exchange.finish()
