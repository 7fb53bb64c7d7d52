"""Threads for functions that block: as many as an instance takes requests at once, made when they are first needed.

Like `concurrent.futures.ThreadPoolExecutor` behind `run_in_executor`, at a third of its cost a call: one queue of the
interpreter's own, no future that two sides lock, and one wake-up of the loop for all calls that have ended meanwhile.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_Call = tuple["asyncio.Future[Any]", contextvars.Context, Callable[..., Any], tuple[Any, ...]]


class Threads:
    """Of one event loop, in whose thread `run` is called."""

    def __init__(self, count_max: int, name: str) -> None:
        self._count_max = count_max
        self._name = name
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        self._ended: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_told = False  # that some have ended
        self._inside = 0  # calls that have not ended
        self._count = 0

    def run(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Its result, or what it raises, with the caller's context variables."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._inside += 1
        if self._count < min(self._inside, self._count_max):
            self._count += 1
            # As those of an executor, they end with the process: what serves ends it when all requests are answered.
            thread = threading.Thread(target=self._work, args=(loop,), name=f"{self._name}_{self._count}", daemon=True)
            thread.start()
        self._calls.put((future, contextvars.copy_context(), function, arguments))
        return future

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            future, context, function, arguments = self._calls.get()
            result, error = None, None
            try:
                result = context.run(function, *arguments)
            except BaseException as raised:
                error = raised
            self._ended.append((future, result, error))
            del future, context, function, arguments, result, error  # nothing is kept while it waits
            if not self._is_told:
                self._is_told = True
                loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._is_told = False  # first: what ends from here on tells again
        while self._ended:
            future, result, error = self._ended.popleft()
            self._inside -= 1
            if future.cancelled():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):  # which a future cannot hold
                future.set_exception(RuntimeError("the function raised StopIteration"))
            else:
                future.set_exception(error)
