"""What is set for functions beside provision configs, custom domains and closed functions: over every registry."""

from __future__ import annotations

import json

from control_plane.errors import InvalidArgument, RequestError, StokeError
from control_plane.listing import Query
from control_plane.model import CustomDomain, Setting
from provision.config import ProvisionConfig
from runtime.contract import domain_field, function_field
from tests.support.registry import RegistryWorld, alias, function, refused, service, target

THREE = {"maximumInstanceCount": 3}


async def world_with_function(world: RegistryWorld) -> None:
    await world.registry.create_service(service())
    await world.registry.create_function(function())


async def on_demand_max(world: RegistryWorld, version: str = "LATEST") -> int:
    routes = await world.routes()
    return int(json.loads(routes[function_field("s", version, "f")])["on_demand_instances_max"])


def domain(path: str = "/*", function_name: str = "f") -> CustomDomain:
    route = {"path": path, "serviceName": "s", "functionName": function_name}
    return CustomDomain.model_validate({"domainName": "www.example.com", "routeConfig": {"routes": [route]}})


async def test_a_setting_is_given_back_with_its_times_until_it_is_deleted(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await world_with_function(registry_world)
    put = await registry.put_setting(Setting.ASYNC_INVOKE, target(), {"maxAsyncRetryAttempts": 2})
    assert put["createdTime"] == put["lastModifiedTime"] == "2021-11-08T06:07:00Z"
    registry_world.clock["utc_s"] += 60
    again = await registry.put_setting(Setting.ASYNC_INVOKE, target(), {"maxAsyncRetryAttempts": 3})
    assert (again["createdTime"], again["lastModifiedTime"]) == ("2021-11-08T06:07:00Z", "2021-11-08T06:08:00Z")
    assert await registry.get_setting(Setting.ASYNC_INVOKE, target()) == again
    assert (await registry.list_settings(Setting.ASYNC_INVOKE, Query())).items == ((target(), again),)
    assert (await registry.list_settings(Setting.ASYNC_INVOKE, Query(), "other")).items == ()
    await registry.delete_setting(Setting.ASYNC_INVOKE, target())
    await registry.delete_setting(Setting.ASYNC_INVOKE, target())
    assert await registry.get_setting(Setting.ASYNC_INVOKE, target()) is None


async def test_a_setting_needs_its_function_and_its_qualifier(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await world_with_function(registry_world)
    await refused(registry.put_setting(Setting.ON_DEMAND, target("nobody"), THREE), "AliasNotFound", StokeError)
    await registry.publish_version("s", None)
    await refused(registry.put_setting(Setting.ON_DEMAND, target("1"), THREE), "InvalidArgument", InvalidArgument)


async def test_settings_go_with_their_function(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await world_with_function(registry_world)
    await registry.put_setting(Setting.CONCURRENCY, target(), {"reservedConcurrency": 3})
    await registry.put_setting(Setting.ON_DEMAND, target(), THREE)
    await registry.delete_function("s", "f")
    await registry.create_function(function())
    assert await registry.get_setting(Setting.CONCURRENCY, target()) is None
    assert (await on_demand_max(registry_world), await registry.on_demand_max("s", "LATEST", "f")) == (100, None)


async def test_an_on_demand_config_is_in_the_route_and_stays_through_updates(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await world_with_function(registry_world)
    await registry.put_setting(Setting.ON_DEMAND, target(), THREE)
    assert (await on_demand_max(registry_world), await registry.on_demand_max("s", "LATEST", "f")) == (3, 3)
    await registry.update_function(function(timeout=9))
    await registry.update_service(service(logConfig={"project": "p"}))
    assert await on_demand_max(registry_world) == 3
    await registry.update_function(function(disableOndemand=True))
    assert await on_demand_max(registry_world) == 0
    await registry.update_function(function())
    await registry.delete_setting(Setting.ON_DEMAND, target())
    assert await on_demand_max(registry_world) == 100


async def test_an_on_demand_config_follows_its_alias_to_another_version(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await world_with_function(registry_world)
    await registry.publish_version("s", None)
    await registry.publish_version("s", None)
    await registry.create_alias("s", alias("prod", "1"))
    await registry.put_setting(Setting.ON_DEMAND, target("prod"), THREE)
    assert [await on_demand_max(registry_world, version) for version in ("LATEST", "1", "2")] == [100, 3, 100]
    await registry.update_alias("s", alias("prod", "2"))
    assert [await on_demand_max(registry_world, version) for version in ("LATEST", "1", "2")] == [100, 100, 3]
    await registry.create_alias("s", alias("also", "2"))
    await registry.put_setting(Setting.ON_DEMAND, target("also"), {"maximumInstanceCount": 2})
    assert (await on_demand_max(registry_world, "2"), await registry.on_demand_max("s", "2", "f")) == (2, 2)
    await registry.delete_alias("s", "also")
    await registry.delete_alias("s", "prod")
    assert await on_demand_max(registry_world, "2") == 100
    assert (await registry.list_settings(Setting.ON_DEMAND, Query())).items == ()


async def test_a_scaling_config_is_a_provision_config_and_neither_is_put_over_the_other(
    registry_world: RegistryWorld,
) -> None:
    registry = registry_world.registry
    await world_with_function(registry_world)
    two = ProvisionConfig(target=2)
    await registry.put_scaling(target(), {"minInstances": 2}, two)
    assert await registry.get_provision(target()) == two
    assert await registry.get_setting(Setting.SCALING, target()) == {"minInstances": 2}
    await refused(registry.put_provision(target(), two), "ResidentScalingConfigExists", RequestError)
    await registry.put_scaling(target(), {"minInstances": 3}, ProvisionConfig(target=3))
    await registry.delete_provision(target())
    await registry.delete_provision(target())
    assert await registry.get_provision(target()) is None
    assert await registry.get_setting(Setting.SCALING, target()) is None
    await registry.put_provision(target(), two)
    await refused(registry.put_scaling(target(), {"minInstances": 2}, two), "ProvisionConfigExist", RequestError)


async def test_a_closed_function_is_closed_in_all_its_versions_and_keeps_its_revision(
    registry_world: RegistryWorld,
) -> None:
    registry = registry_world.registry
    await world_with_function(registry_world)
    await registry.publish_version("s", None)
    before = await registry.get_function("s", "f", "1")
    closed = await registry.restrict_function("s", "f", {"disable": True, "reason": "maintenance"})
    assert closed.invocation_restriction == {"disable": True, "reason": "maintenance"}
    for version in ("LATEST", "1"):
        route = json.loads((await registry_world.routes())[function_field("s", version, "f")])
        assert (route["is_disabled"], route["disabled_reason"]) == (True, "maintenance")
    assert (await registry.get_function("s", "f", "1")).revision == before.revision
    assert (await registry.restrict_function("s", "f", None)).invocation_restriction is None
    assert "true" not in (await registry_world.routes())[function_field("s", "1", "f")]
    await refused(registry.restrict_function("s", "nobody", None), "FunctionNotFound", StokeError)


async def test_every_function_is_listed_by_its_name_in_fc_3(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await world_with_function(registry_world)
    await registry.create_service(service("g"))
    await registry.create_function(function("g", "g"))
    first = await registry.list_every_function(Query(limit=1))
    assert [f.function_name for f in first.items] == ["g"]
    assert first.next_token == "s$f"
    second = await registry.list_every_function(Query(limit=1, next_token=first.next_token))
    assert ([f.function_name for f in second.items], second.next_token) == (["f"], "")
    await registry.delete_function("g", "g")
    assert [f.function_name for f in (await registry.list_every_function(Query())).items] == ["f"]


async def test_a_domain_is_routed_while_it_is_there(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await world_with_function(registry_world)
    await registry.create_domain(domain())
    field = domain_field("www.example.com")
    paths = json.loads((await registry_world.routes())[field])["paths"]
    assert paths == [{"path": "/*", "service": "s", "function": "f", "qualifier": "LATEST", "methods": []}]
    await refused(registry.create_domain(domain()), "DomainNameAlreadyExists", RequestError)
    await registry.update_domain(domain("/a"))
    assert (await registry.get_domain("www.example.com")).route_config.routes[0].path == "/a"
    assert len((await registry.list_domains(Query())).items) == 1
    await registry.delete_domain("www.example.com")
    assert field not in await registry_world.routes()
    await refused(registry.get_domain("www.example.com"), "DomainNameNotFound", RequestError)


async def test_a_domain_leads_to_functions_that_are_there_by_each_path_once(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await world_with_function(registry_world)
    await refused(registry.create_domain(domain(function_name="nobody")), "FunctionNotFound", StokeError)
    twice = domain().route_config.routes * 2
    double = domain().model_copy(update={"route_config": domain().route_config.model_copy(update={"routes": twice})})
    assert "'/*' is given twice" in await refused(registry.create_domain(double), "InvalidArgument", InvalidArgument)
    assert "after a slash" in await refused(registry.create_domain(domain("/a*")), "InvalidArgument", InvalidArgument)
