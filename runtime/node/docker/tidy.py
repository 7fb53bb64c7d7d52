"""Removes containers that nobody needs any more: left behind by a node that died, or while the engine was away."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Final

from runtime.node.docker.asked import LABEL_INSTANCE, LABEL_OWNER
from runtime.node.docker.engine import Engine
from runtime.node.errors import Failure

log = logging.getLogger(__name__)

_AGAIN_S: Final = 2.0


class Tidy:
    """Works in the background once it is asked to, until the engine has answered."""

    def __init__(self, engine: Engine, owner: str, lives: Callable[[str], bool]) -> None:
        self._engine = engine
        self._owner = owner
        self._lives = lives
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._remove_strays()
                return
            except Failure as error:
                log.debug("containers.not_tidied error=%s", error)
            await asyncio.sleep(_AGAIN_S)

    async def _remove_strays(self) -> None:
        ours = json.dumps({"label": [f"{LABEL_OWNER}={self._owner}"]})
        for container in await self._engine.call("GET", "/containers/json", all=1, filters=ours):
            instance_id = container["Labels"].get(LABEL_INSTANCE, "")
            if not self._lives(instance_id):
                log.info("container.stray instance=%s id=%s", instance_id, container["Id"][:12])
                await self._engine.call("DELETE", f"/containers/{container['Id']}", force=1, v=1)
