"""A body in chunks, taken apart as it arrives (RFC 9112, section 7.1). Pure.

Strict where readers differ: sizes are hexadecimal digits and nothing else, lines end with CRLF, and chunk extensions
are read over but must be some.
"""

from __future__ import annotations

import re
from typing import Final

from runtime.http.framing import Headers
from runtime.http.head import END, TOKEN, HeadMalformed, parse_trailers

SIZE_LINE_BYTES_MAX: Final = 1024  # a size with its extensions
TRAILER_BYTES_MAX: Final = 16_384

# RFC 9112, section 7.1.1: each extension has a name, and perhaps a value, which may be quoted.
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_EXTENSION: Final = rb"[ \t]*+;[ \t]*+" + TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + TOKEN + rb"|" + _QUOTED + rb"))?+"
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:" + _EXTENSION + rb")*+\r\n")


class BodyMalformed(Exception):
    """The chunks are none. Where the next message begins is unknown."""


class ChunkedBody:
    """Feed it what arrives; `ended` says when the body is whole, `rest` has what came behind it."""

    __slots__ = ("_held", "_in_trailers", "_left", "ended", "rest", "trailers")

    def __init__(self) -> None:
        self._left = 0  # bytes of the current chunk still to come, its CRLF included; 0: a size comes next
        self._held = b""  # of a line that is not complete
        self._in_trailers = False
        self.ended = False
        self.rest = b""
        self.trailers: Headers = []

    def feed(self, data: bytes) -> list[bytes]:
        """The body's bytes in `data`, in pieces.

        Raises:
            BodyMalformed: a rule is broken. Nothing may be fed any more.
        """
        pieces: list[bytes] = []
        if self._held:
            data = self._held + data
            self._held = b""
        at, end = 0, len(data)
        while at < end:
            if self._in_trailers:
                self._read_trailers(data[at:])
                break
            if self._left:
                at = self._read_chunk(data, at, pieces)
                continue
            line_end = data.find(b"\n", at, at + SIZE_LINE_BYTES_MAX) + 1
            if not line_end:
                if end - at >= SIZE_LINE_BYTES_MAX:
                    raise BodyMalformed(
                        f"a chunk's size line is too long: at most {SIZE_LINE_BYTES_MAX} bytes are allowed"
                    )
                self._held = data[at:]
                break
            at = self._read_size(data, at, line_end)
        return pieces

    def _read_size(self, data: bytes, at: int, line_end: int) -> int:
        line = _SIZE.fullmatch(data, at, line_end)
        if line is None:
            shown = data[at : min(line_end, at + 100)].decode("latin-1")
            raise BodyMalformed(f"chunk size {shown!r}: 1 to 15 hexadecimal digits, extensions and CRLF are allowed")
        size = int(line[1], 16)
        if size:
            self._left = size + 2
        else:
            self._in_trailers = True
        return line_end

    def _read_chunk(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take what there is of a chunk: its bytes, then the CRLF behind them, which may come in two."""
        left, there = self._left, len(data) - at
        body_bytes = min(left - 2, there)
        if body_bytes > 0:
            pieces.append(data[at : at + body_bytes] if body_bytes < len(data) else data)
            at += body_bytes
            left -= body_bytes
            there -= body_bytes
        if left <= 2 and there:
            line_end = data[at : at + left]
            if line_end != b"\r\n"[2 - left :][: len(line_end)]:
                raise BodyMalformed("a chunk is longer than its size says")
            at += len(line_end)
            left -= len(line_end)
        self._left = left
        return at

    def _read_trailers(self, data: bytes) -> None:
        if data.startswith(b"\r\n"):
            end = 2
        else:
            found = data.find(END)
            if found < 0:
                if len(data) > TRAILER_BYTES_MAX:
                    raise BodyMalformed(f"the trailers are too large: at most {TRAILER_BYTES_MAX} bytes are allowed")
                if data.count(b"\n") != data.count(b"\r\n"):
                    raise BodyMalformed("a line of the trailers ends with LF: CRLF is allowed")
                self._held = data
                return
            end = found + len(END)
        try:
            self.trailers = parse_trailers(data[:end])
        except HeadMalformed as malformed:
            raise BodyMalformed(f"in the trailers: {malformed}") from None
        self.ended = True
        self.rest = data[end:]
