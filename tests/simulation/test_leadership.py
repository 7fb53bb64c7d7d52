"""Who leads, in virtual time and over a real store: one at a time, with a larger term each time, whatever is away."""

from __future__ import annotations

import asyncio
import random

import pytest
from redis.asyncio import Redis

from control_plane.clock import SystemClock
from control_plane.errors import Unavailable
from control_plane.fleet.fencing import FencedRecordStore
from control_plane.leadership import Leadership, MemoryLeaderStore, RedisLeaderStore, Superseded
from runtime.contract import InstanceRecord, InstanceState, Kind
from tests.support.virtual_time import VirtualClock, in_virtual_time

LEASE_S = 5.0


def candidate(store: MemoryLeaderStore, clock: VirtualClock, name: str) -> Leadership:
    return Leadership(store, clock, name, f"unix:/{name}", LEASE_S)


def holds(each: Leadership) -> bool:
    return each.holds


@in_virtual_time
async def test_the_next_one_leads_after_a_lease_and_a_look_at_most() -> None:
    clock = VirtualClock()
    store = MemoryLeaderStore(clock)
    first, second = candidate(store, clock, "a"), candidate(store, clock, "b")
    await first.campaign()
    keeping = asyncio.create_task(first.keep())
    waiting = asyncio.create_task(second.campaign())
    await asyncio.sleep(60.0)
    assert holds(first)
    assert not waiting.done()
    assert second.leader_address == "unix:/a"
    keeping.cancel()
    killed_at_s = clock.monotonic_s()
    await waiting
    assert clock.monotonic_s() - killed_at_s <= LEASE_S * 1.2
    assert (first.term, second.term) == (1, 2)
    assert not holds(first)
    with pytest.raises(Superseded):
        await first.keep()


@in_virtual_time
async def test_who_resigns_is_followed_at_the_next_look() -> None:
    clock = VirtualClock()
    store = MemoryLeaderStore(clock)
    first, second = candidate(store, clock, "a"), candidate(store, clock, "b")
    await first.campaign()
    waiting = asyncio.create_task(second.campaign())
    await asyncio.sleep(0.5)
    await first.resign()
    assert not holds(first)
    resigned_at_s = clock.monotonic_s()
    await waiting
    assert clock.monotonic_s() - resigned_at_s <= LEASE_S / 5


@in_virtual_time
async def test_a_store_that_is_away_ends_no_leadership_but_nothing_is_done_meanwhile() -> None:
    clock = VirtualClock()
    store = MemoryLeaderStore(clock)
    first = candidate(store, clock, "a")
    await first.campaign()
    keeping = asyncio.create_task(first.keep())
    store.away = True
    await asyncio.sleep(LEASE_S)
    assert not holds(first)
    await asyncio.sleep(60.0)
    store.away = False
    await asyncio.sleep(LEASE_S / 5)
    assert holds(first)
    assert first.term == 1, "nobody else has led"
    keeping.cancel()


@pytest.mark.parametrize("seed", range(10))
def test_never_do_two_hold_it_at_once(seed: int) -> None:
    @in_virtual_time
    async def story() -> None:
        chance, clock = random.Random(seed), VirtualClock()
        store = MemoryLeaderStore(clock)
        seen: list[int] = []
        running: dict[int, tuple[Leadership, asyncio.Task[None]]] = {}

        async def live(each: Leadership) -> None:
            await each.campaign()
            seen.append(each.term)
            await each.keep()

        for number in range(60):
            each = candidate(store, clock, f"p{number}")
            running[number % 3] = each, asyncio.create_task(live(each))
            for _ in range(chance.randrange(1, 40)):
                await asyncio.sleep(chance.uniform(0.0, 0.5))
                assert sum(one.holds for one, _ in running.values()) <= 1
            store.away = chance.random() < 0.1
            if (number + 1) % 3 in running:
                _, task = running.pop((number + 1) % 3)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for _, task in running.values():
            task.cancel()
        assert seen == sorted(set(seen)), "each leader has a term of its own, larger than those before"

    story()


async def test_the_store_refuses_what_an_earlier_leader_writes(store_url: str) -> None:
    redis: Redis = Redis.from_url(store_url)
    store = RedisLeaderStore(redis)
    try:
        assert (await store.take("a", "unix:/a", 60.0, 0)).term == 1
        assert (await store.take("a", "unix:/a", 60.0, 0)).term == 1, "an answer that was lost"
        refused = await store.take("b", "unix:/b", 60.0, 0)
        assert (refused.leads, refused.address) == (False, "unix:/a")
        old, new = FencedRecordStore(redis, lambda: 1), FencedRecordStore(redis, lambda: 2)
        await old.put([record("i1")])
        await store.give("b")
        assert not (await store.take("b", "unix:/b", 60.0, 0)).leads, "who does not hold it gives nothing back"
        await store.give("a")
        assert (await store.take("b", "unix:/b", 60.0, 0)).term == 2
        with pytest.raises(Unavailable, match="term 1 is over"):
            await old.put([record("i2")])
        with pytest.raises(Unavailable, match="term 1 is over"):
            await old.remove(["i1"])
        await new.put([record("i3")])
        assert {each.instance_id for each in await new.load()} == {"i1", "i3"}
        await store.give("b")
        assert not (await store.take("a", "unix:/a", 60.0, 1)).leads, "it would go on with what it knew"
    finally:
        await redis.aclose()


async def test_a_lease_runs_out_by_the_stores_clock(store_url: str) -> None:
    redis: Redis = Redis.from_url(store_url)
    try:
        await RedisLeaderStore(redis).take("a", "unix:/a", 0.05, 0)
        second = Leadership(RedisLeaderStore(redis), SystemClock(), "b", "unix:/b", 0.2)
        await second.campaign()
        assert second.holds
        assert second.term == 2
        await second.resign()
    finally:
        await redis.aclose()


def record(instance_id: str) -> InstanceRecord:
    return InstanceRecord(
        instance_id, "s", "f", "LATEST", "1", Kind.PROVISIONED, InstanceState.LAUNCHING, slots=1, node="n"
    )
