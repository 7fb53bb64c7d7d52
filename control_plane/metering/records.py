"""Instance records on their way to the store: whoever meters is told of each that has become durable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from control_plane.fleet.records import RecordStore
from runtime.contract import InstanceRecord


class Listener(Protocol):
    """Hears of records after they were written, at the time given."""

    def saw(self, record: InstanceRecord, now_s: float) -> None: ...

    def ended(self, instance_id: str, now_s: float) -> None: ...


class MeteredRecords:
    """A RecordStore in front of another one, with its promises."""

    def __init__(self, store: RecordStore, listener: Listener, utc_s: Callable[[], float]) -> None:
        self._store = store
        self._listener = listener
        self._utc_s = utc_s

    async def load(self) -> list[InstanceRecord]:
        records = await self._store.load()
        for record in records:
            self._listener.saw(record, self._utc_s())
        return records

    async def put(self, records: Iterable[InstanceRecord]) -> None:
        written = list(records)
        await self._store.put(written)
        for record in written:
            self._listener.saw(record, self._utc_s())

    async def remove(self, instance_ids: Iterable[str]) -> None:
        removed = list(instance_ids)
        await self._store.remove(removed)
        for instance_id in removed:
            self._listener.ended(instance_id, self._utc_s())

    async def tell(self, failed: InstanceRecord) -> None:
        await self._store.tell(failed)
