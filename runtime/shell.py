"""What the control plane and a node say to each other about a process that runs beside an instance. Pure but for reads.

The first line of a connection to the node is the order, in JSON like every other call. Once it is answered `ok`, both
sides send frames: one byte that says which stream, four for the length, then the data.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from runtime.contract import Message

FRAME_BYTES_MAX: Final = 64 * 1024  # of data; what is longer goes in several
_HEAD: Final = struct.Struct(">BI")


class Stream(IntEnum):
    """The first four are Function Compute's, as its clients have them before each message."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3  # why it ended, when the process did not end by itself
    RESIZE = 4  # "COLUMNS ROWS": the terminal's window has another size
    EXIT = 5  # the exit status, as shells have it: 128 + n for a process that signal n ended
    STDIN_END = 6  # nothing more will come on STDIN


FROM_CLIENT: Final = frozenset({Stream.STDIN, Stream.RESIZE, Stream.STDIN_END})


class FrameError(ValueError):
    """Bytes that are no frame."""


@dataclass(frozen=True, slots=True)
class ShellOrder(Message):
    """A process to start beside an instance."""

    instance_id: str
    command: list[str]  # none: a shell
    stdin: bool = True
    stdout: bool = True
    stderr: bool = True
    tty: bool = False
    columns: int = 80
    rows: int = 24
    idle_s: float = 0.0  # after so long without a byte either way it is ended; 0: the node's own limit


def frame(stream: Stream, data: bytes = b"") -> bytes:
    return _HEAD.pack(stream, len(data)) + data


async def read_frame(reader: asyncio.StreamReader) -> tuple[Stream, bytes] | None:
    """The next frame; None at the end of the connection, in the midst of a frame too.

    Raises:
        FrameError: no such stream, or more than FRAME_BYTES_MAX of data.
    """
    try:
        number, length = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if number not in Stream.__members__.values() or length > FRAME_BYTES_MAX:
            raise FrameError(f"stream {number} with {length} bytes is no frame: at most {FRAME_BYTES_MAX} are allowed")
        return Stream(number), await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def size_of(data: bytes) -> tuple[int, int]:
    """Columns and rows of a RESIZE.

    Raises:
        FrameError: not two numbers from 1 to 65535.
    """
    words = data.split()
    if len(words) == 2 and all(word.isdigit() and len(word) <= 5 and 1 <= int(word) <= 65_535 for word in words):
        return int(words[0]), int(words[1])
    raise FrameError(f"a window's size is {data[:40]!r}: columns and rows are needed, 1 to 65535 each")
