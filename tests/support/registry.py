"""Registries for tests: both implementations with what gateways see of them, and short ways to write records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.asyncio import Redis

from control_plane.errors import StokeError
from control_plane.model import Alias, Function, QualifiedFunction, Service, Trigger
from control_plane.ports import Registry
from control_plane.registry import RedisRegistry
from control_plane.registry.memory import MemoryRegistry
from runtime.contract import FEED_KEY, ROUTES_KEY

NOW_S = 1_636_351_620.0  # 2021-11-08T06:07:00Z


@dataclass
class RegistryWorld:
    """A registry, and what gateways see of it."""

    registry: Registry
    routes: Callable[[], Awaitable[dict[str, str]]]
    feed: Callable[[], Awaitable[list[tuple[str, str]]]]
    clock: dict[str, float] = field(default_factory=lambda: {"utc_s": NOW_S})


@pytest.fixture(params=["memory", "redis"])
async def registry_world(request: pytest.FixtureRequest) -> AsyncIterator[RegistryWorld]:
    clock = {"utc_s": NOW_S}
    if request.param == "memory":
        memory = MemoryRegistry(region="cn-test", account_id="42", utc_s=lambda: clock["utc_s"])

        async def memory_routes() -> dict[str, str]:
            return dict(memory.store.routes)

        async def memory_feed() -> list[tuple[str, str]]:
            return list(memory.store.feed)

        yield RegistryWorld(memory, memory_routes, memory_feed, clock)
        return
    redis: Redis = Redis.from_url(request.getfixturevalue("store_url"))

    async def routes() -> dict[str, str]:
        return await read_routes(redis)

    async def feed() -> list[tuple[str, str]]:
        return await read_feed(redis)

    registry = RedisRegistry(redis, region="cn-test", account_id="42", utc_s=lambda: clock["utc_s"])
    yield RegistryWorld(registry, routes, feed, clock)
    await redis.aclose()


async def read_routes(redis: Any) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (await redis.hgetall(ROUTES_KEY)).items()}


async def read_feed(redis: Any) -> list[tuple[str, str]]:
    entries = await redis.xrange(FEED_KEY)
    assert all(values[b"key"] == ROUTES_KEY.encode() for _, values in entries)
    return [(values[b"field"].decode(), values[b"value"].decode()) for _, values in entries]


@pytest.fixture
def registry(registry_world: RegistryWorld) -> Registry:
    return registry_world.registry


def service(name: str = "s", **values: Any) -> Service:
    return Service.model_validate({"serviceName": name} | values)


def function(name: str = "f", service_name: str = "s", **values: Any) -> Function:
    given = {"serviceName": service_name, "functionName": name, "runtime": "custom", "handler": "not-used"}
    return Function.model_validate(given | values)


def trigger(name: str = "t", **values: Any) -> Trigger:
    config = {"authType": "anonymous", "methods": ["GET", "POST"]}
    return Trigger.model_validate({"triggerName": name, "triggerType": "http", "triggerConfig": config} | values)


def alias(name: str = "prod", version_id: str = "1", **values: Any) -> Alias:
    return Alias.model_validate({"aliasName": name, "versionId": version_id} | values)


def target(qualifier: str = "LATEST", function_name: str = "f", service_name: str = "s") -> QualifiedFunction:
    return QualifiedFunction(service_name=service_name, qualifier=qualifier, function_name=function_name)


async def refused(waiting: Awaitable[Any], code: str, kind: type[StokeError]) -> str:
    with pytest.raises(kind) as caught:
        await waiting
    assert caught.value.code == code
    return caught.value.message
