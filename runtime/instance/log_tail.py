"""The end of what one invocation has logged, for callers who ask for it with `x-fc-log-type: Tail`.

An instance that takes one request at a time has the output all to itself meanwhile: it reads back what the output file
got, whoever wrote it, child processes and libraries among them. In one that takes several, only what Python prints and
logs is told apart, by the context that it is written in.
"""

from __future__ import annotations

import base64
import io
import os
import stat
import sys
from contextvars import ContextVar
from typing import Final, Protocol

from runtime.contract import HEADER_LOG_RESULT

TAIL_BYTES_MAX: Final = 4096  # Function Compute's
_OUTPUT: Final = 1


class Tail(Protocol):
    def read(self) -> bytes:
        """The end of what was logged since this was made."""


class Written:
    """By what was written in one context."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def add(self, text: str) -> None:
        self._kept += text.encode("utf-8", "backslashreplace")
        if len(self._kept) > 2 * TAIL_BYTES_MAX:
            del self._kept[:-TAIL_BYTES_MAX]

    def read(self) -> bytes:
        return bytes(self._kept[-TAIL_BYTES_MAX:])


class FromFile:
    """By what was added to the file that is standard output."""

    def __init__(self) -> None:
        self._begin = os.fstat(_OUTPUT).st_size

    def read(self) -> bytes:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        size = os.fstat(_OUTPUT).st_size
        begin = self._begin if self._begin <= size else 0  # the node has cut the file meanwhile
        with open(f"/proc/self/fd/{_OUTPUT}", "rb") as file:
            file.seek(max(begin, size - TAIL_BYTES_MAX))
            return file.read(TAIL_BYTES_MAX)


WRITTEN: Final[ContextVar[Written | None]] = ContextVar("written", default=None)


class Tapped(io.TextIOWrapper):
    """A stream of which whoever asked in the same context gets a copy."""

    def write(self, text: str, /) -> int:
        written = WRITTEN.get()
        if written is not None:
            written.add(text)
        return super().write(text)


def begin(concurrency: int) -> Tail:
    """From here on, in this context."""
    if concurrency == 1 and stat.S_ISREG(os.fstat(_OUTPUT).st_mode):
        return FromFile()
    written = Written()
    WRITTEN.set(written)
    return written


def header(tail: Tail) -> tuple[str, str]:
    """What was logged until now, as a field of the answer's head."""
    return HEADER_LOG_RESULT, base64.b64encode(whole_characters(tail.read())).decode()


def whole_characters(data: bytes) -> bytes:
    """Without the rest of a UTF-8 character whose beginning was cut off, at which clients that decode it would fail."""
    begin = 0
    while begin < min(3, len(data)) and 0x80 <= data[begin] < 0xC0:
        begin += 1
    return data[begin:]
