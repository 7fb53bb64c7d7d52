"""How a message's head and body are put into bytes (RFC 9112). Pure: bytes in, bytes out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Final

CRLF: Final = b"\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED: Final = b"transfer-encoding: chunked\r\n"
CLOSE: Final = b"connection: close\r\n"
KEEP_ALIVE: Final = b"connection: keep-alive\r\n"  # said to HTTP/1.0 clients only: for 1.1 it is the default

Headers = list[tuple[bytes, bytes]]

_STATUS_LINES: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}

# Above this the pieces go to the kernel one by one: copying them into one buffer would cost more than it saves.
JOIN_BYTES_MAX: Final = 65_536


def status_line(status: int, reason: bytes = b"") -> bytes:
    """A status line; for a status that has no phrase of its own, with `reason`."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d %b\r\n" % (status, reason)


def header(name: str, value: object) -> bytes:
    """One header line.

    Raises:
        ValueError: the value would end the line early or is not Latin-1.
    """
    line = f"{name}: {value}".encode("latin-1")
    if b"\r" in line or b"\n" in line or b"\0" in line:
        raise ValueError(f"header {name} has the value {value!r}: line ends and NUL are not allowed")
    return line + CRLF


def header_block(headers: Iterable[tuple[str, object]]) -> bytes:
    """Header lines. Raises ValueError as `header` does."""
    pairs = list(headers)
    block = "".join([f"{name}: {value}\r\n" for name, value in pairs]).encode("latin-1")
    if block.count(b"\r") != len(pairs) or block.count(b"\n") != len(pairs) or b"\0" in block:
        return b"".join(header(name, value) for name, value in pairs)  # which says what is wrong
    return block


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body. `data` must not be empty: an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunks(pieces: Iterable[bytes]) -> list[bytes]:
    """The pieces as chunks, empty ones left out, not yet joined: a large piece is not copied."""
    parts: list[bytes] = []
    for piece in pieces:
        if piece:
            parts += (b"%x\r\n" % len(piece), piece, CRLF)
    return parts


def last_chunk(trailers: Headers) -> bytes:
    """The end of a chunked body, with the fields that come behind it."""
    if not trailers:
        return LAST_CHUNK
    return b"".join((b"0\r\n", *(part for name, value in trailers for part in (name, b": ", value, CRLF)), CRLF))


def joined(parts: list[bytes]) -> list[bytes]:
    """The same bytes in as few parts as is cheap: one, unless they are large."""
    if len(parts) > 1 and sum(map(len, parts)) <= JOIN_BYTES_MAX:
        return [b"".join(parts)]
    return parts


def date_header() -> bytes:
    """The Date of a response that has none (RFC 9110, section 6.6.1). Made once a second."""
    return _date_header(int(time.time()))


@lru_cache(maxsize=1)
def _date_header(second: int) -> bytes:
    return time.strftime("date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime(second)).encode()


def has_no_body(status: int) -> bool:
    """Whether a response of this status never has a body, whatever its headers say (RFC 9112, section 6.3)."""
    return status in (204, 304) or status < 200
