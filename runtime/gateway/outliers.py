"""Which instances fail while others of their function do not, and for how long they are left out. Pure.

An instance fails a request when it breaks it off, answers nothing that is HTTP, takes longer than its timeout, or
answers with a status of 500 or more. It is left out after several failures in a row, if its share of failures is well
above that of its peers: what all of them do is the function's own fault, and to leave instances out would only make
it slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Final

WINDOW_S: Final = 10.0  # failures before the last two windows are forgotten
_ABOVE: Final = 0.3  # that its share of failures must be above the peers', in [0, 1]


@dataclass(frozen=True, slots=True)
class OutlierLimits:
    failures: int = 5  # in a row; 0: none is ever left out
    share_max: float = 0.5  # of a function's instances, and never the last one
    least_s: float = 1.0  # the first time; each time in a row twice as long
    most_s: float = 60.0


class Health:
    """What an instance has answered lately. `answered` counts in the hot path, everything else only with a failure."""

    __slots__ = ("_answered_before", "_failed_before", "_since_s", "_times", "answered", "failed", "in_a_row",
                 "is_left_out")  # fmt: skip

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.in_a_row = 0
        self.is_left_out = False
        self._times = 0  # left out so often, one after the other
        self._since_s = 0.0
        self._answered_before = 0
        self._failed_before = 0

    def fail(self, now_s: float) -> None:
        self.age(now_s)
        self.failed += 1
        self.in_a_row += 1

    def recover(self) -> None:
        """It answered well, after a failure."""
        self.in_a_row = self._times = 0

    def leave_out(self, limits: OutlierLimits) -> float:
        """It takes nothing new from now on. Gives for how long, in seconds."""
        self.is_left_out = True
        self._times += 1
        return min(limits.least_s * 2.0 ** (self._times - 1), limits.most_s)

    def take_back(self, limits: OutlierLimits) -> None:
        """It is tried again: one more failure leaves it out again."""
        self.is_left_out = False
        self.in_a_row = max(0, limits.failures - 1)

    def age(self, now_s: float) -> None:
        """Begin another window if this one is over."""
        elapsed_s = now_s - self._since_s
        if elapsed_s < WINDOW_S:
            return
        self._since_s = now_s
        is_old = elapsed_s >= 2 * WINDOW_S
        self._answered_before, self._failed_before = (0, 0) if is_old else (self.answered, self.failed)
        self.answered = self.failed = 0

    @property
    def counts(self) -> tuple[int, int]:
        """Answered and failed, in this window and the one before."""
        return self.answered + self._answered_before, self.failed + self._failed_before


def is_outlier(own: Health, peers: Sequence[Health], limits: OutlierLimits, now_s: float) -> bool:
    """Whether an instance that has just failed is to be left out; `peers` are the others that were not removed."""
    if not limits.failures or own.in_a_row < limits.failures or own.is_left_out:
        return False
    others = [peer for peer in peers if not peer.is_left_out]
    left_out = len(peers) - len(others)
    if not others or left_out + 1 > max(1, floor(limits.share_max * (len(peers) + 1))):
        return False
    for peer in others:
        peer.age(now_s)
    answered, failed = map(sum, zip(*(peer.counts for peer in others), strict=True))
    of_peers = failed / (answered + failed) if answered + failed else 0.0
    own_answered, own_failed = own.counts
    return own_failed / (own_answered + own_failed) >= of_peers + _ABOVE
