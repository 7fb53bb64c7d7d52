"""What a gateway does beside its requests, each for ever: a loop that dies is told of, and ends the gateway in order.

Whoever started it starts another. One that went on without its reports, say, would look well and be none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

log = logging.getLogger(__name__)

_AGAIN_S: Final = 0.1


class Loops:
    """Begun when made; `close` ends them."""

    def __init__(self, works: Mapping[str, Coroutine[Any, Any, None]], died: Callable[[], None]) -> None:
        """`works` by name; `died` is called when one has raised an error."""
        self.has_died = False
        self._died: Final = died
        self._tasks = [asyncio.get_running_loop().create_task(work) for work in works.values()]
        for name, task in zip(works, self._tasks, strict=True):
            task.add_done_callback(partial(self._ended, name))

    async def close(self) -> None:
        """A client of the store that is cancelled as its connection ends may tell of the connection alone. A loop takes
        that for a store that is away and goes on, so it is cancelled until it has ended."""
        left = set(self._tasks)
        while left:
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=_AGAIN_S)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("loop.died name=%s", name, exc_info=error)
            self.has_died = True
            self._died()
