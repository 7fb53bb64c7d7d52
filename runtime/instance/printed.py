"""Standard output and standard error of an instance: what cannot be written as the disk is full is lost, and nothing
else. A function that prints goes on as one that does not."""

from __future__ import annotations

import errno
import io
from typing import Any, Final

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class _Lossy(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return memoryview(data).nbytes


def stream(descriptor: int, kind: type[io.TextIOWrapper] = io.TextIOWrapper) -> io.TextIOWrapper:
    """A text stream of this kind to a descriptor, which stays open; each line is written when it ends."""
    buffer = io.BufferedWriter(_Lossy(descriptor, "wb", closefd=False))
    return kind(buffer, "utf-8", "backslashreplace", line_buffering=True)
