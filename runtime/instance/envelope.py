"""HTTP for plain handlers: a request becomes an event in JSON, and a result becomes an answer. Pure.

The shapes are those of Function Compute 3.0's HTTP triggers.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

_encoded: Final = msgspec.json.Encoder().encode
_JSON: Final = "application/json"
_OCTETS: Final = "application/octet-stream"
_TEXT: Final = "text/plain; charset=utf-8"
# What a header may be made of (RFC 9110, sections 5.1 and 5.5). A line end in a value would begin another header.
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class ResultError(Exception):
    """The handler's result cannot be made an answer of; says which part of it."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: str  # not decoded
    query: str
    headers: Mapping[str, str]  # by lower-case name
    body: bytes
    at_s: float  # UTC


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int = 200
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)
    body: bytes = b""


def event_from(request: HttpRequest) -> bytes:
    """The event that a plain handler gets for a request of an HTTP trigger."""
    body, is_base64 = _as_text(request.body)
    headers = request.headers
    event = {
        "version": "v1",
        "rawPath": request.path,
        "headers": headers,
        "queryParameters": dict(parse_qsl(request.query, keep_blank_values=True)) if request.query else {},
        "body": body,
        "isBase64Encoded": is_base64,
        "requestContext": {
            "accountId": headers.get("x-fc-account-id", ""),
            "domainName": headers.get("host", ""),
            "domainPrefix": headers.get("host", "").partition(".")[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": headers.get("x-fc-client-ip", ""),
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": headers.get("x-fc-request-id", ""),
            "timeEpoch": str(int(request.at_s * 1000)),
        },
    }
    return _encoded(event)


def answer_from(result: Any) -> HttpAnswer:
    """A dict with `statusCode` says what to answer; anything else is the body of a 200. Raises ResultError."""
    if isinstance(result, dict) and "statusCode" in result:
        return _as_told(result)
    body, content_type = body_from(result)
    return HttpAnswer(200, [("content-type", content_type)], body)


def body_from(result: Any) -> tuple[bytes, str]:
    """The bytes of a handler's result, and their type. Raises ResultError when it is neither text, bytes nor JSON."""
    if isinstance(result, bytes | bytearray | memoryview):
        return bytes(result), _OCTETS
    if isinstance(result, str):
        return result.encode(), _TEXT
    try:
        return json.dumps(result).encode(), _JSON
    except (TypeError, ValueError) as error:
        raise ResultError(f"the result must be bytes, a text or JSON: {error}") from error


def _as_told(result: dict[str, Any]) -> HttpAnswer:
    status = result["statusCode"]
    if isinstance(status, str) and status.isdecimal():
        status = int(status)
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ResultError(f"statusCode {status!r} must be a number from 200 to 599")
    told = result.get("headers") or {}
    if not isinstance(told, Mapping):
        raise ResultError(f"headers must be an object, not a {type(told).__name__}")
    body, content_type = _told_body(result)
    headers = [(str(name).lower(), str(v)) for name, value in told.items() for v in _each(value)]
    headers = [(name, value) for name, value in headers if name not in ("content-length", "transfer-encoding")]
    for name, value in headers:
        _check_header(name, value)
    if body and "content-type" not in {name for name, _ in headers}:
        headers.append(("content-type", content_type))
    return HttpAnswer(status, headers, body)


def _check_header(name: str, value: str) -> None:
    """Raises ResultError."""
    if _NAME.fullmatch(name) is None:
        raise ResultError(f"headers has the name {name!r}: letters, digits and !#$%&'*+-.^_`|~ are allowed")
    if _VALUE.fullmatch(value) is None:
        raise ResultError(f"header {name!r} has the value {value!r}: Latin-1 without control characters is allowed")


def _told_body(result: dict[str, Any]) -> tuple[bytes, str]:
    body = result.get("body")
    if body is None:
        return b"", _TEXT
    if result.get("isBase64Encoded") is True:
        try:
            return base64.b64decode(body, validate=True), _OCTETS
        except (binascii.Error, TypeError, ValueError) as error:
            raise ResultError(f"body is not base64, as isBase64Encoded says: {error}") from error
    return body_from(body)


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else (value,)


def _as_text(body: bytes) -> tuple[str, bool]:
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True
