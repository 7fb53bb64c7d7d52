"""What a container prints, copied into its instance's output as it comes: from then on it is read like any other."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from runtime.node import output
from runtime.node.docker.asked import Frames
from runtime.node.docker.engine import Engine, EngineAway, EngineError

log = logging.getLogger(__name__)

_AGAIN_S: Final = 0.5  # an engine that was restarted is asked again


class ContainerLog:
    """Follows one container's output until it ends, over restarts of its engine. Nothing is written twice."""

    def __init__(self, engine: Engine, name: str, folder: Path) -> None:
        self._engine = engine
        self._name = name
        self._folder = folder
        self._last = ""  # the time of the newest message that was written
        self._task = asyncio.create_task(self._run())

    def begin_anew(self) -> None:
        """Written from the container's beginning: how far an earlier node came is not known."""
        with suppress(FileNotFoundError):
            os.truncate(self._folder / output.NAME, 0)
        (self._folder / output.OLDER_NAME).unlink(missing_ok=True)

    async def read_to_end(self, at_most_s: float) -> None:
        """Of a container that has ended: returns when all it printed is written."""
        await asyncio.wait((self._task,), timeout=at_most_s)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._copy()
                return
            except EngineError as error:
                log.debug("container.no_log name=%s error=%s", self._name, error)
                return
            except EngineAway:
                await asyncio.sleep(_AGAIN_S)

    async def _copy(self) -> None:
        frames, since = Frames(), self._last
        descriptor = output.open_for_writing(self._folder)
        path = f"/containers/{self._name}/logs"
        try:
            async for chunk in self._engine.stream("GET", path, follow=1, stdout=1, stderr=1, timestamps=1):
                for at, said in frames.feed(chunk):
                    if at > since:  # nine digits of a second, UTC: as texts they sort as times
                        self._last = at
                        os.write(descriptor, said)
        finally:
            os.close(descriptor)
