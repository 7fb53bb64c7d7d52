"""Those who watch a backend of this process: each hears of what there is, and of each change from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from runtime.node_contract import InstanceStatus

Told = asyncio.Queue[InstanceStatus | None]  # None: cut off


class Watchers:
    """Nobody who is slow holds another one up, and nobody misses anything until he is cut off."""

    def __init__(self) -> None:
        self._queues: set[Told] = set()

    @contextmanager
    def joined(self, there: Iterable[InstanceStatus]) -> Iterator[Told]:
        """What one of them is told, for as long as he is one."""
        queue: Told = asyncio.Queue()
        for status in there:
            queue.put_nowait(status)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def tell(self, status: InstanceStatus) -> None:
        for queue in self._queues:
            queue.put_nowait(status)

    def cut_off(self) -> None:
        """They hear what they were told, and then that there is no more."""
        for queue in self._queues:
            queue.put_nowait(None)
