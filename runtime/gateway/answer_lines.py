"""The header lines that the gateway says itself beside those of an instance's answer. Pure."""

from __future__ import annotations

from typing import Final

from runtime.contract import (
    HEADER_COLD_START,
    HEADER_ERROR_TYPE,
    HEADER_INSTANCE_ID,
    HEADER_INVOCATION_DURATION,
    HEADER_REQUEST_ID,
    HEADER_SERVICE_VERSION,
    HEADER_STATUS,
)
from runtime.http.fields import find
from runtime.http.head import Response

SAID_HERE: Final = frozenset(
    name.encode()
    for name in (
        HEADER_REQUEST_ID,
        HEADER_INSTANCE_ID,
        HEADER_INVOCATION_DURATION,
        HEADER_SERVICE_VERSION,
        HEADER_STATUS,
    )
)
"""An instance's word on these does not count."""

# Encoded once; what differs from request to request is put in.
_EACH: Final = f"{HEADER_REQUEST_ID}: %b\r\n{HEADER_INVOCATION_DURATION}: %d\r\n%b%b".encode()
_COLD_START: Final = f"{HEADER_COLD_START}: true\r\n".encode()
_FUNCTION_ERROR: Final = f"{HEADER_ERROR_TYPE}: UnhandledInvocationError\r\n".encode()
_ERROR_TYPE: Final = HEADER_ERROR_TYPE.encode()
_STATUS: Final = HEADER_STATUS.encode()


def of_request(request_id: str, duration_ms: int, id_line: bytes, response_headers: bytes, cold_start: bool) -> bytes:
    """`id_line` is the instance's, `response_headers` the function version's."""
    lines = _EACH % (request_id.encode(), duration_ms, id_line, response_headers)
    return lines + _COLD_START if cold_start else lines


def of_failure(response: Response) -> bytes:
    """What an invocation's caller is told of a failed function: that is no failed call. Which kind of error it was, the
    instance may have said."""
    failed = response.status != 200 or find(response.fields, _STATUS) == b"404"
    return _FUNCTION_ERROR if failed and find(response.fields, _ERROR_TYPE) is None else b""
