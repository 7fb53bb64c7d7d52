"""Forks that were made ahead of their orders and wait for them: one is an instance as soon as it is told which.

Each has a socket of its own, whose other end is here alone: when that is closed, because it is not needed any more or
because the node has died, the fork ends.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from runtime.node import cgroups
from runtime.node.process import Process

_WORD_BYTES_MAX: Final = 16  # it says one word
LEAVING_S: Final = 0.1  # that a process takes to end, once it was let go of


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    process: Process
    orders: socket.socket
    group: str  # the memory group that it was born in; "" = none


class Ahead:
    """Those that wait, of one zygote. One that dies while it waits is not missed: the next launch forks as ever."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self._waiting: deque[Waiting] = deque()
        self._asked = 0  # that the zygote was asked for and has not made yet

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_short(self) -> bool:
        """Whether the zygote is to be asked for one more."""
        return len(self._waiting) + self._asked < self.wanted

    def asked(self) -> None:
        self._asked += 1

    def made(self, waiting: Waiting | None) -> None:
        """What the zygote was asked for; None if it could not make it."""
        self._asked = max(0, self._asked - 1)
        if waiting is not None:
            self._waiting.append(waiting)
            waiting.process.died.add_done_callback(partial(self._died, waiting))

    async def give(self, order: Callable[[Waiting], bytes], descriptors: list[int], timeout_s: float) -> Waiting | None:
        """Have one carry out an order, which may depend on which it is; None if there is none that can. One that does
        not say within `timeout_s` that it will is ended."""
        while self._waiting:
            waiting = self._waiting.popleft()
            with waiting.orders:
                try:
                    async with asyncio.timeout(timeout_s):
                        if await self._takes(waiting, order(waiting), descriptors):
                            return waiting
                except OSError:  # it has died, and the news is on its way; or it was too slow
                    waiting.process.kill()
                except BaseException:
                    waiting.process.kill()
                    raise
            self._let_go(waiting)
        return None

    async def _takes(self, waiting: Waiting, packet: bytes, descriptors: list[int]) -> bool:
        waiting.orders.setblocking(False)
        socket.send_fds(waiting.orders, [packet], descriptors)
        return bool(await asyncio.get_running_loop().sock_recv(waiting.orders, _WORD_BYTES_MAX))

    def close(self) -> None:
        """They end."""
        self._asked = 0
        while self._waiting:
            waiting = self._waiting.popleft()
            waiting.orders.close()
            self._let_go(waiting)

    def _died(self, waiting: Waiting, _: asyncio.Future[None]) -> None:
        with suppress(ValueError):  # it had been taken, or let go of
            self._waiting.remove(waiting)
            waiting.orders.close()
            self._let_go(waiting)

    def _let_go(self, waiting: Waiting) -> None:
        waiting.process.close()
        if waiting.group:
            asyncio.get_running_loop().call_later(LEAVING_S, cgroups.remove, Path(waiting.group))
