"""What the store of asynchronous invocations promises, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from runtime.async_invocation.records import DUE, QUEUES, Invocation, Queue, Status, new_invocation
from runtime.async_invocation.store import AsyncStore, Backlog, Entry, Outrun, Stored
from tests.support.store import PrivateStore

QUEUE = Queue("s", "1", "f")
NOW_S = 1_636_351_620.25


def invocation(invocation_id: str = "i", at_s: float = NOW_S, *, stateful: bool = False) -> Invocation:
    return new_invocation(
        at_s,
        invocation_id=invocation_id,
        request_id=f"r-{invocation_id}",
        service="s",
        function="f",
        qualifier="prod",
        version="1",
        stateful=stateful,
    )


@pytest.fixture
async def client(store_url: str) -> AsyncIterator[Redis]:
    made: Redis = Redis.from_url(store_url)
    yield made
    await made.aclose()


@pytest.fixture
def store(client: Redis) -> AsyncStore:
    return AsyncStore(client)


async def read(store: AsyncStore, invocation_id: str = "i") -> Stored:
    stored = await store.load("s", "f", invocation_id)
    assert stored is not None
    return stored


async def running(store: AsyncStore, *, stateful: bool = False) -> tuple[Stored, Entry]:
    await store.enqueue(invocation(stateful=stateful), b"in")
    [entry] = await store.take(QUEUE, "g1", 10)
    stored = await read(store)
    return await store.save(stored, stored.record.to(Status.RUNNING, NOW_S, attempts=1)), entry


async def test_what_was_enqueued_is_read_back_as_it_was(store: AsyncStore) -> None:
    kept, is_new = await store.enqueue(invocation(), b"\x00\xff")
    assert (kept, is_new) == (invocation(), True)
    stored = await read(store)
    assert (stored.record, stored.payload, stored.result) == (invocation(), b"\x00\xff", b"")
    assert await store.backlogs() == [Backlog(QUEUE, 1, 0, NOW_S)]
    assert await store.load("s", "f", "other") is None


async def test_of_many_that_enqueue_one_id_at_once_one_is_new(store: AsyncStore) -> None:
    answers = await asyncio.gather(*(store.enqueue(invocation(at_s=NOW_S + n), b"x") for n in range(30)))
    assert sum(is_new for _, is_new in answers) == 1
    assert len({kept.enqueued_at_s for kept, _ in answers}) == 1
    assert (await store.backlogs())[0].waiting == 1


async def test_each_event_is_taken_once_in_the_order_of_the_queue(store: AsyncStore) -> None:
    for number in range(5):
        await store.enqueue(invocation(f"i{number}"), b"")
    first, second = await asyncio.gather(store.take(QUEUE, "g1", 3), store.take(QUEUE, "g2", 3))
    assert [entry.invocation_id for entry in first + second] == [f"i{number}" for number in range(5)]
    assert await store.take(QUEUE, "g1", 3) == []
    assert await store.backlogs() == [Backlog(QUEUE, 0, 5, None)]
    assert await store.take(Queue("s", "1", "nobody"), "g1", 3) == []


async def test_only_what_its_consumer_has_let_lie_is_claimed(store: AsyncStore) -> None:
    await store.enqueue(invocation("a"), b"")
    await store.enqueue(invocation("b"), b"")
    entries = await store.take(QUEUE, "g1", 2)
    assert await store.claim(QUEUE, "g2", 60.0, 10) == []
    await store.keep(QUEUE, "g1", [entry.entry_id for entry in entries])
    assert await store.claim(QUEUE, "g2", 60.0, 10) == []
    assert await store.claim(QUEUE, "g2", 0.0, 10) == entries
    assert await store.claim(Queue("s", "1", "nobody"), "g2", 0.0, 10) == []
    await store.keep(Queue("s", "1", "nobody"), "g2", ["1-1"])


async def test_a_change_that_is_based_on_an_old_state_is_not_made(store: AsyncStore) -> None:
    stored, entry = await running(store)
    await store.save(stored, stored.record.to(Status.STOPPING, NOW_S))
    with pytest.raises(Outrun):
        await store.save(stored, stored.record.to(Status.SUCCEEDED, NOW_S), done=entry.entry_id, kept_s=9.0)
    assert (await read(store)).record.status is Status.STOPPING
    assert (await store.backlogs())[0].taken == 1


async def test_an_ended_one_leaves_nothing_but_its_record_and_that_for_a_time(store: AsyncStore, client: Redis) -> None:
    stored, entry = await running(store)
    await store.save(stored, stored.record.to(Status.SUCCEEDED, NOW_S), result=b"out", done=entry.entry_id, kept_s=60.0)
    assert await store.backlogs() == []
    assert await client.keys("*") == [stored.record.key.encode()]
    assert 0 < await client.ttl(stored.record.key) <= 60
    kept = await read(store)
    assert (kept.record.status, kept.payload, kept.result) == (Status.SUCCEEDED, b"", b"")


async def test_of_a_stateful_one_payload_and_result_are_kept_and_it_is_listed(store: AsyncStore) -> None:
    stored, entry = await running(store, stateful=True)
    await store.save(stored, stored.record.to(Status.SUCCEEDED, NOW_S), result=b"out", done=entry.entry_id, kept_s=60.0)
    kept = await read(store)
    assert (kept.payload, kept.result) == (b"in", b"out")
    span = (0.0, float("inf"))
    assert await store.ids("s", "f", span, newest_first=True, offset=0, count=9) == [("i", round(NOW_S * 1000))]


async def test_a_retry_is_back_in_its_queue_when_it_is_due_and_not_before(store: AsyncStore, client: Redis) -> None:
    stored, entry = await running(store)
    retrying = stored.record.to(Status.RETRYING, NOW_S)
    await store.save(stored, retrying, again_at_s=NOW_S + 5.0, done=entry.entry_id)
    assert await store.backlogs() == []
    assert await store.promote(NOW_S + 4.9) == NOW_S + 5.0
    assert await store.backlogs() == []
    assert await store.promote(NOW_S + 5.0) is None
    assert await store.backlogs() == [Backlog(QUEUE, 1, 0, NOW_S)]
    [again] = await store.take(QUEUE, "g1", 9)
    assert again.entry_id != entry.entry_id
    assert (await read(store)).entry == again.entry_id
    assert await client.exists(DUE) == 0


async def test_one_that_is_due_and_has_been_forgotten_is_not_queued(store: AsyncStore, client: Redis) -> None:
    stored, entry = await running(store)
    await store.save(stored, stored.record.to(Status.RETRYING, NOW_S), again_at_s=NOW_S, done=entry.entry_id)
    await client.delete(stored.record.key)
    assert await store.promote(NOW_S + 1.0) is None
    assert await store.backlogs() == []
    assert await client.exists(QUEUES) == 0


async def test_one_that_is_stopped_leaves_its_queue_or_what_is_due(store: AsyncStore, client: Redis) -> None:
    await store.enqueue(invocation("waits"), b"")
    stored = await read(store, "waits")
    await store.save_stopped(stored, stored.record.to(Status.STOPPED, NOW_S), kept_s=60.0)
    assert await store.backlogs() == []
    stored, entry = await running(store)
    stored = await store.save(
        stored, stored.record.to(Status.RETRYING, NOW_S), again_at_s=NOW_S + 5.0, done=entry.entry_id
    )
    await store.save_stopped(stored, stored.record.to(Status.STOPPED, NOW_S), kept_s=60.0)
    assert await client.exists(DUE) == 0
    with pytest.raises(Outrun):
        await store.save_stopped(stored, stored.record.to(Status.STOPPED, NOW_S), kept_s=60.0)


async def test_a_dropped_event_is_gone(store: AsyncStore) -> None:
    await store.enqueue(invocation(), b"")
    [entry] = await store.take(QUEUE, "g1", 1)
    await store.drop(entry)
    await store.drop(entry)
    assert await store.backlogs() == []
    await store.enqueue(invocation("next"), b"")
    assert len(await store.take(QUEUE, "g1", 9)) == 1


async def test_a_users_stream_forgets_its_oldest_entries(store: AsyncStore, client: Redis) -> None:
    for number in range(500):
        await store.add_to_stream("streams/x", b"%d" % number, 10)
    assert 10 <= await client.xlen("streams/x") < 300


async def test_what_was_acknowledged_is_there_after_the_store_was_killed(private_store: PrivateStore) -> None:
    client: Redis = Redis.from_url(private_store.url)
    store = AsyncStore(client)
    await store.enqueue(invocation("taken"), b"1")
    await store.take(QUEUE, "g1", 1)
    await store.enqueue(invocation("waits"), b"2")
    private_store.kill()
    private_store.start()
    await client.connection_pool.disconnect()
    assert await store.backlogs() == [Backlog(QUEUE, 1, 1, NOW_S)]
    assert [entry.invocation_id for entry in await store.claim(QUEUE, "g2", 0.0, 9)] == ["taken"]
    assert (await read(store, "waits")).payload == b"2"
    await store.close()
