"""How often the API server may be asked, and how long to wait before asking again. Pure."""

from __future__ import annotations

from random import Random
from typing import Final

BACKOFF_FIRST_S: Final = 0.2
BACKOFF_S_MAX: Final = 10.0


class CallRate:
    """Calls in the order in which they ask, so that in no second more than `calls_per_s` of them begin.

    Each call has a time of its own, a constant gap behind the one before it: a burst would let two seconds' worth of
    calls fall into one second.
    """

    def __init__(self, calls_per_s: float) -> None:
        self._gap_s = 1.0 / calls_per_s
        self._next_s = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """Take the next place; gives how long to wait for it. `now_s` never goes back."""
        at_s = max(now_s, self._next_s)
        self._next_s = at_s + self._gap_s
        return at_s - now_s


def backoff_s(failures: int, chance: Random) -> float:
    """Before the next attempt, after so many failures in a row: doubled each time, and anywhere in its upper half, so
    that those who failed together do not come back together."""
    longest_s = min(BACKOFF_S_MAX, BACKOFF_FIRST_S * 2.0 ** min(failures, 16))
    return longest_s * chance.uniform(0.5, 1.0)
