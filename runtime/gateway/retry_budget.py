"""How many requests of a function may be sent again, so that a dying function does not multiply its own load. Pure.

A share of the requests that came within a window, and a few each second besides, so that a function with little
traffic may have its requests sent again too. It is counted only when something is to be sent again: a request costs
nothing.
"""

from __future__ import annotations

from typing import Final

WINDOW_S: Final = 10.0


class RetryBudget:
    __slots__ = ("_arrived_before", "_earlier_per_s", "_least_per_s", "_share", "_since_s", "_used")

    def __init__(self, share: float, least_per_s: float, now_s: float) -> None:
        """`share` of requests, in [0, 1]; `least_per_s` of these besides."""
        self._share: Final = share
        self._least_per_s: Final = least_per_s
        self._since_s = now_s
        self._arrived_before = 0
        self._earlier_per_s = 0.0  # requests a second before this window
        self._used = 0

    def take(self, now_s: float, arrived: int) -> bool:
        """Whether one more may be sent again; `arrived` is how many requests have come ever."""
        self.age(now_s, arrived)
        elapsed_s = now_s - self._since_s
        # A window that has just begun goes by the one before as far as it has none of its own.
        requests = arrived - self._arrived_before + self._earlier_per_s * (WINDOW_S - elapsed_s)
        if self._used >= self._share * requests + self._least_per_s * WINDOW_S:
            return False
        self._used += 1
        return True

    def age(self, now_s: float, arrived: int) -> None:
        """Begin another window if this one is over. To be called now and then, so that windows are not far apart."""
        elapsed_s = now_s - self._since_s
        if elapsed_s >= WINDOW_S:
            self._earlier_per_s = (arrived - self._arrived_before) / elapsed_s
            self._since_s, self._arrived_before, self._used = now_s, arrived, 0
