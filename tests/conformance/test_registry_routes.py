"""What gateways are told of a change, over every implementation of `ports.Registry`."""

from __future__ import annotations

from control_plane.errors import AlreadyExists, NotFound
from runtime.contract import AliasRoute, FunctionRoute, TriggerRoute, alias_field, function_field, trigger_field
from tests.support.registry import RegistryWorld, alias, function, refused, service, trigger


async def test_a_function_route_has_what_a_gateway_needs(registry_world: RegistryWorld) -> None:
    log_config = {"project": "p", "logstore": "l"}
    await registry_world.registry.create_service(service(logConfig=log_config))
    created = await registry_world.registry.create_function(
        function(handler="app.main", instanceConcurrency=4, timeout=60, memorySize=1024, initializer="i")
    )
    route = FunctionRoute.from_json((await registry_world.routes())[function_field("s", "LATEST", "f")])
    assert (route.service, route.function, route.version) == ("s", "f", "LATEST")
    assert (route.revision, route.instance_concurrency, route.timeout_s) == (created.revision, 4, 60.0)
    assert route.retryable is False
    assert route.headers == {
        "x-fc-function-name": "f",
        "x-fc-function-handler": "app.main",
        "x-fc-function-memory": "1024",
        "x-fc-function-timeout": "60",
        "x-fc-function-initializer": "i",
        "x-fc-initialization-timeout": "3",
        "x-fc-service-name": "s",
        "x-fc-service-logproject": "p",
        "x-fc-service-logstore": "l",
        "x-fc-region": "cn-test",
        "x-fc-account-id": "42",
        "x-fc-version-id": "LATEST",
        "x-fc-access-key-id": "",
        "x-fc-access-key-secret": "",
        "x-fc-security-token": "",
    }


async def test_a_function_may_say_that_it_can_be_run_twice(registry_world: RegistryWorld) -> None:
    await registry_world.registry.create_service(service())
    await registry_world.registry.create_function(function(retryable=True))
    assert (
        FunctionRoute.from_json((await registry_world.routes())[function_field("s", "LATEST", "f")]).retryable is True
    )


async def test_another_log_project_reaches_the_routes_of_the_functions(registry_world: RegistryWorld) -> None:
    await registry_world.registry.create_service(service())
    await registry_world.registry.create_function(function())
    await registry_world.registry.publish_version("s", None)
    await registry_world.registry.update_service(service(logConfig={"project": "new"}))
    routes = await registry_world.routes()
    told = [FunctionRoute.from_json(routes[function_field("s", v, "f")]).headers for v in ("LATEST", "1")]
    assert [headers["x-fc-service-logproject"] for headers in told] == ["new", ""]


async def test_routes_follow_what_is_created_changed_and_deleted(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await registry.create_service(service())
    await registry.create_function(function())
    await registry.publish_version("s", None)
    await registry.publish_version("s", None)
    await registry.create_alias("s", alias("prod", "1", additionalVersionWeight={"2": 0.25}))
    await registry.create_trigger("s", "f", trigger(qualifier="prod"))
    routes = await registry_world.routes()
    functions = [function_field("s", version, "f") for version in ("LATEST", "1", "2")]
    assert set(routes) == {*functions, alias_field("s", "prod"), trigger_field("s", "f", "t")}
    route = AliasRoute.from_json(routes[alias_field("s", "prod")])
    assert route == AliasRoute("s", "prod", "1", {"2": 0.25})
    opened = TriggerRoute.from_json(routes[trigger_field("s", "f", "t")])
    label = (await registry.get_trigger("s", "f", "t")).subdomain
    assert opened == TriggerRoute("s", "f", "prod", "t", "anonymous", ["GET", "POST"], label)

    await registry.delete_trigger("s", "f", "t")
    await registry.delete_alias("s", "prod")
    await registry.delete_version("s", "1")
    assert set(await registry_world.routes()) == {functions[0], functions[2]}
    await registry.delete_function("s", "f")
    await registry.delete_version("s", "2")
    assert await registry_world.routes() == {}


async def test_gateways_are_told_of_rules_limits_priorities_and_sessions(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await registry.create_service(service())
    before = (await registry.create_function(function())).revision
    limits = {"requestsPerSecond": 50, "requestsBurst": 100, "queueWaitSeconds": 0.5}
    limited = await registry.update_function(function("f", stoke=limits))
    assert limited.revision == before, "what instances do not see starts no new ones"
    for _ in range(2):
        await registry.publish_version("s", None)
    policy = {"policyItems": [{"type": "Header", "key": "uid", "operator": "=", "value": "7"}]}
    rules = {"additionalVersionWeight": {"2": 0.0}, "routePolicy": policy}
    await registry.create_alias("s", alias("content", "1", resolvePolicy="Content", **rules))
    await registry.create_alias("s", alias("random", "1", resolvePolicy="Random", **rules))
    own = {"priority": 8, "sessionAffinity": {"type": "Cookie", "key": "sid"}}
    config = {"authType": "anonymous", "methods": ["GET"], "stoke": own}
    await registry.create_trigger("s", "f", trigger(triggerConfig=config))
    routes = await registry_world.routes()
    told = FunctionRoute.from_json(routes[function_field("s", "1", "f")])
    assert (told.requests_per_s, told.requests_burst, told.queue_wait_s_max) == (50.0, 100.0, 0.5)
    policies = [AliasRoute.from_json(routes[alias_field("s", name)]).route_policy for name in ("content", "random")]
    assert policies == [policy, {}]
    opened = TriggerRoute.from_json(routes[trigger_field("s", "f", "t")])
    assert (opened.priority, opened.session_by, opened.session_name) == (8, "Cookie", "sid")


async def test_the_feed_leads_to_the_same_routes(registry_world: RegistryWorld) -> None:
    registry = registry_world.registry
    await registry.create_service(service())
    for name in ("f", "g"):
        await registry.create_function(function(name))
    await registry.publish_version("s", None)
    await registry.create_alias("s", alias())
    await registry.update_function(function("f", timeout=9))
    await registry.delete_function("s", "g")
    followed = dict(await registry_world.feed())  # the last word on a field counts
    assert {route_field: value for route_field, value in followed.items() if value} == await registry_world.routes()
    assert followed[function_field("s", "LATEST", "g")] == ""


async def test_what_is_refused_changes_no_route(registry_world: RegistryWorld) -> None:
    await registry_world.registry.create_service(service())
    await registry_world.registry.create_function(function())
    before = await registry_world.feed()
    await refused(registry_world.registry.create_function(function(timeout=9)), "FunctionAlreadyExists", AlreadyExists)
    await refused(registry_world.registry.create_alias("s", alias()), "VersionNotFound", NotFound)
    assert await registry_world.feed() == before
