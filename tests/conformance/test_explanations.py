"""Decisions that are kept to be looked up: over a restart, bounded, and with no write when nothing changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from control_plane.explain import EXPLAINED_MAX, Explained, Inputs, PolicyExplained
from control_plane.explanations import KEPT_S, KEY_PREFIX, Explanations
from control_plane.model import QualifiedFunction
from tests.support.store import PrivateStore
from tests.support.virtual_time import VirtualClock

NAME = QualifiedFunction(service_name="svc", qualifier="LATEST", function_name="f")
INPUTS = Inputs(2, 0, 1, 1.0, 6.0, 6, 4, 31.0, {"GPUSmUtilization": 0.5}, None)
KEY = KEY_PREFIX + str(NAME)


def decision(at_s: float) -> Explained:
    return Explained(at_s, "LATEST", 8, 5, ("bounded 12→8",), (PolicyExplained("p", 8, ("panic=12",)),), INPUTS)


@pytest.fixture
async def redis(store_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(store_url)
    yield client
    await client.aclose()


def explanations(redis: Redis) -> Explanations:
    return Explanations(redis, VirtualClock(), 5.0)


async def test_after_a_restart_earlier_decisions_follow_the_new_ones(redis: Redis) -> None:
    before = explanations(redis)
    for at_s in (1.0, 2.0):
        before.noted(NAME, decision(at_s))
    await before.flush()
    after = explanations(redis)
    assert await after.before(NAME, [decision(5.0)]) == (decision(5.0), decision(2.0), decision(1.0))


async def test_what_is_in_memory_and_in_the_store_is_told_once(redis: Redis) -> None:
    made = explanations(redis)
    made.noted(NAME, decision(1.0))
    made.noted(NAME, decision(2.0))
    await made.flush()
    assert await made.before(NAME, [decision(2.0), decision(1.0)]) == (decision(2.0), decision(1.0))


async def test_no_more_than_the_limit_is_kept_and_it_expires(redis: Redis) -> None:
    made = explanations(redis)
    for number in range(EXPLAINED_MAX):
        made.noted(NAME, decision(float(number)))
    await made.flush()
    for number in range(EXPLAINED_MAX):
        made.noted(NAME, decision(1000.0 + number))
    await made.flush()
    assert await redis.llen(KEY) == EXPLAINED_MAX
    assert 0 < await redis.ttl(KEY) <= KEPT_S
    told = await made.before(NAME, [decision(5000.0)])
    assert len(told) == EXPLAINED_MAX
    assert told[-1].at_s == 1001.0


async def test_nothing_is_written_when_nothing_changed(redis: Redis) -> None:
    made = explanations(redis)
    made.noted(NAME, decision(1.0))
    await made.flush()
    written = (await redis.info("commandstats"))["cmdstat_rpush"]["calls"]
    await made.flush()
    assert (await redis.info("commandstats"))["cmdstat_rpush"]["calls"] == written


async def test_what_the_store_does_not_take_waits_for_its_return(private_store: PrivateStore) -> None:
    client = Redis.from_url(private_store.url)
    made = explanations(client)
    made.noted(NAME, decision(1.0))
    private_store.kill()
    await made.flush()
    assert await made.before(NAME, [decision(2.0)]) == (decision(2.0),)
    made.noted(NAME, decision(2.0))
    private_store.start()
    await made.flush()
    assert await made.before(NAME, [decision(3.0)]) == (decision(3.0), decision(2.0), decision(1.0))
    await client.aclose()


async def test_fields_of_another_version_are_left_out(redis: Redis) -> None:
    made = explanations(redis)
    made.noted(NAME, decision(1.0))
    await made.flush()
    written: Any = (await redis.lrange(KEY, 0, -1))[0]
    text = written.replace(b'"target":', b'"of_later": 1, "target":', 1)
    await redis.lset(KEY, 0, text)
    assert await made.before(NAME, [decision(2.0)]) == (decision(2.0), decision(1.0))
