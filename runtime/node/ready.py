"""The pipe on which a built-in server says that it listens, or why it never will. Nobody polls."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Final

from runtime.node.errors import Failure

_BYTES_MAX: Final = 64 * 1024


class ReadyPipe:
    """`write_descriptor` goes to the instance, which writes one JSON object: {"ready": true} or {"failed": reason}."""

    def __init__(self) -> None:
        self._read, self.write_descriptor = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.write_descriptor, True)
        self._text = b""
        self._said: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._read, self._on_bytes)

    async def wait(self) -> None:
        """Returns when the instance listens. Raises Failure with the reason it gave; waits on if it gave none."""
        reason = await asyncio.shield(self._said)
        if reason is not None:
            raise Failure(reason)

    def given(self) -> None:
        """The instance has its copy of the writing end."""
        if self.write_descriptor >= 0:
            os.close(self.write_descriptor)
            self.write_descriptor = -1

    def close(self) -> None:
        self.given()
        if self._read >= 0:
            asyncio.get_running_loop().remove_reader(self._read)
            os.close(self._read)
            self._read = -1
        self._said.cancel()

    def _on_bytes(self) -> None:
        try:
            chunk = os.read(self._read, _BYTES_MAX)
        except BlockingIOError:
            return
        self._text += chunk
        complete = self._text.endswith(b"\n")
        if complete and not self._said.done():
            message = json.loads(self._text)
            self._said.set_result(None if message.get("ready") else str(message.get("failed")))
        if complete or not chunk or len(self._text) > _BYTES_MAX:
            # An end without a message is a death, and the pidfd tells of it with its reason.
            asyncio.get_running_loop().remove_reader(self._read)
            os.close(self._read)
            self._read = -1
