"""Heads of one sender that differ at their end only: in the request's id and the body's length, which our gateway
writes last. What comes before is read once. Pure.

Only for servers behind a gateway of ours: the note that is kept with a head must not depend on its end.
"""

from __future__ import annotations

import re
from typing import Final

from runtime.http.head import Request

_ID: Final = b"x-fc-request-id"
_LENGTH: Final = b"content-length"
# As strict as the reader of whole heads: a value without spaces, a length of 1 to 18 digits, CRLF.
_END: Final = re.compile(rb"x-fc-request-id: ([0-9A-Za-z._-]{1,128})\r\ncontent-length: ([0-9]{1,18})\r\n\r\n")


def beginning_of(request: Request) -> bytes:
    """What a head has before the id and the length at its end; b"" if these are not there.

    The head was read, so its length is given once: what comes before the end says nothing of it, nor of chunks.
    """
    raw = request.raw
    at = raw.rfind(b"\r\n" + _ID) + 2
    return raw[:at] if at > 2 and _END.fullmatch(raw, at) is not None else b""


def with_other_end(request: Request, beginning: bytes, data: bytes) -> Request | None:
    """The head that `data` begins with, which has the beginning of `request`; None if it must be read as a whole."""
    end = _END.match(data, len(beginning))
    if end is None:
        return None
    request_id, length = end.groups()
    fields = [*request.fields[:-2], (_ID, request_id), (_LENGTH, length)]
    other = Request(data[: end.end()], request.method, request.target, fields, http_1_0=request.http_1_0)
    other.host = request.host
    other.content_length = int(length)
    other.keep_alive = request.keep_alive
    other.expects_continue = request.expects_continue
    other.upgrade = request.upgrade
    other.note, other.note_before = request.note, request.note_before
    return other
