"""Until when a gateway may use its slots: what a renewal in the store is worth, and what a lessor's word. Pure.

Time is this machine's own, and goes on while the machine sleeps. Each renewal and each question counts from when it was
sent. What makes a word safe, though nobody knows of it but two processes, is on the page about several gateways.
"""

from __future__ import annotations

from typing import NamedTuple

from runtime.leasing import LeaseQuestion, LeaseWord


class LeaseState(NamedTuple):
    """What somebody who watches is told of a lease."""

    left_s: float  # until the process ends, if nothing renews it
    is_by_word: bool  # the control plane's word has renewed it last, as the store was away
    word_left_s: float  # so long words would go on to renew it, if the store did not


class LeaseTerm:
    """The term of one gateway's lease."""

    def __init__(self, gateway_id: str, lease_s: float, away_s: float) -> None:
        """`away_s`: so long after the last renewal in the store a word may be asked for."""
        self.lease_s = lease_s
        self.ends_s = float("inf")  # inf: it has not begun, and nothing was granted
        self.lessor_term = 0  # of the newest lessor known; what is said in an earlier one counts for nothing
        self._gateway_id = gateway_id
        self._away_s = away_s
        self._written_s = float("-inf")  # when the last renewal that is known to be written was sent
        self._count = 0

    def next_count(self) -> int:
        """Of a renewal or question: one that was lost may have arrived, and the next is to be told from it."""
        self._count += 1
        return self._count

    def may_ask(self, now_s: float) -> bool:
        """Whether a word would count for anything."""
        return now_s <= self._written_s + self._away_s

    def word_left_s(self, now_s: float) -> float:
        """How long that stays so, if the store stays away."""
        return max(0.0, self._written_s + self._away_s - now_s)

    def question(self, count: int) -> LeaseQuestion:
        return LeaseQuestion(self._gateway_id, count, self.lessor_term)

    def renewed(self, sent_s: float, lessor_term: int) -> None:
        """It is known to be written, and that the store knew no newer lessor when it was."""
        self.lessor_term = max(self.lessor_term, lessor_term)
        self._written_s = max(self._written_s, sent_s)
        self._last_until(sent_s + self.lease_s)

    def vouched(self, sent_s: float, asked: LeaseQuestion, word: LeaseWord) -> bool:
        """Whether the answer to what was asked then counts for anything."""
        if (word.gateway, word.count) != (asked.gateway, asked.count) or word.term < self.lessor_term:
            return False
        self.lessor_term = word.term
        self._last_until(min(sent_s, self._written_s + self._away_s) + self.lease_s)
        return True

    def _last_until(self, ends_s: float) -> None:
        self.ends_s = ends_s if self.ends_s == float("inf") else max(self.ends_s, ends_s)
