"""Which function versions the autoscaler looks at. Pure: what happened in, keys out.

All of them, but for those that were put to rest until a time. Any event about one ends its rest.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from runtime.contract import VersionKey


class Attention:
    """Those awake, and those that rest with the time until which they do."""

    def __init__(self) -> None:
        self.awake: set[VersionKey] = set()
        self._resting: dict[VersionKey, float] = {}
        self._due: list[tuple[float, VersionKey]] = []  # a heap; an entry that `_resting` does not have is void
        self._listed: dict[VersionKey, float] = {}  # its newest entry there: the same one again is not added

    def __len__(self) -> int:
        return len(self.awake) + len(self._resting)

    def rests(self, key: VersionKey) -> bool:
        return key in self._resting

    def wake(self, keys: Iterable[VersionKey]) -> set[VersionKey]:
        """Look at these from now on; gives those that rested."""
        woken = set()
        for key in keys:
            if self._resting.pop(key, None) is not None:
                woken.add(key)
            self.awake.add(key)
        return woken

    def wake_due(self, now: float) -> set[VersionKey]:
        """Those whose time has come; gives them."""
        due = []
        while self._due and self._due[0][0] <= now:
            until, key = heapq.heappop(self._due)
            if self._listed.get(key) == until:
                del self._listed[key]
            if self._resting.get(key) == until:
                due.append(key)
        return self.wake(due)

    def rest(self, key: VersionKey, until: float) -> None:
        """Leave it alone until then, or until it is woken."""
        self.awake.discard(key)
        self._resting[key] = until
        if until < math.inf and self._listed.get(key) != until:
            self._listed[key] = until
            heapq.heappush(self._due, (until, key))

    def forget(self, key: VersionKey) -> None:
        """There is nothing to look at any more."""
        self.awake.discard(key)
        self._resting.pop(key, None)
