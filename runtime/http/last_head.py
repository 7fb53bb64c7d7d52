"""The head that came last over a connection, so that one like it is not taken apart again. Pure.

A client's next request mostly has the very head of the one before. Its bytes are compared, not read; and by
`Request.note`, whoever handles the request finds again what it has worked out for that head.
"""

from __future__ import annotations

from typing import Final

from runtime.http.beginnings import beginning_of, with_other_end
from runtime.http.head import Request

# A longer head is not remembered: what a connection may keep is bounded.
REMEMBERED_BYTES_MAX: Final = 4096


class LastHead:
    """Of one connection; before its first request there is none."""

    __slots__ = ("_beginning", "_knows_beginnings", "_request")

    def __init__(self, *, knows_beginnings: bool) -> None:
        """`knows_beginnings`: also one that differs at its end only is known again (`beginnings.py`)."""
        self._request: Request | None = None
        self._knows_beginnings = knows_beginnings
        self._beginning = b""

    def again(self, data: bytes) -> Request | None:
        """The head that `data` begins with, if it is this one, or this one with another end; None: it must be read."""
        last = self._request
        if last is None:
            return None
        if data.startswith(last.raw):
            return last
        beginning = self._beginning
        return with_other_end(last, beginning, data) if beginning and data.startswith(beginning) else None

    def replace(self, request: Request) -> None:
        """`request` was read, and is the last one from now on. If it asks for the same as this one, it is told what was
        noted with this one."""
        last = self._request
        if last is not None and last.note is not None and request.asks_as(last):
            request.note_before = last.note
        self._request = request if len(request.raw) <= REMEMBERED_BYTES_MAX else None
        self._beginning = beginning_of(request) if self._knows_beginnings else b""
