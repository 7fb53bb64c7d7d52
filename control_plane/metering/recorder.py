"""What a simulation needs to live through it again: arrivals by tenth of a second, service and launch times. Pure.

Entries are written every few seconds, one for each function version that something happened to; `recorded` joins them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from runtime.contract import VersionKey

SLOTS_PER_S: Final = 10
SLOTS_MAX: Final = 6000  # kept of a function version while the store is away: ten minutes


@dataclass(slots=True)
class Entry:
    """A few seconds of one function version."""

    arrivals: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))  # by tenth of a second since 1970
    served: list[tuple[float, int, float]] = field(default_factory=list)  # when it was told, requests, their seconds
    launches: list[tuple[float, float]] = field(default_factory=list)  # when it became ready, seconds from its launch

    def to_json(self) -> str:
        base = min(self.arrivals, default=0)
        return json.dumps(
            {
                "t": base,
                "a": [[slot - base, count] for slot, count in sorted(self.arrivals.items())],
                "s": [[round(at_s, 2), count, round(seconds, 4)] for at_s, count, seconds in self.served],
                "l": [[round(at_s, 3), round(seconds, 3)] for at_s, seconds in self.launches],
            },
            separators=(",", ":"),
        )

    def add_json(self, text: str | bytes) -> None:
        """Take in what `to_json` gave."""
        values: dict[str, Any] = json.loads(text)
        for ahead, count in values["a"]:
            self.arrivals[values["t"] + ahead] += count
        self.served += [(at_s, count, seconds) for at_s, count, seconds in values["s"]]
        self.launches += [(at_s, seconds) for at_s, seconds in values["l"]]


class Recorder:
    """What happened since the last `take`, by function version."""

    def __init__(self) -> None:
        self._entries: defaultdict[VersionKey, Entry] = defaultdict(Entry)

    def arrived(self, key: VersionKey, arrivals: Iterable[Iterable[int]]) -> None:
        """Pairs of a tenth of a second since 1970 and so many requests."""
        entry = self._entries[key].arrivals
        for slot, count in arrivals:
            entry[slot] += count
        for slot in sorted(entry)[:-SLOTS_MAX] if len(entry) > SLOTS_MAX else ():
            del entry[slot]

    def served(self, key: VersionKey, at_s: float, requests: int, seconds: float) -> None:
        """So many requests were done until then, with so many seconds of service together."""
        served = self._entries[key].served
        served.append((at_s, requests, seconds))
        del served[:-SLOTS_MAX]

    def launched(self, key: VersionKey, ready_at_s: float, seconds: float) -> None:
        launches = self._entries[key].launches
        launches.append((ready_at_s, seconds))
        del launches[:-SLOTS_MAX]

    @property
    def is_idle(self) -> bool:
        return not self._entries

    def take(self) -> dict[VersionKey, str]:
        taken = {key: entry.to_json() for key, entry in self._entries.items()}
        self._entries.clear()
        return taken
