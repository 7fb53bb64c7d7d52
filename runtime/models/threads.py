"""The threads that a model's sessions are run in: as many as there are sessions, begun when they are first needed.

They wait in a queue of the interpreter's own, and nobody waits for a result: whoever starts work has it tell the loop.
An executor's futures, with their locks and callbacks, cost a request three times as much at a moment when nothing of
this process is in the processor's caches any more: the run before has taken them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any

_Work = Callable[[], None]


class Threads(Executor):
    """An executor for what is rare, loading and warming up, with `start` for what is not.

    The threads end with the object, and before the interpreter does: at its exit a run is waited for.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        weakref.finalize(self, _end, self._work, self._threads)

    def start(self, work: _Work) -> None:
        """Have it done by the next thread that is free. What it raises ends that thread: it should raise nothing."""
        if len(self._threads) < self._count:
            name = f"{self._name}_{len(self._threads)}"
            thread = threading.Thread(target=_do, args=(self._work,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._work.put(work)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        self.start(work)
        return future


def _do(queue: SimpleQueue[_Work | None]) -> None:
    while (work := queue.get()) is not None:
        work()
        del work  # nothing is kept while it waits


def _end(queue: SimpleQueue[_Work | None], threads: list[threading.Thread]) -> None:
    for _ in threads:
        queue.put(None)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join()
