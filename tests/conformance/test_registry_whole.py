"""What is one step of the registry: a function that goes with its service, and indexes that older stores lack."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from control_plane.errors import AlreadyExists, ConcurrentUpdate, NotEmpty, NotFound
from control_plane.listing import Query
from control_plane.model import Service, Setting
from control_plane.registry import RedisRegistry, keys
from control_plane.registry.memory import MemoryRegistry
from provision.config import ProvisionConfig
from runtime.contract import FEED_KEY, ROUTES_KEY, FunctionRoute, function_field
from tests.support.registry import RegistryWorld, alias, function, refused, service, target, trigger


async def a_function_with_all_that_can_belong_to_it(world: RegistryWorld) -> None:
    registry = world.registry
    await registry.create_service(service("f"))
    await registry.create_function(function("f", "f"))
    for version in ("1", "2"):
        await registry.publish_version("f", None)
        await registry.create_alias("f", alias(f"a{version}", version))
    for qualifier in ("LATEST", "a1", "a2"):
        at = target(qualifier, "f", "f")
        await registry.put_provision(at, ProvisionConfig(target=1))
        await registry.put_setting(Setting.ON_DEMAND, at, {"maximumInstanceCount": 1})
        await registry.put_setting(Setting.ASYNC_INVOKE, at, {"maxAsyncRetryAttempts": 1})
    await registry.put_setting(Setting.ASYNC_INVOKE, target("1", "f", "f"), {})


async def test_a_function_goes_with_its_service_in_one_step_and_leaves_nothing(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await a_function_with_all_that_can_belong_to_it(registry_world)
    changes: list[None] = []
    registry.subscribe(lambda _: changes.append(None))
    await registry.delete_function_with_service("f", "f")
    assert len(changes) == 1
    assert await registry_world.routes() == {}
    assert (await registry.list_services(Query())).items == ()
    assert (await registry.list_every_function(Query())).items == ()
    assert (await registry.list_provision(Query())).items == ()
    for kind in Setting:
        assert (await registry.list_settings(kind, Query())).items == ()
    if isinstance(registry, MemoryRegistry):
        assert registry.store._records == {}
        assert not any(registry.store._indexes.values())


async def test_a_service_that_others_are_in_stays_with_its_versions(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await a_function_with_all_that_can_belong_to_it(registry_world)
    await registry.create_function(function("g", "f"))
    await registry.delete_function_with_service("f", "f")
    assert [each.function_name for each in (await registry.list_functions("f", Query())).items] == ["g"]
    assert len((await registry.list_versions("f", Query())).items) == 2
    assert len((await registry.list_aliases("f", Query())).items) == 2
    with pytest.raises(NotFound):
        await registry.get_function("f", "f")


async def test_a_function_with_triggers_or_changed_since_it_was_read_stays_whole(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await a_function_with_all_that_can_belong_to_it(registry_world)
    read = await registry.get_function("f", "f")
    await registry.update_function(function("f", "f", timeout=9))
    before = await registry_world.routes()
    await refused(
        registry.delete_function_with_service("f", "f", based_on=read), "ConcurrentUpdateError", ConcurrentUpdate
    )
    assert await registry_world.routes() == before
    await registry.create_trigger("f", "f", trigger())
    await refused(registry.delete_function_with_service("f", "f"), "FunctionNotEmpty", NotEmpty)
    assert len((await registry.list_aliases("f", Query())).items) == 2


async def test_functions_of_a_store_without_the_index_of_names_are_listed_once_it_is_built(store_url: str) -> None:
    redis: Redis = Redis.from_url(store_url)
    registry = RedisRegistry(redis)
    for name in ("s", "g"):
        await registry.create_service(service(name))
    await registry.create_function(function("f", "s"))
    await registry.create_function(function("g", "g"))
    await redis.delete(keys.FC3_FUNCTIONS, keys.INDEX_VERSION)  # as a store of an earlier Stoke has it
    assert (await registry.list_every_function(Query())).items == ()
    told, routes = await redis.xlen(FEED_KEY), await redis.hgetall(ROUTES_KEY)
    assert await registry.build_indexes()
    assert [f.function_name for f in (await registry.list_every_function(Query())).items] == ["g", "f"]
    assert await redis.zrange(keys.FC3_FUNCTIONS, 0, -1) == [b"g", b"s$f"]
    assert not await registry.build_indexes(), "a second time there is nothing to do"
    assert (await redis.xlen(FEED_KEY), await redis.hgetall(ROUTES_KEY)) == (told, routes), "gateways hear nothing"
    await redis.aclose()


async def test_building_the_indexes_of_an_empty_store_marks_it_as_built(store_url: str) -> None:
    redis: Redis = Redis.from_url(store_url)
    registry = RedisRegistry(redis)
    assert await registry.build_indexes()
    assert int(await redis.get(keys.INDEX_VERSION) or b"0") == 1
    assert not await registry.build_indexes()
    await redis.aclose()


async def test_a_function_and_its_service_are_made_and_changed_in_one_step(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    changes: list[None] = []
    registry.subscribe(lambda _: changes.append(None))
    made = await registry.create_function_with_service(function("f", "f"), lambda _: service("f", role="r"))
    assert (made.function_id != "", (await registry.get_service("f")).role) == (True, "r")
    assert (await registry.get_service("f")).service_id != ""

    def with_logs(stored: Service | None) -> Service:
        assert stored is not None
        return stored.model_copy(update={"log_config": {"project": "p", "logstore": "l"}})

    changed = await registry.update_function_with_service(
        function("f", "f", timeout=9), with_logs, based_on=await registry.get_function("f", "f")
    )
    assert len(changes) == 2
    assert (changed.function_id, changed.timeout) == (made.function_id, 9)
    route = FunctionRoute.from_json((await registry_world.routes())[function_field("f", "LATEST", "f")])
    assert (route.timeout_s, route.headers["x-fc-service-logproject"]) == (9.0, "p")
    kept = await registry.get_service("f")
    assert (kept.role, kept.log_config) == ("r", {"project": "p", "logstore": "l"})


async def test_a_function_that_cannot_be_made_leaves_its_service_as_it_was(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await registry.create_function_with_service(function("f", "f"), lambda _: service("f", role="r"))
    read = await registry.get_function("f", "f")
    await registry.update_function(function("f", "f", timeout=9))
    before = await registry.get_service("f")
    other = service("f", role="other")
    await refused(
        registry.create_function_with_service(function("f", "f"), lambda _: other),
        "FunctionAlreadyExists",
        AlreadyExists,
    )
    await refused(
        registry.update_function_with_service(function("f", "f"), lambda _: other, based_on=read),
        "ConcurrentUpdateError",
        ConcurrentUpdate,
    )
    await refused(
        registry.update_function_with_service(function("g", "g"), lambda _: service("g")), "ServiceNotFound", NotFound
    )
    assert await registry.get_service("f") == before
    assert [each.service_name for each in (await registry.list_services(Query())).items] == ["f"]
