"""The bound on what waits at all gates of a gateway together, and who goes when it is reached. Pure.

Places are shared fairly: the function that takes the most of them gives one up, the last come of its lowest priority,
for one that takes less. So a flood fills what nobody else needs and no more, and what a function may hold follows
from who is there, with no share to configure. A place is a request, or so many bytes as there are for one on average,
whichever makes the function larger: few large bodies count like many small ones. Priorities order a function's own
requests; among functions they count nothing, or each would call itself important.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from runtime.gateway.gate import Gate


class Hall:
    """All gates with somebody waiting, by how many places they take."""

    __slots__ = (
        "_by_places",
        "_bytes_a_place",
        "_highest",
        "_places",
        "bytes_max",
        "held_bytes",
        "length",
        "length_max",
    )  # fmt: skip

    def __init__(self, length_max: int, bytes_max: int) -> None:
        self.length_max: Final = length_max
        self.bytes_max: Final = bytes_max
        self.length = 0
        self.held_bytes = 0
        self._bytes_a_place: Final = max(1, bytes_max // max(1, length_max))
        self._places: dict[Gate, int] = {}
        self._by_places: dict[int, dict[Gate, None]] = {}
        self._highest = 0  # no gate takes more places than this

    def is_full_for(self, held_bytes: int) -> bool:
        """Whether one more, holding so much, would be too many."""
        return self.length >= self.length_max or self.held_bytes + held_bytes > self.bytes_max

    def places(self, length: int, held_bytes: int) -> int:
        return max(length, -(-held_bytes // self._bytes_a_place))

    def places_of(self, gate: Gate) -> int:
        return self._places.get(gate, 0)

    def largest(self) -> Gate | None:
        """One of those that take the most places."""
        while self._highest and not self._by_places.get(self._highest):
            self._highest -= 1
        if not self._highest:
            return None
        return next(reversed(self._by_places[self._highest]))

    def changed(self, gate: Gate, length: int, held_bytes: int) -> None:
        """So many more wait at a gate, holding so much more; negative: fewer."""
        self.length += length
        self.held_bytes += held_bytes
        before, now = self._places.get(gate, 0), self.places(gate.line.length, gate.line.held_bytes)
        if now == before:
            return
        if before:
            shelf = self._by_places[before]
            del shelf[gate]
            if not shelf:
                del self._by_places[before]
        if now:
            self._places[gate] = now
            self._by_places.setdefault(now, {})[gate] = None
            self._highest = max(self._highest, now)
        else:
            del self._places[gate]
