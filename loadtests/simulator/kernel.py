"""Virtual time: a heap of what will happen, each at its moment, those of one moment in the order planned."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Kernel:
    """Time stands still while something happens, and jumps to what comes next."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._planned = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def at(self, time_s: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do it then. A time that has passed means: now, after what is planned for now."""
        self._planned += 1
        heapq.heappush(self._heap, (max(time_s, self.now_s), self._planned, action, arguments))

    def run(self, until_s: float, goes_on: Callable[[], bool]) -> None:
        """Let happen what is planned up to `until_s`; past `until_s`, for as long as `goes_on` says so."""
        heap, pop = self._heap, heapq.heappop
        while heap:
            if heap[0][0] > until_s and not goes_on():
                return
            self.now_s, _, action, arguments = pop(heap)
            action(*arguments)
