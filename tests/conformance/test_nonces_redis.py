"""Used nonces in the store: several control planes agree, and each goes on alone while the store is away."""

from __future__ import annotations

import asyncio
import tempfile

from redis.asyncio import Redis

from runtime.access.nonces import REMEMBERED_S
from runtime.access.shared_nonces import KEY_PREFIX, SharedNonces, connect
from tests.support.store import PrivateStore


async def test_a_nonce_is_good_once_for_all_processes_and_is_forgotten_in_time(private_store: PrivateStore) -> None:
    redis: Redis = Redis.from_url(private_store.url)
    one, other = SharedNonces(redis), SharedNonces(redis)
    assert await one.use("key", "n", 1000.0)
    assert not await one.use("key", "n", 1000.0)
    assert not await other.use("key", "n", 1000.0)
    assert await other.use("another", "n", 1000.0)
    for kept in await redis.keys(f"{KEY_PREFIX}*"):
        assert 0 < await redis.pttl(kept) <= REMEMBERED_S * 1000
    await redis.aclose()


async def test_while_the_store_is_away_a_process_remembers_its_own(private_store: PrivateStore) -> None:
    redis: Redis = Redis.from_url(private_store.url)
    nonces = SharedNonces(redis)
    private_store.kill()
    assert await nonces.use("key", "n", 1000.0)
    assert not await nonces.use("key", "n", 1000.0)
    await redis.aclose()
    private_store.start()


async def test_a_store_that_is_silent_is_not_waited_for_and_then_not_asked_for_a_while() -> None:
    asked: list[None] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(None)
        await reader.read()
        writer.close()

    with tempfile.TemporaryDirectory(prefix="stoke-n-") as folder:
        async with await asyncio.start_unix_server(say_nothing, f"{folder}/s"):
            redis = connect(f"unix://{folder}/s")
            nonces = SharedNonces(redis, answer_s=0.05)
            assert await nonces.use("key", "a", 1000.0)
            assert await nonces.use("key", "b", 1000.0)
            assert not await nonces.use("key", "a", 1000.0), "this process remembers its own"
            assert len(asked) == 1
            await redis.aclose()
