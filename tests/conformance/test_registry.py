"""What `ports.Registry` promises of services and functions, over every implementation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

from control_plane.errors import AlreadyExists, ConcurrentUpdate, NotEmpty, NotFound
from control_plane.listing import Query
from control_plane.model import CustomDomain, Function, QualifiedFunction, Setting
from control_plane.ports import Registry
from provision.config import ProvisionConfig
from runtime.contract import FunctionRoute
from tests.support.registry import RegistryWorld, alias, function, refused, service, target, trigger


async def test_a_created_service_is_read_back_with_an_id_and_its_times(registry: Registry) -> None:
    created = await registry.create_service(service(description="d", vpcConfig={"vpcId": "v"}))
    assert created.service_id
    assert created.created_time == created.last_modified_time == "2021-11-08T06:07:00Z"
    assert await registry.get_service("s") == created
    assert (created.model_extra or {})["vpcConfig"] == {"vpcId": "v"}, "keys that Stoke has no use for are kept"


async def test_a_service_cannot_be_created_twice(registry: Registry) -> None:
    await registry.create_service(service())
    message = await refused(registry.create_service(service()), "ServiceAlreadyExists", AlreadyExists)
    assert message == "service 's' already exists"


async def test_an_update_keeps_the_id_and_the_creation_time(registry_world: RegistryWorld) -> None:
    created = await registry_world.registry.create_service(service())
    registry_world.clock["utc_s"] += 60
    updated = await registry_world.registry.update_service(service(description="new"))
    assert (updated.service_id, updated.created_time) == (created.service_id, created.created_time)
    assert updated.last_modified_time == "2021-11-08T06:08:00Z"
    assert updated == await registry_world.registry.get_service("s")


async def test_an_update_based_on_an_older_record_is_refused(registry: Registry) -> None:
    old = await registry.create_service(service())
    await registry.update_service(service(description="theirs"), based_on=old)
    await refused(
        registry.update_service(service(description="mine"), based_on=old), "ConcurrentUpdateError", ConcurrentUpdate
    )
    assert (await registry.get_service("s")).description == "theirs"


async def test_whatever_is_missing_is_named(registry: Registry) -> None:
    async def missing(waiting: Awaitable[Any], code: str) -> str:
        return await refused(waiting, code, NotFound)

    gone = "service 's' does not exist"
    config = ProvisionConfig(target=1)
    for waiting in (
        registry.get_service("s"),
        registry.get_service("s", "1"),
        registry.update_service(service()),
        registry.delete_service("s"),
        registry.create_function(function()),
        registry.get_function("s", "f"),
        registry.update_function(function()),
        registry.delete_function("s", "f"),
        registry.list_functions("s", Query()),
        registry.publish_version("s", None),
        registry.delete_version("s", "1"),
        registry.list_versions("s", Query()),
        registry.create_alias("s", alias()),
        registry.get_alias("s", "prod"),
        registry.update_alias("s", alias()),
        registry.delete_alias("s", "prod"),
        registry.list_aliases("s", Query()),
        registry.create_trigger("s", "f", trigger()),
        registry.get_trigger("s", "f", "t"),
        registry.update_trigger("s", "f", trigger()),
        registry.delete_trigger("s", "f", "t"),
        registry.list_triggers("s", "f", Query()),
        registry.put_provision(target(), config),
        registry.resolve_version("s", "LATEST"),
    ):
        assert await missing(waiting, "ServiceNotFound") == gone
    await registry.create_service(service())
    gone = "function 'f' does not exist in service 's'"
    for waiting in (
        registry.get_function("s", "f"),
        registry.update_function(function()),
        registry.delete_function("s", "f"),
        registry.create_trigger("s", "f", trigger()),
        registry.get_trigger("s", "f", "t"),
        registry.list_triggers("s", "f", Query()),
        registry.put_provision(target(), config),
    ):
        assert await missing(waiting, "FunctionNotFound") == gone
    for waiting in (
        registry.get_service("s", "7"),
        registry.get_function("s", "f", "7"),
        registry.delete_version("s", "7"),
        registry.create_alias("s", alias(version_id="7")),
        registry.resolve_version("s", "7"),
    ):
        assert await missing(waiting, "VersionNotFound") == "version '7' does not exist in service 's'"
    for waiting in (registry.get_function("s", "f", "prod"), registry.put_provision(target("prod"), config)):
        assert await missing(waiting, "AliasNotFound") == "alias 'prod' does not exist in service 's'"
    await registry.create_function(function())
    gone = "trigger 't' does not exist in function 'f' of service 's'"
    for waiting in (
        registry.get_trigger("s", "f", "t"),
        registry.update_trigger("s", "f", trigger()),
        registry.delete_trigger("s", "f", "t"),
    ):
        assert await missing(waiting, "TriggerNotFound") == gone


async def test_a_service_that_still_holds_something_is_not_deleted(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.create_function(function())
    assert "functions" in await refused(registry.delete_service("s"), "ServiceNotEmpty", NotEmpty)
    await registry.publish_version("s", None)
    await registry.create_alias("s", alias())
    await registry.delete_function("s", "f")
    assert "versions" in await refused(registry.delete_service("s"), "ServiceNotEmpty", NotEmpty)
    await registry.delete_alias("s", "prod")
    await registry.delete_version("s", "1")
    await registry.delete_service("s")
    assert (await registry.list_services(Query())).items == ()


async def names_by_page(registry: Registry, query: Query) -> list[list[str]]:
    pages = []
    while True:
        page = await registry.list_services(query)
        pages.append([item.service_name for item in page.items])
        if not page.next_token:
            return pages
        query = Query(query.prefix, query.start_key, query.limit, page.next_token)


async def test_a_listing_sorts_by_code_point_and_pages(registry: Registry) -> None:
    for name in ("b", "a", "B", "_x", "a-1", "a1", "A"):
        await registry.create_service(service(name))
    assert await names_by_page(registry, Query(limit=100)) == [["A", "B", "_x", "a", "a-1", "a1", "b"]]
    assert await names_by_page(registry, Query(limit=3)) == [["A", "B", "_x"], ["a", "a-1", "a1"], ["b"]]
    assert await names_by_page(registry, Query(limit=7)) == [["A", "B", "_x", "a", "a-1", "a1", "b"]]
    assert await names_by_page(registry, Query(prefix="a", limit=2)) == [["a", "a-1"], ["a1"]]
    assert await names_by_page(registry, Query(start_key="a-", limit=10)) == [["a-1", "a1", "b"]]
    assert await names_by_page(registry, Query(prefix="a", start_key="a1")) == [["a1"]]
    assert await names_by_page(registry, Query(prefix="zz")) == [[]]


async def test_a_page_may_begin_at_a_name_that_was_deleted_since(registry: Registry) -> None:
    for name in ("a", "b", "c"):
        await registry.create_service(service(name))
    token = (await registry.list_services(Query(limit=1))).next_token
    await registry.delete_service("b")
    assert [item.service_name for item in (await registry.list_services(Query(next_token=token))).items] == ["c"]


async def test_a_function_is_read_back_as_it_was_created(registry: Registry) -> None:
    await registry.create_service(service())
    created = await registry.create_function(function(customDNS={"nameServers": ["10.0.0.1"]}))
    assert created.function_id
    assert await registry.get_function("s", "f") == created
    assert (await registry.list_functions("s", Query())).items == (created,)
    await refused(registry.create_function(function()), "FunctionAlreadyExists", AlreadyExists)


async def test_functions_of_one_service_are_not_those_of_another(registry: Registry) -> None:
    for name in ("s", "s-2"):
        await registry.create_service(service(name))
    await registry.create_function(function("f", "s"))
    assert (await registry.list_functions("s-2", Query())).items == ()
    await registry.create_function(function("f", "s-2", memorySize=1024))
    assert (await registry.get_function("s", "f")).memory_size == 512


async def test_a_function_with_triggers_is_not_deleted(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.create_function(function())
    await registry.create_trigger("s", "f", trigger())
    message = await refused(registry.delete_function("s", "f"), "FunctionNotEmpty", NotEmpty)
    assert message == "function 'f' has active triggers"
    await registry.delete_trigger("s", "f", "t")
    await registry.delete_function("s", "f")
    await refused(registry.get_function("s", "f"), "FunctionNotFound", NotFound)


async def test_a_deleted_function_takes_its_provision_config_along(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.create_function(function())
    await registry.put_provision(target(), ProvisionConfig(target=3))
    await registry.delete_function("s", "f")
    assert await registry.get_provision(target()) is None
    assert (await registry.list_provision(Query())).items == ()


async def test_of_many_creating_one_name_exactly_one_succeeds(registry: Registry) -> None:
    await registry.create_service(service())
    outcomes = await asyncio.gather(
        *(registry.create_function(function(memorySize=64 * (n + 1))) for n in range(20)), return_exceptions=True
    )
    created = [outcome for outcome in outcomes if isinstance(outcome, Function)]
    assert len(created) == 1
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 19
    assert await registry.get_function("s", "f") == created[0]


async def test_versions_published_at_once_get_an_id_each(registry: Registry) -> None:
    await registry.create_service(service())
    published = await asyncio.gather(*(registry.publish_version("s", None) for _ in range(20)))
    assert sorted(int(version.version_id) for version in published) == list(range(1, 21))


async def test_no_function_is_left_in_a_service_deleted_at_the_same_time(registry: Registry) -> None:
    for _ in range(10):
        await registry.create_service(service())
        created, _deleted = await asyncio.gather(
            registry.create_function(function()), registry.delete_service("s"), return_exceptions=True
        )
        if isinstance(created, Function):
            assert (await registry.get_service("s")).service_name == "s"
            await registry.delete_function("s", "f")
            await registry.delete_service("s")
        else:
            assert isinstance(created, NotFound)
            assert (await registry.list_services(Query())).items == ()


async def test_of_updates_based_on_the_same_record_one_succeeds(registry: Registry) -> None:
    await registry.create_service(service())
    old = await registry.create_function(function())
    outcomes = await asyncio.gather(
        *(registry.update_function(function(timeout=n + 10), based_on=old) for n in range(10)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Function) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, ConcurrentUpdate) for outcome in outcomes) == 9


async def test_listeners_hear_of_changes_and_not_of_refusals(registry: Registry) -> None:
    heard: list[str] = []

    def called(services: frozenset[str]) -> None:
        heard.append(f"called {sorted(services)}")

    async def waited_for(services: frozenset[str]) -> None:
        heard.append(f"waited for {sorted(services)}")

    registry.subscribe(called)
    registry.subscribe(waited_for)
    await registry.create_service(service())
    assert heard == ["called ['s']", "waited for ['s']"]
    await refused(registry.create_service(service()), "ServiceAlreadyExists", AlreadyExists)
    await registry.get_service("s")
    assert len(heard) == 2


async def test_routes_are_json_of_the_shared_messages(registry_world: RegistryWorld) -> None:
    await registry_world.registry.create_service(service())
    await registry_world.registry.create_function(function())
    for value in (await registry_world.routes()).values():
        assert json.loads(value) == json.loads(FunctionRoute.from_json(value).to_json())


async def test_listeners_hear_in_which_services_something_has_changed(registry: Registry) -> None:
    heard: list[frozenset[str]] = []
    registry.subscribe(heard.append)
    of = QualifiedFunction(service_name="s", qualifier="LATEST", function_name="f")
    await registry.create_service(service())
    await registry.create_function(function())
    await registry.publish_version("s", None)
    await registry.create_alias("s", alias("prod", "1"))
    await registry.put_provision(of, ProvisionConfig(target=1))
    await registry.put_setting(Setting.ON_DEMAND, of, {"maximumInstanceCount": 3})
    await registry.delete_setting(Setting.ON_DEMAND, of)
    await registry.delete_provision(of)
    await registry.delete_alias("s", "prod")
    assert heard == [frozenset({"s"})] * 9
    domain = CustomDomain(domain_name="example.com", protocol="HTTP")
    await registry.create_domain(domain)
    assert heard[9:] == [frozenset()], "a domain is of no service"
