"""What the registry over Redis promises beyond the port: durability, races between processes, the store away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from control_plane.errors import AlreadyExists, Unavailable
from control_plane.listing import Query
from control_plane.model import Function, Service
from control_plane.registry import RedisRegistry
from control_plane.registry.keys import PREFIX
from provision.config import ProvisionConfig
from runtime.contract import FEED_KEY, FEED_LENGTH_MAX, ROUTES_KEY, FunctionRoute, function_field
from tests.support.registry import alias, function, read_feed, read_routes, refused, service, target
from tests.support.store import PrivateStore


@pytest.fixture
async def redis(store_url: str) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(store_url)
    yield client
    await client.aclose()


async def test_two_processes_create_one_name_and_one_succeeds(store_url: str) -> None:
    clients: list[Redis] = [Redis.from_url(store_url) for _ in range(4)]
    registries = [RedisRegistry(client) for client in clients]
    for round_ in range(10):
        name = f"s{round_}"
        outcomes = await asyncio.gather(
            *(registry.create_service(service(name)) for registry in registries), return_exceptions=True
        )
        assert sum(isinstance(outcome, Service) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 3
    for client in clients:
        await client.aclose()


async def test_a_change_is_made_again_when_another_was_first(redis: Redis) -> None:
    """Each of many updates to one record is based on nothing, so all go through, one after the other."""
    registry = RedisRegistry(redis)
    await registry.create_service(service())
    await registry.create_function(function())
    await asyncio.gather(*(registry.update_function(function(timeout=n + 1)) for n in range(20)))
    told = await read_feed(redis)
    assert len(told) == 21, "one entry for the creation and one for each update"
    field = function_field("s", "LATEST", "f")
    stored = (await read_routes(redis))[field]
    assert told[-1] == (field, stored)
    assert FunctionRoute.from_json(stored).revision == (await registry.get_function("s", "f")).revision


async def test_the_feed_stays_short(redis: Redis) -> None:
    registry = RedisRegistry(redis)
    await registry.create_service(service())
    async with redis.pipeline(transaction=False) as pipe:
        for _ in range(FEED_LENGTH_MAX + 500):
            pipe.xadd(FEED_KEY, {"key": ROUTES_KEY, "field": "old", "value": ""})
        await pipe.execute()
    await registry.create_function(function())
    # "About", as Redis trims by whole nodes of a hundred entries.
    assert await redis.xlen(FEED_KEY) <= FEED_LENGTH_MAX + 100


async def test_deleting_everything_leaves_no_key_behind(redis: Redis) -> None:
    registry = RedisRegistry(redis)
    await registry.create_service(service())
    await registry.create_function(function())
    await registry.publish_version("s", None)
    await registry.create_alias("s", alias())
    for qualifier in ("LATEST", "prod"):
        await registry.put_provision(target(qualifier), ProvisionConfig(target=1))
    await registry.delete_function("s", "f")
    await registry.delete_alias("s", "prod")
    await registry.delete_version("s", "1")
    await registry.delete_service("s")
    assert await redis.keys(f"{PREFIX}*") == []
    assert await redis.hlen(ROUTES_KEY) == 0


async def test_a_listing_reads_only_the_page_it_shows(redis: Redis) -> None:
    """A thousand functions, read to the end by pages, each name once and in order."""
    registry = RedisRegistry(redis)
    await registry.create_service(service())
    names = [f"f{n:04d}" for n in range(1000)]
    await asyncio.gather(*(registry.create_function(function(name)) for name in names))
    listed: list[str] = []
    token = ""
    while True:
        page = await registry.list_functions("s", Query(limit=100, next_token=token))
        assert len(page.items) <= 100
        listed += [item.function_name for item in page.items]
        token = page.next_token
        if not token:
            break
    assert listed == names


async def test_what_was_acknowledged_outlives_kill_9_of_the_store(private_store: PrivateStore) -> None:
    acknowledged: list[str] = []
    client: Redis = Redis.from_url(private_store.url, retry=Retry(NoBackoff(), 0))
    registry = RedisRegistry(client)
    await registry.create_service(service())

    async def keep_creating(worker: int) -> None:
        for n in range(100_000):
            try:
                created = await registry.create_function(function(f"f{worker}-{n}"))
            except Unavailable:
                return
            acknowledged.append(created.function_name)

    workers = [asyncio.create_task(keep_creating(worker)) for worker in range(8)]
    while len(acknowledged) < 200:
        await asyncio.wait(workers, timeout=0.01)
    private_store.kill()
    await asyncio.wait_for(asyncio.gather(*workers), timeout=10)
    await client.aclose()

    private_store.start()
    client = Redis.from_url(private_store.url)
    registry = RedisRegistry(client)
    there: dict[str, Function] = {}
    token = ""
    while True:
        page = await registry.list_functions("s", Query(limit=1000, next_token=token))
        there |= {item.function_name: item for item in page.items}
        token = page.next_token
        if not token:
            break
    assert set(acknowledged) <= set(there)
    routes = await client.hkeys(ROUTES_KEY)
    assert {function_field("s", "LATEST", name).encode() for name in there} == set(routes)
    await client.aclose()


async def test_a_store_that_is_away_is_said_to_be_and_is_used_again_on_its_return(private_store: PrivateStore) -> None:
    client: Redis = Redis.from_url(private_store.url, retry=Retry(NoBackoff(), 1))
    registry = RedisRegistry(client)
    await registry.create_service(service())
    private_store.kill()
    for waiting in (
        registry.get_service("s"),
        registry.list_services(Query()),
        registry.create_function(function()),
        registry.publish_version("s", None),
    ):
        message = await refused(waiting, "ServiceUnavailable", Unavailable)
        assert message.startswith("the store does not answer")
    private_store.start()
    await registry.create_function(function())
    assert (await registry.get_service("s")).service_name == "s"
    await client.aclose()
