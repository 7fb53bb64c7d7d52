"""The book of records over a store that goes away, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest

from control_plane.errors import Unavailable
from control_plane.fleet.record_book import RecordBook
from control_plane.fleet.records import MemoryRecordStore
from runtime.contract import InstanceRecord, InstanceState, Kind
from tests.support.virtual_time import VirtualClock, in_virtual_time

ONE = InstanceRecord("i1", "s", "f", "LATEST", "r1", Kind.PROVISIONED, InstanceState.LAUNCHING, 1, "node")


class DeafStore(MemoryRecordStore):
    """While `is_deaf`, what is written arrives and no answer comes back; while `is_away`, nothing arrives."""

    is_deaf = is_away = False

    async def put(self, records: Iterable[InstanceRecord]) -> None:
        self._reach()
        await super().put(records)
        self._answer()

    async def remove(self, instance_ids: Iterable[str]) -> None:
        self._reach()
        await super().remove(instance_ids)
        self._answer()

    async def tell(self, failed: InstanceRecord) -> None:
        self._reach()
        await super().tell(failed)

    def _reach(self) -> None:
        if self.is_away:
            raise Unavailable("the store is away")

    def _answer(self) -> None:
        if self.is_deaf:
            raise Unavailable("no answer")


@in_virtual_time
async def test_what_is_not_known_to_be_durable_is_not_known_at_all_and_repair_takes_it_back() -> None:
    store = DeafStore()
    book = RecordBook(store, VirtualClock())
    store.is_deaf = True
    with pytest.raises(Unavailable):
        await book.put([ONE])
    assert (len(book.table), set(store.records)) == (0, {"i1"})
    with pytest.raises(Unavailable):
        await book.repair()
    store.is_deaf = False
    await book.repair()
    assert store.records == {}


@in_virtual_time
async def test_a_change_without_an_answer_is_taken_back_to_what_is_known() -> None:
    store = DeafStore()
    book = RecordBook(store, VirtualClock())
    await book.put([ONE])
    store.is_deaf = True
    with pytest.raises(Unavailable):
        await book.put([replace(ONE, kind=Kind.ON_DEMAND)])
    store.is_deaf = False
    await book.repair()
    assert store.records == {"i1": ONE} == dict(book.table)


@in_virtual_time
async def test_what_has_happened_outside_is_written_as_soon_as_the_store_is_back() -> None:
    store = DeafStore()
    book = RecordBook(store, VirtualClock())
    await book.put([ONE])
    store.is_away = True
    ready = replace(ONE, state=InstanceState.READY)
    writing = asyncio.create_task(book.must_put(ready))
    await asyncio.sleep(60.0)
    assert (writing.done(), book.table["i1"].state) == (False, InstanceState.LAUNCHING)
    store.is_away = False
    await writing
    assert store.records == {"i1": ready} == dict(book.table)
    store.is_away = True
    ending = asyncio.create_task(book.must_remove("i1"))
    await asyncio.sleep(60.0)
    assert dict(book.table) == {"i1": ready}, "it has a record as long as gateways may read one"
    store.is_away = False
    await ending
    assert (store.records, len(book.table)) == ({}, 0)


@in_virtual_time
async def test_a_failure_is_told_when_it_can_be_and_waits_for_nobody() -> None:
    store = DeafStore()
    book = RecordBook(store, VirtualClock())
    await book.tell_failed(ONE, "no such module")
    store.is_away = True
    await book.tell_failed(ONE, "no such module")
    assert [(told.state, told.reason) for told in store.told] == [(InstanceState.FAILED, "no such module")]


@in_virtual_time
async def test_what_an_earlier_control_plane_has_left_is_known_the_last_ready_last() -> None:
    store = DeafStore()
    for number, ready_at_s in enumerate((3.0, 1.0, 2.0)):
        await store.put([replace(ONE, instance_id=f"i{number}", ready_at_s=ready_at_s)])
    book = RecordBook(store, VirtualClock())
    assert [record.instance_id for record in await book.load()] == ["i1", "i2", "i0"]
    assert dict(book.table) == store.records
