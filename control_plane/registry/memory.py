"""A registry that forgets: the same rules over a dictionary, for tests and for the simulator."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Awaitable, Callable
from typing import TypeVar

from control_plane.registry.base import ACCOUNT_ID, REGION, new_id
from control_plane.registry.registry import StoredRegistry
from control_plane.registry.transaction import ALL, Span, Transaction, Writes

T = TypeVar("T")


class MemoryStore:
    """Fills `transaction.Store`; one change at a time, so none is ever outrun."""

    def __init__(self) -> None:
        self.routes: dict[str, str] = {}  # as in ROUTES_KEY
        self.feed: list[tuple[str, str]] = []  # (field, value), "" = removed
        self._records: dict[str, str] = {}
        self._indexes: dict[str, list[str]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def get(self, *keys: str) -> list[str | None]:
        return [self._records.get(key) for key in keys]

    async def names(self, index: str, span: Span = ALL) -> list[str]:
        names = self._indexes.get(index, [])
        first = bisect_left(names, span.low) if span.low else 0
        end = bisect_right(names, span.high) if span.high else len(names)
        found = names[first:end]
        if span.backward:
            found.reverse()
        return found if span.limit is None else found[: span.limit]

    async def change(self, plan: Callable[[Transaction], Awaitable[T]]) -> T:
        async with self._one_at_a_time:
            transaction = Transaction(self)
            result = await plan(transaction)
            self._write(transaction.writes)
            return result

    def _write(self, writes: Writes) -> None:
        for key, record in writes.records.items():
            _set(self._records, key, record)
        for (index, name), present in writes.indexed.items():
            self._list(index, name, present=present)
        for route_field, route in writes.routes.items():
            _set(self.routes, route_field, route)
            self.feed.append((route_field, route or ""))

    def _list(self, index: str, name: str, *, present: bool) -> None:
        names = self._indexes.setdefault(index, [])
        at = bisect_left(names, name)
        there = at < len(names) and names[at] == name
        if present and not there:
            insort(names, name)
        elif there and not present:
            names.pop(at)


def _set(values: dict[str, str], key: str, value: str | None) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value


class MemoryRegistry(StoredRegistry):
    """Fills `ports.Registry` without a server. `store.routes` and `store.feed` show what gateways would see."""

    def __init__(
        self,
        *,
        region: str = REGION,
        account_id: str = ACCOUNT_ID,
        utc_s: Callable[[], float] = time.time,
        new_id: Callable[[], str] = new_id,
    ) -> None:
        self.store = MemoryStore()
        super().__init__(self.store, region=region, account_id=account_id, utc_s=utc_s, new_id=new_id)
