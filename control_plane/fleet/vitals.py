"""Which gateways on other machines are no more: those whose lease was not renewed for as long as it lasts. Pure.

No clock is compared with another. A gateway ends by itself so many seconds after it sent the last renewal that it knows
to be written, or the last question that was answered; here the same seconds begin when that is seen, which is later.

A gateway that has not shown yet that it knows this lessor may live by the word of an earlier one, whom nobody else
hears: it has `away_s` more, from when this one began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runtime.leasing import LEFT, Holder, LeaseQuestion, term_told

SLACK_S: Final = 1.0  # a process takes a moment to end
# Clocks run at different rates: each is steered by 500 in a million at most (adjtimex(2)).
RATES_DIFFER: Final = 0.001


@dataclass(slots=True)
class _Seen:
    renewal: str
    at_s: float
    term: int  # of the newest lessor that it knows


class Vitals:
    """Of the gateways that this machine's kernel does not know, as one lessor sees them. Look at all of them each
    time."""

    def __init__(self, term: int, begun_s: float) -> None:
        """`begun_s` is after the store has taken the term in."""
        self._term = term
        self._begun_s = begun_s
        self._seen: dict[str, _Seen] = {}

    def look(
        self, holders: Mapping[str, Holder], renewals: Mapping[str, str], *, asked_s: float, answered_s: float
    ) -> set[str]:
        """Those that are gone. `renewals` were read between the two times, which are monotonic: what is new in them
        counts from the later one, and what is not is that old at the earlier one."""
        self._seen = {name: seen for name, seen in self._seen.items() if name in holders}
        for name in holders:
            renewal = renewals.get(name, "")
            seen = self._seen.get(name)
            if seen is None or seen.renewal != renewal:
                self._saw(name, renewal, answered_s, term_told(renewal))
        return {name for name, holder in holders.items() if self._is_gone(name, holder, asked_s)}

    def asked(self, question: LeaseQuestion, now_s: float) -> bool:
        """Whether the word may be given: from now on it counts as a renewal does. Not to one that knows a newer
        lessor; one that is gone, or never held anything, is not to be asked for here."""
        if question.term > self._term:
            return False
        seen = self._seen.get(question.gateway)
        self._saw(question.gateway, seen.renewal if seen else "", now_s, question.term)
        return True

    def _saw(self, name: str, renewal: str, at_s: float, term: int) -> None:
        seen = self._seen.get(name)
        if seen is not None:
            at_s, term = max(at_s, seen.at_s), max(term, seen.term)
        self._seen[name] = _Seen(renewal, at_s, term)

    def _is_gone(self, name: str, holder: Holder, at_s: float) -> bool:
        seen = self._seen[name]
        if seen.renewal == LEFT:
            return True
        if at_s - seen.at_s <= _surely(holder.lease_s):
            return False
        return seen.term >= self._term or at_s - self._begun_s > _surely(holder.lease_s + holder.away_s)


def _surely(duration_s: float) -> float:
    """How long it takes here until it is over there, at the latest."""
    return duration_s * (1.0 + RATES_DIFFER) + SLACK_S
