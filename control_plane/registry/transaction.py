"""What the registry asks of a store: consistent reads, and writes that happen all at once or not at all.

The rules of the registry are written once against these seams; `redis_store.py` and `memory.py` fill them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """Which names of an index: from `low` to `high`, both included and "" for open, at most `limit` of them."""

    low: str = ""
    high: str = ""
    limit: int | None = None
    backward: bool = False


ALL: Final = Span()


class Reader(Protocol):
    async def get(self, *keys: str) -> list[str | None]:
        """The records at these keys, None where there is none. No keys: no answer is waited for."""

    async def names(self, index: str, span: Span = ALL) -> list[str]:
        """The names in an index by code point, from the end with `span.backward`."""


@dataclass(slots=True)
class Writes:
    """What a change will do. The last word on a key counts; a value of None removes."""

    records: dict[str, str | None] = field(default_factory=dict)
    indexed: dict[tuple[str, str], bool] = field(default_factory=dict)  # (index, name): in it or not
    routes: dict[str, str | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.records or self.indexed or self.routes)


class Transaction:
    """Reads of one change, and what it is going to write. Reads do not show the change's own writes."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.writes = Writes()

    async def get(self, *keys: str) -> list[str | None]:
        return await self._reader.get(*keys)

    async def names(self, index: str, span: Span = ALL) -> list[str]:
        return await self._reader.names(index, span)

    def put(self, key: str, value: str) -> None:
        self.writes.records[key] = value

    def remove(self, key: str) -> None:
        self.writes.records[key] = None

    def enlist(self, index: str, name: str) -> None:
        self.writes.indexed[index, name] = True

    def strike(self, index: str, name: str) -> None:
        self.writes.indexed[index, name] = False

    def route(self, route_field: str, value: str | None) -> None:
        """Change one field of the routes that gateways follow, and tell it on the feed."""
        self.writes.routes[route_field] = value


class Store(Reader, Protocol):
    async def change(self, plan: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `plan`, then write what it asked for, all at once and only if nothing that it read has changed since.

        `plan` is run again when something did, so it may do nothing but read and ask. What it raises passes through
        and nothing is written. Returns once the writes are durable.

        Raises:
            ConcurrentUpdate: other changes were first at every attempt.
            Unavailable: the store does not answer; the change may or may not have happened.
        """
