"""Which gateways on other machines are no more: those whose lease was not renewed for as long as it lasts. Pure.

No clock is compared with another. A gateway ends by itself so many seconds after it sent the last renewal that it knows
to be written; here the same seconds begin when that renewal is seen, which is later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runtime.leasing import LEFT, Holder

SLACK_S: Final = 1.0  # clocks run at slightly different rates, and a process takes a moment to end


@dataclass(slots=True)
class _Seen:
    renewal: str
    at_s: float


class Vitals:
    """Of the gateways that this machine's kernel does not know. Look at all of them each time."""

    def __init__(self) -> None:
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
                self._seen[name] = _Seen(renewal, answered_s)
        return {
            name
            for name, holder in holders.items()
            if self._seen[name].renewal == LEFT or asked_s - self._seen[name].at_s > holder.lease_s + SLACK_S
        }
