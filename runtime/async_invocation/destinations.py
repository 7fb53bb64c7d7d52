"""Where the result of an asynchronous invocation goes, and what is sent there. Pure.

| spelled | goes to |
|---|---|
| `acs:fc:REGION:ACCOUNT:services/S[.Q]/functions/F` | a function, asynchronously; both may be empty |
| `acs:fc:REGION:ACCOUNT:functions/[S$]F[/Q]` | the same, as FC 3.0 spells it |
| `http://…`, `https://…` | POST |
| `acs:redis:::streams/NAME` | the stream `streams/NAME` in the store, field `event` |
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from runtime.async_invocation.records import Invocation, Status
from runtime.contract import LATEST

ALLOWED: Final = (
    "acs:fc:REGION:ACCOUNT:services/SERVICE[.QUALIFIER]/functions/FUNCTION, "
    "acs:fc:REGION:ACCOUNT:functions/FUNCTION[/QUALIFIER], http://…, https://… or acs:redis:::streams/NAME"
)
URL_CHARS_MAX: Final = 2048

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,127}"
_FUNCTION: Final = re.compile(
    rf"acs:fc:[a-z0-9-]*:\d*:services/({_NAME})(?:\.({_NAME}|\d{{1,12}}))?/functions/({_NAME})"
)
_FUNCTION_3: Final = re.compile(rf"acs:fc:[a-z0-9-]*:\d*:functions/(?:({_NAME})\$)?({_NAME})(?:/({_NAME}|\d{{1,12}}))?")
_STREAM: Final = re.compile(r"acs:redis:::streams/([A-Za-z0-9_.-]{1,128})")


@dataclass(frozen=True, slots=True)
class ToFunction:
    service: str
    qualifier: str
    function: str


@dataclass(frozen=True, slots=True)
class ToUrl:
    scheme: str
    host: str
    port: int
    target: str  # path and query


@dataclass(frozen=True, slots=True)
class ToStream:
    key: str


Destination = ToFunction | ToUrl | ToStream


def parse(text: str) -> Destination:
    """Raises ValueError, naming what is allowed."""
    function = _FUNCTION.fullmatch(text)
    if function is not None:
        service, qualifier, name = function.groups()
        return ToFunction(service, qualifier or LATEST, name)
    function = _FUNCTION_3.fullmatch(text)
    if function is not None:
        service, name, qualifier = function.groups()
        return ToFunction(service or name, qualifier or LATEST, name)
    stream = _STREAM.fullmatch(text)
    if stream is not None:
        return ToStream(f"streams/{stream[1]}")
    if len(text) <= URL_CHARS_MAX and text.isascii() and text.isprintable() and " " not in text:
        url = _url(text)
        if url is not None:
            return url
    raise ValueError(f"destination '{text[:200]}': {ALLOWED} is allowed")


def _url(text: str) -> ToUrl | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return ToUrl(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), target)


def condition(record: Invocation) -> str:
    """Why the result is what it is, in one word."""
    if record.status is Status.SUCCEEDED:
        return "Success"
    if record.status is Status.EXPIRED:
        return "EventAgeExceeded"
    if record.status is Status.INVALID:
        return "FunctionNotFound"
    return "RetriesExhausted"


def event(record: Invocation, payload: bytes, result: bytes, *, region: str, account_id: str) -> bytes:
    """What a destination gets: FC's shape. A payload that is no UTF-8 is sent in base64, and `…Encoding` says so."""
    arn = f"acs:fc:{region}:{account_id}:services/{record.service}.{record.qualifier}/functions/{record.function}"
    value: dict[str, Any] = {
        "timestamp": round(record.ended_at_s * 1000),
        "requestContext": {
            "requestId": record.request_id,
            "invocationId": record.invocation_id,
            "functionArn": arn,
            "condition": condition(record),
            "approximateInvokeCount": record.attempts,
        },
        "responseContext": {
            "statusCode": 200 if record.status is Status.SUCCEEDED or record.error_type else 0,  # 0: no answer
            "functionError": record.error_type,
            "errorMessage": record.error,
        },
    }
    _put_text(value, "requestPayload", payload)
    _put_text(value, "responsePayload", result)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def id_for(record: Invocation) -> str:
    """The id of the invocation that a function destination gets: sent twice, it is still one."""
    name = "/".join((record.service, record.function, record.invocation_id, record.request_id))
    return "d-" + hashlib.sha256(name.encode()).hexdigest()[:40]


def _put_text(value: dict[str, Any], name: str, data: bytes) -> None:
    try:
        value[name] = data.decode()
    except UnicodeDecodeError:
        value[name] = base64.b64encode(data).decode()
        value[f"{name}Encoding"] = "base64"
