"""How much of large answers one round of the loop passes on.

A round hands on what each socket has, up to 200 KiB of a large answer. With 200 of them flowing at once that is 40 MB,
and a small request that comes meanwhile waits for all of it. So once a round has passed on as much as `BYTES_A_ROUND`,
whatever flows beside it waits, and goes on a few connections a round, in the order in which it was held up. Fewer flows
than that never wait, and nothing does once fewer are left.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

BYTES_A_ROUND: Final = 2 << 20
FLOWS_A_ROUND: Final = 8
PIECE_BYTES_MIN: Final = 16 << 10
"""What comes in smaller pieces holds nobody up, and is not counted."""


class Flow(Protocol):
    """A connection that bytes flow over."""

    def wait(self) -> None:
        """Read nothing more until `go_on`."""

    def go_on(self) -> None: ...


class Turns:
    """The flows of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._flowing: dict[Flow, None] = {}
        self._waiting: dict[Flow, None] = {}  # those that had a turn
        self._missed: dict[Flow, None] = {}  # those that were held up before theirs: they go on first
        self._passed_bytes = 0  # in this round
        self._in_round = False

    @property
    def waiting(self) -> int:
        return len(self._waiting) + len(self._missed)

    def passed(self, flow: Flow, size_bytes: int) -> None:
        """A piece of an answer that has not ended came over `flow`. It may have to wait from now on."""
        self._passed_bytes += size_bytes
        is_too_much = self._passed_bytes > BYTES_A_ROUND
        if is_too_much or self._waiting or self._missed:
            self._flowing.pop(flow, None)
            self._waiting[flow] = None
            flow.wait()
        else:
            self._flowing[flow] = None
        if is_too_much:
            for each in self._flowing:
                each.wait()
            self._missed.update(self._flowing)
            self._flowing.clear()
        if not self._in_round:
            self._begin_round()

    def leave(self, flow: Flow) -> None:
        """Nothing flows over it any more."""
        self._flowing.pop(flow, None)
        self._waiting.pop(flow, None)
        self._missed.pop(flow, None)

    def _begin_round(self) -> None:
        self._in_round = True
        self._loop.call_soon(self._next_round)

    def _next_round(self) -> None:
        self._in_round = False
        self._passed_bytes = 0
        for _ in range(min(FLOWS_A_ROUND, self.waiting)):
            queue = self._missed or self._waiting
            flow = next(iter(queue))
            del queue[flow]
            self._flowing[flow] = None
            flow.go_on()
        if self._missed or self._waiting:
            self._begin_round()
