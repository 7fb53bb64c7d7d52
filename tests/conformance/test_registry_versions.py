"""What `ports.Registry` promises of versions, aliases, triggers and provision configs."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.errors import AlreadyExists, InUse, InvalidArgument, NotFound
from control_plane.listing import Query
from control_plane.ports import Registry
from provision.config import ProvisionConfig
from tests.support.registry import alias, function, refused, service, target, trigger


async def test_a_version_keeps_the_service_and_its_functions_as_they_were(registry: Registry) -> None:
    await registry.create_service(service(description="old"))
    await registry.create_function(function("f", memorySize=1024))
    await registry.create_function(function("g"))
    version = await registry.publish_version("s", "first")
    assert (version.version_id, version.description) == ("1", "first")
    await registry.update_service(service(description="new"))
    await registry.update_function(function("f", memorySize=2048))
    await registry.delete_function("s", "g")
    await registry.create_function(function("h"))
    assert (await registry.get_service("s", "1")).description == "old"
    assert (await registry.get_function("s", "f", "1")).memory_size == 1024
    frozen = (await registry.list_functions("s", Query(), "1")).items
    assert [item.function_name for item in frozen] == ["f", "g"]
    assert "version 1" in await refused(registry.get_function("s", "h", "1"), "FunctionNotFound", NotFound)


async def test_version_ids_count_from_one_and_are_not_used_again(registry: Registry) -> None:
    await registry.create_service(service())
    assert [(await registry.publish_version("s", None)).version_id for _ in range(3)] == ["1", "2", "3"]
    await registry.delete_version("s", "3")
    assert (await registry.publish_version("s", None)).version_id == "4"


async def test_versions_are_listed_by_number_newest_first(registry: Registry) -> None:
    await registry.create_service(service())
    for _ in range(11):
        await registry.publish_version("s", None)

    async def pages(query: Query, *, backward: bool) -> list[list[str]]:
        listed = []
        while True:
            page = await registry.list_versions("s", query, backward=backward)
            listed.append([item.version_id for item in page.items])
            if not page.next_token:
                return listed
            query = Query(start_key=query.start_key, limit=query.limit, next_token=page.next_token)

    newest = ["11", "10", "9", "8", "7", "6", "5", "4", "3", "2", "1"]
    assert await pages(Query(limit=20), backward=True) == [newest]
    assert await pages(Query(limit=5), backward=True) == [newest[:5], newest[5:10], newest[10:]]
    assert await pages(Query(limit=8), backward=False) == [newest[:2:-1], newest[2::-1]]
    assert await pages(Query(start_key="9", limit=5), backward=True) == [newest[2:7], newest[7:]]
    assert await pages(Query(start_key="9"), backward=False) == [["9", "10", "11"]]


async def test_a_version_that_an_alias_names_is_not_deleted(registry: Registry) -> None:
    await registry.create_service(service())
    for _ in range(3):
        await registry.publish_version("s", None)
    await registry.create_alias("s", alias("prod", "1", additionalVersionWeight={"2": 0.05}))
    for version_id in ("1", "2"):
        assert "alias 'prod'" in await refused(registry.delete_version("s", version_id), "VersionInUse", InUse)
    await registry.delete_version("s", "3")
    await registry.update_alias("s", alias("prod", "1"))
    await registry.delete_version("s", "2")


async def test_a_qualifier_leads_to_the_version_that_it_names(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.create_function(function(memorySize=1024))
    await registry.publish_version("s", None)
    await registry.update_function(function(memorySize=2048))
    created = await registry.create_alias("s", alias("prod", "1", description="d"))
    assert await registry.get_alias("s", "prod") == created
    assert [await registry.resolve_version("s", q) for q in ("LATEST", "1", "prod")] == ["LATEST", "1", "1"]
    memory = [(await registry.get_function("s", "f", q)).memory_size for q in ("LATEST", "1", "prod")]
    assert memory == [2048, 1024, 1024]
    await registry.publish_version("s", None)
    await registry.update_alias("s", alias("prod", "2"))
    assert (await registry.get_function("s", "f", "prod")).memory_size == 2048
    await refused(registry.create_alias("s", alias("prod", "1")), "AliasAlreadyExists", AlreadyExists)
    assert [item.alias_name for item in (await registry.list_aliases("s", Query())).items] == ["prod"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"aliasName": "LATEST"}, "aliasName is 'LATEST'"),
        ({"additionalVersionWeight": {"1": 0.5}}, "must be another version than versionId"),
        ({"additionalVersionWeight": {"2": 0.6, "3": 0.5}}, "additionalVersionWeight sums to 1.1: must be at most 1"),
    ],
)
async def test_an_alias_that_makes_no_sense_is_refused(registry: Registry, values: dict[str, Any], says: str) -> None:
    await registry.create_service(service())
    for _ in range(3):
        await registry.publish_version("s", None)
    assert says in await refused(registry.create_alias("s", alias(**values)), "InvalidArgument", InvalidArgument)
    assert (await registry.list_aliases("s", Query())).items == ()


async def test_a_deleted_alias_takes_its_provision_configs_along(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.create_function(function())
    await registry.publish_version("s", None)
    for name in ("prod", "prod-2"):
        await registry.create_alias("s", alias(name))
        await registry.put_provision(target(name), ProvisionConfig(target=1))
    await registry.delete_alias("s", "prod")
    assert [str(of) for of, _ in (await registry.list_provision(Query())).items] == ["s.prod-2/f"]


async def test_a_trigger_has_a_subdomain_of_its_own_that_is_a_host_name_label(registry: Registry) -> None:
    long_name = "Long_function_name-" + "x" * 45
    await registry.create_service(service("My_service"))
    for name in ("f", long_name):
        await registry.create_function(function(name, "My_service"))
    await registry.publish_version("My_service", None)
    first = await registry.create_trigger("My_service", "f", trigger("a"))
    second = await registry.create_trigger("My_service", "f", trigger("b", qualifier="1"))
    third = await registry.create_trigger("My_service", long_name, trigger("a"))
    labels = {item.subdomain for item in (first, second, third)}
    assert len(labels) == 3
    for label in labels:
        assert len(label) <= 63
        assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert not label.startswith("-")
    assert first.subdomain.startswith("f-my-service-")
    updated = await registry.update_trigger("My_service", "f", trigger("a", description="new"))
    assert (updated.subdomain, updated.trigger_id) == (first.subdomain, first.trigger_id)
    await registry.delete_trigger("My_service", "f", "a")
    assert (await registry.create_trigger("My_service", "f", trigger("a"))).subdomain == first.subdomain


async def test_a_qualifier_has_at_most_one_trigger(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.create_function(function())
    await registry.publish_version("s", None)
    await registry.create_trigger("s", "f", trigger("a"))
    for again in (trigger("a"), trigger("b"), trigger("b", qualifier=None)):
        await refused(registry.create_trigger("s", "f", again), "TriggerAlreadyExists", AlreadyExists)
    await registry.create_trigger("s", "f", trigger("b", qualifier="1"))
    moved = registry.update_trigger("s", "f", trigger("b", qualifier="LATEST"))
    await refused(moved, "TriggerAlreadyExists", AlreadyExists)
    await refused(registry.create_trigger("s", "f", trigger("c", qualifier="prod")), "AliasNotFound", NotFound)
    assert [item.trigger_name for item in (await registry.list_triggers("s", "f", Query())).items] == ["a", "b"]


async def test_a_provision_config_is_read_back_and_replaced(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.create_function(function())
    assert await registry.get_provision(target()) is None
    policy = {
        "name": "p",
        "metricType": "ProvisionedConcurrencyUtilization",
        "metricTarget": 0.3,
        "minCapacity": 2,
        "maxCapacity": 30,
        "startTime": "2023-01-01T16:00:00.000Z",
        "endTime": "2024-01-01T16:00:00.000Z",
    }
    config = ProvisionConfig.model_validate({"target": 2, "targetTrackingPolicies": [policy]})
    await registry.put_provision(target(), config)
    assert await registry.get_provision(target()) == config
    await registry.put_provision(target(), ProvisionConfig(target=0))
    assert await registry.get_provision(target()) == ProvisionConfig(target=0)


async def test_a_bare_version_is_not_provisioned(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.create_function(function())
    await registry.publish_version("s", None)
    put = registry.put_provision(target("1"), ProvisionConfig(target=1))
    message = await refused(put, "InvalidArgument", InvalidArgument)
    assert message.startswith("qualifier is '1': must be LATEST or an alias")


async def test_a_function_missing_from_the_aliased_version_is_not_provisioned(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.publish_version("s", None)
    await registry.create_alias("s", alias())
    await registry.create_function(function())
    put = registry.put_provision(target("prod"), ProvisionConfig(target=1))
    await refused(put, "FunctionNotFound", NotFound)


async def test_provision_configs_are_listed_by_service_and_qualifier(registry: Registry) -> None:
    for name in ("a", "a-b"):
        await registry.create_service(service(name))
        for function_name in ("f", "g"):
            await registry.create_function(function(function_name, name))
        await registry.publish_version(name, None)
        await registry.create_alias(name, alias("prod"))
        for qualifier in ("LATEST", "prod"):
            await registry.put_provision(target(qualifier, "f", name), ProvisionConfig(target=1))
    await registry.put_provision(target("LATEST", "g", "a"), ProvisionConfig(target=5))

    async def listed(query: Query, service_name: str = "", qualifier: str = "") -> list[str]:
        found: list[str] = []
        while True:
            page = await registry.list_provision(query, service_name, qualifier)
            found += [str(of) for of, _ in page.items]
            if not page.next_token:
                return found
            query = Query(limit=query.limit, next_token=page.next_token)

    every = ["a-b.LATEST/f", "a-b.prod/f", "a.LATEST/f", "a.LATEST/g", "a.prod/f"]
    for limit in (1, 2, 100):
        assert sorted(await listed(Query(limit=limit))) == sorted(every)
        assert await listed(Query(limit=limit), "a") == ["a.LATEST/f", "a.LATEST/g", "a.prod/f"]
        assert await listed(Query(limit=limit), "a", "LATEST") == ["a.LATEST/f", "a.LATEST/g"]
    await refused(registry.list_provision(Query(), "", "prod"), "InvalidArgument", InvalidArgument)
