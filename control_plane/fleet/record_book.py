"""The table of instances and the store of records, kept the same: what gateways read is what is known here.

A record is durable before it is known here, but for what only those who look here care about. Who changes a record
holds `changing` from reading it until it is written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from control_plane.errors import Unavailable
from control_plane.fleet.records import RecordStore
from control_plane.fleet.table import InstanceTable
from control_plane.ports import Clock
from runtime.contract import InstanceRecord, InstanceState

STORE_RETRY_S = 0.2


class RecordBook:
    """One for all instances. `table` may be read at any time."""

    def __init__(self, store: RecordStore, clock: Clock) -> None:
        self.table = InstanceTable()
        self.changing = asyncio.Lock()
        self._store = store
        self._clock = clock
        self._doubtful: set[str] = set()  # written, but whether it arrived is not known

    async def load(self) -> list[InstanceRecord]:
        """Know what an earlier control plane has left: all of it, those that were ready first come last. Raises
        Unavailable."""
        found = sorted(await self._store.load(), key=lambda r: r.ready_at_s)
        for record in found:
            self.table.put(record)
        return found

    async def put(self, records: Sequence[InstanceRecord]) -> None:
        """Durable, then known. Raises Unavailable: known they are not, and `repair` takes back what has arrived."""
        try:
            await self._store.put(records)
        except Unavailable:
            self._doubtful.update(record.instance_id for record in records)
            raise
        for record in records:
            self.table.put(record)

    async def must_put(self, record: InstanceRecord) -> None:
        """What has already happened outside: tried until it is durable."""
        await self._insist(lambda: self.put([record]))

    async def must_remove(self, instance_id: str) -> None:
        """An instance that has ended: tried until the store has no record of it."""
        await self._insist(lambda: self._store.remove([instance_id]))
        self.table.drop(instance_id)

    async def tell_failed(self, record: InstanceRecord, reason: str) -> None:
        """Those who wait for a function that cannot be started are to hear why; if not now, from the next one that
        fails."""
        with contextlib.suppress(Unavailable):
            await self._store.tell(replace(record, state=InstanceState.FAILED, reason=reason))

    async def repair(self) -> None:
        """Make the store agree with what is known here, where a lost answer left it open. Raises Unavailable."""
        if not self._doubtful:
            return
        async with self.changing:
            await self._store.put([self.table[i] for i in self._doubtful if i in self.table])
            await self._store.remove([i for i in self._doubtful if i not in self.table])
            self._doubtful.clear()

    async def _insist(self, write: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await write()
            except Unavailable:
                await self._clock.sleep(STORE_RETRY_S)
