"""One time limit for many things, at the cost of a dictionary entry each.

A timer per request would be set and cancelled thousands of times a second and almost never ring. Things that all have
the same time to live expire in the order they came, so one insertion-ordered dictionary and one timer are enough.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Final, Generic, TypeVar

T = TypeVar("T", bound=Hashable)

EXPIRED_IN_A_ROUND: Final = 8
"""Of the loop: what expires may be costly (the kernel frees what a connection that is cut holds), and others wait."""

# The loop's clock counts whole milliseconds and may ring that much too early.
_ROUNDING_S = 0.001


class Deadlines(Generic[T]):
    """Calls `expire(item)` once `after_s` seconds have passed since `add(item)`, unless `discard(item)` came before.

    An empty one holds no timer, so a process that has nothing to do sleeps. `after_s` of infinity never expires.
    """

    __slots__ = ("_after_s", "_expire", "_loop", "_since", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, after_s: float, expire: Callable[[T], None]) -> None:
        self._loop = loop
        self._after_s = after_s
        self._expire = expire
        self._since: dict[T, float] = {}
        self._timer: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, item: T) -> bool:
        return item in self._since

    def add(self, item: T, now_s: float | None = None) -> None:
        """Start the time of an item that is not inside. `now_s` spares a look at the clock, which is monotonic's."""
        self._since[item] = monotonic() if now_s is None else now_s
        if self._timer is None and self._after_s != math.inf:
            self._timer = self._loop.call_later(self._after_s + _ROUNDING_S, self._ring)

    def restart(self, item: T) -> None:
        """Start its time, whether it is inside or not."""
        self._since.pop(item, None)
        self.add(item)

    def discard(self, item: T) -> None:
        self._since.pop(item, None)

    def clear(self) -> None:
        """Forget everything, and stop the timer."""
        self._since.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        latest_start = monotonic() - self._after_s
        due: list[T] = []
        for item, since in self._since.items():
            if since > latest_start:
                self._timer = self._loop.call_later(since - latest_start + _ROUNDING_S, self._ring)
                break
            if len(due) == EXPIRED_IN_A_ROUND:
                self._timer = self._loop.call_later(0.0, self._ring)
                break
            due.append(item)
        for item in due:
            # One that expires may take others with it (a closed connection and its request).
            if self._since.pop(item, None) is not None:
                self._expire(item)
