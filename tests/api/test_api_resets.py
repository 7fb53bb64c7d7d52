"""A field that is given as null, or as nothing, is reset to its default; one that is left out is kept."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.contract import API_VERSION_3, API_VERSIONS
from tests.api.conftest import FUNCTION, TRIGGER, Api


async def put(api: Api, path: str, **fields: Any) -> dict[str, Any]:
    changed: dict[str, Any] = await api.made("PUT", path, fields)
    assert await api.made("GET", path) == changed
    return changed


async def test_a_services_fields_are_reset_one_by_one(either: Api) -> None:
    given = {"description": "d", "role": "r", "internetAccess": False, "logConfig": {"project": "p"}, "vpcConfig": {}}
    before = await either.made("POST", "/services", {"serviceName": "s", **given})
    after = await put(either, "/services/s", role=None)
    assert after == before | {"role": None}
    after = await put(either, "/services/s", internetAccess=None, logConfig=None, vpcConfig=None, serviceName=None)
    assert (after["internetAccess"], after["logConfig"], after["description"]) == (True, None, "d")
    assert "vpcConfig" not in after, "what Stoke has no use for is gone"


@pytest.mark.parametrize(
    ("field", "value", "default"),
    [
        ("memorySize", 1024, 512),
        ("timeout", 60, 3),
        ("instanceConcurrency", 8, 1),
        ("caPort", 8080, 9000),
        ("initializationTimeout", 30, 3),
        ("instanceType", "g1", "e1"),
        ("gpuMemorySize", 4096, None),
        ("initializer", "i", None),
        ("environmentVariables", {"A": "1"}, None),
        ("customHealthCheckConfig", {"httpGetUrl": "/ok"}, None),
        ("instanceLifecycleConfig", {"preStop": {"handler": "x"}}, None),
        ("customRuntimeConfig", {"command": ["run"]}, None),
        ("disableOndemand", True, None),
        ("retryable", True, "gone"),
    ],
)
async def test_a_functions_fields_are_reset_one_by_one(either: Api, field: str, value: Any, default: Any) -> None:
    await either.function(description="d", **{field: value})
    kept = await put(either, "/services/s/functions/f", cpu=1.0)
    assert kept.get(field, default) != default
    after = await put(either, "/services/s/functions/f", **{field: None})
    assert after.get(field, "gone") == default
    assert (after["description"], after["cpu"]) == ("d", 1.0)


async def test_nothing_given_for_a_group_or_a_text_that_needs_some_resets_it(either: Api) -> None:
    await either.function(customHealthCheckConfig={"httpGetUrl": "/ok"}, instanceType="g1", description="d")
    after = await put(
        either, "/services/s/functions/f", customHealthCheckConfig={}, instanceType="", description="", handler=""
    )
    assert (after["customHealthCheckConfig"], after["instanceType"]) == (None, "e1")
    assert (after["description"], after["handler"]) == ("", ""), "a text that may be empty is"


async def test_what_has_no_default_is_kept(either: Api) -> None:
    await either.function()
    before = await either.made("GET", "/services/s/functions/f")
    assert await put(either, "/services/s/functions/f", runtime=None, functionName=None, code=None) == before
    container = {"runtime": "custom-container", "customContainerConfig": {"image": "i"}}
    await put(either, "/services/s/functions/f", **container)
    refused = await either.refused("PUT", "/services/s/functions/f", {"customContainerConfig": None})
    assert refused[:2] == (400, "InvalidArgument"), "one field may need another"


async def test_a_triggers_fields_are_reset(either: Api) -> None:
    await either.function()
    await either.made("POST", "/services/s/versions", {})
    await either.made("POST", "/services/s/functions/f/triggers", TRIGGER | {"qualifier": "1", "description": "d"})
    path = "/services/s/functions/f/triggers/t"
    before = await put(either, path, invocationRole="r")
    after = await put(either, path, description=None, triggerConfig=None, triggerType=None)
    assert after == before | {"description": None}
    for nothing in (None, ""):
        await put(either, path, qualifier="1")
        assert (await put(either, path, qualifier=nothing))["qualifier"] == "LATEST"


async def test_an_aliass_fields_are_reset(either: Api) -> None:
    await either.function()
    for _ in range(2):
        await either.made("POST", "/services/s/versions", {})
    weights = {"additionalVersionWeight": {"2": 0.5}, "description": "d", "resolvePolicy": "Random"}
    before = await either.made("POST", "/services/s/aliases", {"aliasName": "prod", "versionId": "1"} | weights)
    after = await put(either, "/services/s/aliases/prod", additionalVersionWeight=None, versionId=None)
    assert after == before | {"additionalVersionWeight": None}
    after = await put(either, "/services/s/aliases/prod", description=None, resolvePolicy=None)
    assert (after["description"], after["resolvePolicy"], after["versionId"]) == (None, None, "1")


async def test_a_domains_fields_are_reset(either: Api) -> None:
    await either.function()
    routes = {"routes": [{"path": "/*", "serviceName": "s", "functionName": "f"}]}
    body = {"domainName": "www.example.com", "protocol": "HTTP,HTTPS", "routeConfig": routes, "certConfig": {"a": "b"}}
    before = await either.made("POST", "/custom-domains", body)
    path = "/custom-domains/www.example.com"
    assert await put(either, path, protocol=None) == before | {"protocol": "HTTP"}
    await put(either, path, protocol="HTTPS")
    assert (await put(either, path, protocol=""))["protocol"] == "HTTP"
    after = await put(either, path, certConfig=None)
    assert set(after) == set(before) - {"certConfig"}
    assert after["routeConfig"] == before["routeConfig"]
    assert (await put(either, path, routeConfig=None))["routeConfig"] == {"routes": []}


async def test_an_async_config_is_replaced_so_null_and_left_out_are_the_same(either: Api) -> None:
    await either.function()
    path = "/services/s/functions/f/async-invoke-config"
    await either.made("PUT", path, {"maxAsyncRetryAttempts": 1, "statefulInvocation": True})
    after = await put(either, path, maxAsyncRetryAttempts=None, maxAsyncEventAgeInSeconds=60)
    assert after["maxAsyncEventAgeInSeconds"] == 60
    assert not {"maxAsyncRetryAttempts", "statefulInvocation"} & set(after)


GROUPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gpuConfig": ({"gpuType": "fc.gpu.tesla.1", "gpuMemorySize": 4096}, {}),
    "customRuntimeConfig": (
        {"command": ["run"], "port": 8080, "healthCheckConfig": {"httpGetUrl": "/ok"}},
        {"customRuntimeConfig": {"port": 9000}},
    ),
    "instanceLifecycleConfig": (
        {"initializer": {"handler": "i", "timeout": 9}, "preStop": {"handler": "p", "timeout": 9}},
        {},
    ),
    "environmentVariables": ({"A": "1"}, {}),
    "role": ("r", {}),  # type: ignore[dict-item]
    "logConfig": ({"project": "p"}, {}),
    "vpcConfig": ({"vpcId": "v"}, {}),
    "internetAccess": (False, {"internetAccess": True}),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("field", GROUPS)
async def test_fields_and_groups_of_fc_3_are_reset_one_by_one(api: Api, field: str) -> None:
    api.version = API_VERSION_3
    value, default = GROUPS[field]
    plain = await api.made("POST", "/functions", FUNCTION)
    set_ = await put(api, "/functions/f", **{field: value})
    assert set_ != plain
    assert (await put(api, "/functions/f", timeout=9)) == set_ | {"timeout": 9}, "what is left out is kept"
    after = await put(api, "/functions/f", **{field: None})
    assert after == plain | default | {"timeout": 9}


async def test_a_group_of_fc_3_is_replaced_as_a_whole(api: Api) -> None:
    api.version = API_VERSION_3
    container = {"image": "i", "port": 8080, "healthCheckConfig": {"httpGetUrl": "/ok"}, "command": ["a"]}
    new = FUNCTION | {"runtime": "custom-container", "customContainerConfig": container}
    await api.made("POST", "/functions", new)
    after = await put(api, "/functions/f", customContainerConfig={"image": "j"}, customRuntimeConfig={})
    assert after["customContainerConfig"] == {"image": "j", "port": 9000}
    after = await put(api, "/functions/f", runtime="custom", customContainerConfig={}, customRuntimeConfig={"port": 80})
    assert (after.get("customContainerConfig"), after["customRuntimeConfig"]) == (None, {"port": 80})


async def test_a_null_in_one_tree_is_seen_in_the_others(api: Api) -> None:
    api.version = API_VERSION_3
    await api.made("POST", "/functions", FUNCTION | {"description": "d", "timeout": 60})
    await put(api, "/functions/f", description=None)
    for api.version in API_VERSIONS:
        await put(api, "/services/f/functions/f", timeout=None)
        found = await api.made("GET", "/services/f/functions/f")
        assert (found["description"], found["timeout"]) == (None, 3)
