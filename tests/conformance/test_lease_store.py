"""Where grants live: `LeaseStore`'s promises, over each implementation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from control_plane.errors import Unavailable
from control_plane.fleet.lease_store import LeaseStore, MemoryLeaseStore, RedisLeaseStore, Superseded
from control_plane.fleet.leases import Batch
from runtime.contract import FEED_KEY
from runtime.leasing import LEASES_KEY, LEFT, Grants, Holder


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, store_url: str) -> AsyncIterator[LeaseStore]:
    if request.param == "memory":
        yield MemoryLeaseStore()
        return
    async with Redis.from_url(store_url) as redis:
        await redis.flushall()
        yield RedisLeaseStore(redis)


def batch(epoch: int, slots: int) -> Batch:
    return Batch(epoch, (("i", Grants(epoch, {"g": slots})),), (("g", Holder(7, 8)),))


async def test_the_next_lessor_finds_what_was_written(store: LeaseStore) -> None:
    first = await store.begin()
    assert (first.grants, first.holders, first.epoch) == ({}, {}, 0)
    await store.write(first.term, batch(3, 2))
    then = await store.begin()
    assert then.term > first.term
    assert (then.epoch, then.grants, then.holders) == (3, {"i": Grants(3, {"g": 2})}, {"g": Holder(7, 8)})


async def test_what_is_no_more_is_taken_out(store: LeaseStore) -> None:
    term = (await store.begin()).term
    await store.write(term, batch(1, 2))
    await store.write(term, Batch(2, (("i", None),), (("g", None),)))
    left = await store.begin()
    assert (left.epoch, left.grants, left.holders) == (2, {}, {})


async def test_an_earlier_lessor_writes_nothing_any_more(store: LeaseStore) -> None:
    before = (await store.begin()).term
    await store.begin()
    with pytest.raises(Superseded):
        await store.write(before, batch(1, 2))
    assert (await store.begin()).grants == {}


async def test_a_batch_that_comes_after_a_later_one_does_nothing(store: LeaseStore) -> None:
    term = (await store.begin()).term
    await store.write(term, batch(5, 1))
    await store.write(term, batch(4, 2))
    await store.write(term, batch(5, 3))
    assert (await store.begin()).grants == {"i": Grants(5, {"g": 1})}


async def test_a_batch_of_holders_alone_has_its_place_in_the_order(store: LeaseStore) -> None:
    term = (await store.begin()).term
    await store.write(term, Batch(1, (), (("g", Holder(7, 8)),)))
    await store.write(term, batch(1, 2))
    left = await store.begin()
    assert (left.grants, left.holders) == ({}, {"g": Holder(7, 8)})


async def test_renewals_are_read_as_gateways_write_them_until_they_are_dropped(store_url: str) -> None:
    from runtime.gateway.feeds import Store

    async with Redis.from_url(store_url) as redis:
        await redis.flushall()
        leases, gateway = RedisLeaseStore(redis), Store(store_url, with_leases=True, gateway_id="g")
        assert await leases.renewals() == {}
        assert await gateway.renew(7, 0) == 0  # nobody has ever been the lessor
        assert await leases.renewals() == {"g": "7 0"}
        term = (await leases.begin()).term
        assert await gateway.renew(8, 0) == term
        await gateway.leave()
        assert await leases.renewals() == {"g": LEFT}
        await leases.drop_renewals(["g"])
        assert await leases.renewals() == {}
        await gateway.close()


async def test_gateways_are_told_in_the_order_of_the_epochs(store_url: str) -> None:
    async with Redis.from_url(store_url, decode_responses=True) as redis:
        await redis.flushall()
        leases = RedisLeaseStore(Redis.from_url(store_url))
        term = (await leases.begin()).term
        await leases.write(
            term, Batch(2, (("i", Grants(1, {"g": 1})), ("j", Grants(2, {"g": 2}))), (("g", Holder(7, 8)),))
        )
        await leases.write(term, Batch(3, (("i", None),), ()))
        entries: Any = await redis.xrange(FEED_KEY)
        told = [entry for _, entry in entries]
        assert [(each["key"], each["field"]) for each in told] == [(LEASES_KEY, name) for name in ("i", "j", "i")]
        assert json.loads(told[0]["value"]) == {"epoch": 1, "slots": {"g": 1}}
        assert told[2]["value"] == ""
        await leases._redis.aclose()


async def test_a_store_that_is_away_is_said_to_be() -> None:
    async with Redis.from_url("unix:///nowhere/store.sock") as redis:
        leases = RedisLeaseStore(redis)
        with pytest.raises(Unavailable):
            await leases.begin()
        with pytest.raises(Unavailable):
            await leases.write(1, batch(1, 1))
        with pytest.raises(Unavailable):
            await leases.renewals()
        with pytest.raises(Unavailable):
            await leases.drop_renewals(["g"])
