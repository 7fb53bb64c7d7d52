"""The instance's end of the pipe on which the node hears that it listens, or why it never will."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any


class ReadyPipe:
    """Tells the node one thing, once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, **message: Any) -> None:
        if self._descriptor < 0:
            return
        with contextlib.suppress(BrokenPipeError):  # that node is gone; the next one finds us by our socket
            os.write(self._descriptor, json.dumps(message).encode() + b"\n")
        os.close(self._descriptor)
        self._descriptor = -1
