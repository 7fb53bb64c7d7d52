"""How fast a queue gets shorter: what `Retry-After` and the refusal of hopeless deadlines are computed from. Pure."""

from __future__ import annotations

from math import ceil, exp
from typing import Final

_MEMORY_S: Final = 5.0  # what is older weighs less than a third …
_KEPT_LEAST: Final = 0.88  # … unless turns are so slow that these were the last eight
_FORGOTTEN_AFTER_S: Final = 60.0
_LEAST_TIME_S: Final = 0.01
RETRY_AFTER_S_MAX: Final = 60


class DrainRate:
    """Turns a second, while somebody waits: a queue that is empty says nothing about how fast it could be."""

    __slots__ = ("_at_s", "_time_s", "_turns")

    def __init__(self) -> None:
        self._turns = 0.0
        self._time_s = 0.0  # that there was a queue; both fade alike
        self._at_s = 0.0

    def begin(self, now_s: float) -> None:
        """The queue is no longer empty. What was learned long before may be about other instances."""
        if now_s - self._at_s > _FORGOTTEN_AFTER_S:
            self._turns = self._time_s = 0.0
        self._at_s = now_s

    def turn(self, now_s: float) -> None:
        """One of those who waited got a slot."""
        elapsed_s = max(0.0, now_s - self._at_s)
        kept = max(exp(-elapsed_s / _MEMORY_S), _KEPT_LEAST)
        self._time_s = self._time_s * kept + elapsed_s
        self._turns = self._turns * kept + 1.0
        self._at_s = now_s

    def wait_s(self, ahead: int, now_s: float) -> float | None:
        """How long one with so many before it waits for its turn; None: nobody has had one yet, so nobody knows.

        A queue that is new goes by the last one, if that was not long ago.
        """
        # As long as the first turns all come at once, which is when an instance gets ready, nothing is known either.
        time_s = self._time_s + max(0.0, now_s - self._at_s)
        return (ahead + 1) * time_s / self._turns if self._turns and self._time_s > _LEAST_TIME_S else None

    def retry_after_s(self, waiting: int, now_s: float) -> int:
        """When all who wait now will have had their turn: whole seconds, 1 to 60."""
        wait_s = self.wait_s(waiting, now_s)
        return 1 if wait_s is None else min(max(ceil(wait_s), 1), RETRY_AFTER_S_MAX)
