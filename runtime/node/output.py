"""What instances print: one file each, written by the instance itself so that it outlives the node, and kept small.

`output.log` is written at its end by whoever holds it. When it has grown over the limit, its newest quarter goes to
`output.1.log` and the file starts anew; what is printed in that very moment can be lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

NAME: Final = "output.log"
OLDER_NAME: Final = "output.1.log"
_CHUNK_BYTES: Final = 64 * 1024
_FOLLOW_PERIOD_S: Final = 0.1


def open_for_writing(folder: Path) -> int:
    """A file descriptor that appends, whatever is cut off meanwhile. The caller closes it."""
    return os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def exists(folder: Path) -> bool:
    return (folder / NAME).is_file()


def tail(folder: Path, bytes_max: int) -> bytes:
    """The last bytes, of both files where one does not have enough."""
    newest = _end(folder / NAME, bytes_max)
    missing = bytes_max - len(newest)
    return (_end(folder / OLDER_NAME, missing) if missing else b"") + newest


def cut(folder: Path, bytes_max: int) -> bool:
    """Start the file anew if it is over its limit. True when it was.

    Raises OSError: its newest quarter could not be kept. The file is started anew all the same: on a disk that is full
    it may be what fills it.
    """
    path = folder / NAME
    if _size(path) <= bytes_max:
        return False
    scratch = folder / f"{OLDER_NAME}.new"
    try:
        scratch.write_bytes(_end(path, bytes_max // 4))
        os.replace(scratch, folder / OLDER_NAME)
    except OSError:
        with suppress(OSError):
            scratch.unlink()
        raise
    finally:
        with suppress(FileNotFoundError):
            os.truncate(path, 0)
    return True


async def read(folder: Path, *, tail_bytes: int, follow: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The last bytes, then what is added for as long as `follow()` holds, and what was added until it stopped to."""
    position = _size(folder / NAME)
    text = tail(folder, tail_bytes)
    for start in range(0, len(text), _CHUNK_BYTES):
        yield text[start : start + _CHUNK_BYTES]
    goes_on = True
    while goes_on:
        goes_on = follow()
        if _size(folder / NAME) < position:  # it was cut, and is read from its new start
            position = 0
        while chunk := _from(folder / NAME, position):
            position += len(chunk)
            yield chunk
        if goes_on:
            await asyncio.sleep(_FOLLOW_PERIOD_S)


def sweep(instances: Path, kept_max: int, known: set[str]) -> None:
    """Remove the folders of forgotten instances but for the newest `kept_max`."""
    try:
        forgotten = [f for f in instances.iterdir() if f.is_dir() and f.name not in known]
        forgotten.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    except OSError as error:  # no descriptor is free, or somebody else removes them: the next sweep does it
        log.warning("output.not_swept error=%r", error)
        return
    for folder in forgotten[kept_max:]:
        shutil.rmtree(folder, ignore_errors=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _end(path: Path, bytes_max: int) -> bytes:
    size = _size(path)
    return _from(path, max(0, size - bytes_max), bytes_max)


def _from(path: Path, position: int, bytes_max: int = _CHUNK_BYTES) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(position)
            return file.read(bytes_max)
    except FileNotFoundError:
        return b""
