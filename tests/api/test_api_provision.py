"""Provision configs, instances and the questions that FC's clients ask on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from control_plane.fleet_views import ProvisionStatus
from control_plane.testing import instance_view
from runtime.contract import API_VERSION_3
from tests.api.conftest import FUNCTION, Api

POLICY = {
    "name": "scaling-policy-demo",
    "startTime": "2023-01-01T16:00:00.000Z",
    "endTime": "2024-01-01T16:00:00.000Z",
    "metricType": "ProvisionedConcurrencyUtilization",
    "metricTarget": 0.3,
    "minCapacity": 2,
    "maxCapacity": 30,
}


@pytest.fixture(params=["path", "query"])
def at(request: pytest.FixtureRequest) -> Any:
    """Where the qualifier stands: 2016-08-15 has it in the path, 2021-04-06 in the query; both work in both."""

    def config(qualifier: str, function: str = "f") -> str:
        path = f"/services/s.{qualifier}/functions/{function}/provision-config"
        if request.param == "query":
            path = f"/services/s/functions/{function}/provision-config?qualifier={qualifier}"
        return path

    return config


async def test_a_provision_config_is_put_and_read(either: Api, at: Any) -> None:
    await either.function()
    put = await either.made("PUT", at("LATEST"), {"target": 2, "targetTrackingPolicies": [POLICY]})
    assert put["resource"] == "42#s#LATEST#f"
    assert (put["target"], put["current"], put["currentError"]) == (2, 2, "")
    assert (put["alwaysAllocateCPU"], put["alwaysAllocateGPU"], put["scheduledActions"]) == (True, True, [])
    (policy,) = put["targetTrackingPolicies"]
    assert {key: policy[key] for key in POLICY} == POLICY
    assert await either.made("GET", at("LATEST")) == put
    assert await either.made("GET", "/provision-configs") == {"provisionConfigs": [put]}


async def test_the_target_of_a_reply_is_what_is_wanted_now(either: Api, at: Any) -> None:
    await either.function()
    said = ProvisionStatus(target=7, current=3, starting=4, current_error="no card")
    either.fleet.statuses["s.LATEST/f"] = said
    put = await either.made("PUT", at("LATEST"), {"target": 2})
    assert (put["target"], put["current"], put["currentError"]) == (7, 3, "no card")


async def test_nothing_configured_reads_as_zeros(either: Api, at: Any) -> None:
    await either.function()
    answer = await either.made("GET", at("LATEST"))
    assert (answer["resource"], answer["target"], answer["current"]) == ("42#s#LATEST#f", 0, 0)
    assert (answer["scheduledActions"], answer["targetTrackingPolicies"]) == ([], [])
    assert await either.made("GET", "/provision-configs") == {"provisionConfigs": []}


async def test_what_cannot_be_provisioned_is_said(either: Api, at: Any) -> None:
    await either.function()
    await either.made("POST", "/services/s/versions", {})
    status, code, message = await either.refused("PUT", at("1"), {"target": 1})
    assert (status, code) == (400, "InvalidArgument")
    assert message.startswith("qualifier is '1': must be LATEST or an alias")
    assert (await either.refused("PUT", at("prod"), {"target": 1}))[:2] == (404, "AliasNotFound")
    assert (await either.refused("PUT", at("LATEST", "g"), {"target": 1}))[:2] == (404, "FunctionNotFound")
    assert (await either.refused("GET", at("LATEST", "g")))[:2] == (404, "FunctionNotFound")


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"target": "two"}, "target"),
        ({"target": -1}, "target"),
        ({"target": 10_001}, "target"),
        ({"target": 1, "targetTrackingPolicies": [POLICY | {"metricTarget": 0}]}, "metricTarget"),
        ({"target": 1, "targetTrackingPolicies": [POLICY | {"metricTarget": 1.5}]}, "metricTarget"),
        ({"target": 1, "targetTrackingPolicies": [POLICY | {"minCapacity": 31}]}, "minCapacity"),
        ({"target": 1, "targetTrackingPolicies": [POLICY | {"metricType": "Luck"}]}, "metricType"),
        ({"target": 1, "targetTrackingPolicies": [POLICY | {"endTime": "2022-01-01T00:00:00Z"}]}, "endTime"),
        (
            {"target": 1, "scheduledActions": [{"name": "a", "target": 1, "scheduleExpression": "cron(x)"}]},
            "scheduleExpression",
        ),
        ({"target": 1, "targetTrackingPolicies": {}}, "targetTrackingPolicies"),
    ],
)
async def test_a_provision_config_that_makes_no_sense_is_refused(api: Api, body: dict[str, Any], names: str) -> None:
    await api.function()
    status, code, message = await api.refused("PUT", "/services/s.LATEST/functions/f/provision-config", body)
    assert (status, code) == (400, "InvalidArgument")
    assert names in message


BY_READING = {
    **POLICY,
    "metricType": "Prometheus",
    "metricTarget": 50,
    "url": "http://127.0.0.1:9090",
    "query": "sum(rate(tokens_total[1m]))",
}


@pytest.mark.parametrize(
    "policy",
    [
        BY_READING,
        POLICY | {"forecast": {"season": "week"}},
        POLICY | {"behavior": "HPA"},
        POLICY | {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60, "selectPolicy": "Min"}}},
    ],
)
async def test_stokes_own_fields_are_kept_and_given_back(api: Api, policy: dict[str, Any]) -> None:
    await api.function()
    path = "/services/s.LATEST/functions/f/provision-config"
    put = await api.made("PUT", path, {"target": 1, "targetTrackingPolicies": [policy]})
    (kept,) = put["targetTrackingPolicies"]
    assert kept == policy
    assert await api.made("GET", path) == put


async def test_a_server_that_the_settings_do_not_name_is_refused(api: Api) -> None:
    await api.function()
    body = {"targetTrackingPolicies": [BY_READING | {"url": "http://169.254.169.254/latest"}]}
    status, code, message = await api.refused("PUT", "/services/s.LATEST/functions/f/provision-config", body)
    assert (status, code) == (400, "InvalidArgument")
    assert message == (
        "targetTrackingPolicies[0].url is http://169.254.169.254/latest: must be under one of "
        "http://127.0.0.1:9090 (setting prometheus_urls)"
    )


async def test_provision_configs_are_listed_by_service_and_qualifier(either: Api, at: Any) -> None:
    await either.function()
    await either.made("POST", "/services/s/functions", FUNCTION | {"functionName": "g"})
    await either.made("POST", "/services/s/versions", {})
    await either.made("POST", "/services/s/aliases", {"aliasName": "prod", "versionId": "1"})
    for qualifier, function in (("LATEST", "f"), ("LATEST", "g"), ("prod", "f")):
        await either.made("PUT", at(qualifier, function), {"target": 0})

    async def resources(query: str) -> list[str]:
        answer = await either.made("GET", f"/provision-configs?{query}")
        return [config["resource"] for config in answer["provisionConfigs"]]

    every = ["42#s#LATEST#f", "42#s#LATEST#g", "42#s#prod#f"]
    assert await resources("") == await resources("serviceName=s") == every, "one with target 0 is listed too"
    assert await resources("serviceName=s&qualifier=prod") == every[2:]
    assert await resources("serviceName=t") == []
    page = await either.made("GET", "/provision-configs?limit=2")
    assert await resources(f"limit=2&nextToken={page['nextToken']}") == every[2:]


async def test_the_instances_of_a_function_are_listed(either: Api) -> None:
    await either.function()
    await either.made("POST", "/services/s/versions", {})
    await either.made("POST", "/services/s/aliases", {"aliasName": "prod", "versionId": "1"})
    either.fleet.views = [
        instance_view("c-1"),
        instance_view("c-2"),
        instance_view("c-3", version="1"),
        instance_view("c-4", function="g"),
    ]
    latest = [{"instanceId": "c-1", "versionId": "0"}, {"instanceId": "c-2", "versionId": "0"}]
    path = "/services/s{}/functions/f/instances{}"
    assert await either.made("GET", path.format("", "")) == {"instances": latest}
    assert await either.made("GET", path.format(".LATEST", "?limit=1")) == {"instances": latest[:1]}
    assert await either.made("GET", path.format("", "?instanceIds=c-2&instanceIds=c-9")) == {"instances": latest[1:]}
    for prod in (path.format(".prod", ""), path.format("", "?qualifier=1")):
        assert await either.made("GET", prod) == {"instances": [{"instanceId": "c-3", "versionId": "1"}]}


async def test_what_clients_ask_on_the_way_is_answered(either: Api) -> None:
    await either.function()
    assert await either.made("GET", "/account-settings") == {"availableAZs": ["cn-test-a"], "defaultRole": ""}
    assert await either.made("GET", "/services/s/bindings") == {"vpcIds": []}
    status, code, _ = await either.refused("GET", "/services/s.LATEST/functions/f/async-invoke-config")
    assert (status, code) == (404, "AsyncConfigNotExists")
    assert await either.made("GET", "/services/s/functions/f/async-invoke-configs") == {"configs": []}


@pytest.mark.parametrize("ids", ["instanceIds=c-2&instanceIds=c-9", "instanceIds.1=c-2&instanceIds.2=c-9"])
async def test_instances_are_narrowed_by_ids_and_status_however_a_client_spells_a_list(api: Api, ids: str) -> None:
    api.version = API_VERSION_3
    await api.made("POST", "/functions", FUNCTION)
    for number, state in ((1, "READY"), (2, "READY"), (3, "INITIALIZING")):
        api.fleet.views.append(replace(instance_view(f"c-{number}", service="f"), state=state))

    async def listed(query: str) -> list[str]:
        answer = await api.made("GET", f"/functions/f/instances?{query}")
        return [instance["instanceId"] for instance in answer["instances"]]

    assert await listed(ids) == ["c-2"]
    assert await listed('instanceIds=["c-2","c-3"]') == ["c-2", "c-3"]
    assert await listed('instanceStatus=["Running"]') == ["c-1", "c-2"]
    assert await listed("instanceStatus=Creating&instanceIds=[]") == ["c-3"]
    for wrong in ("[1]", "[", "[{}]"):
        refused = await api.refused("GET", f"/functions/f/instances?instanceIds={wrong}")
        assert refused == (400, "InvalidArgument", f"instanceIds is '{wrong}': must be a list of strings")


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("2016-08-15", "/services/f.LATEST/functions/f/provision-config"),
        ("2021-04-06", "/services/f/functions/f/provision-config?qualifier=LATEST"),
        (API_VERSION_3, "/functions/f/provision-config"),
    ],
)
async def test_a_config_is_put_only_if_it_still_is_the_one_that_was_read(api: Api, version: str, path: str) -> None:
    await api.made("POST", "/services", {"serviceName": "f"})
    await api.made("POST", "/services/f/functions", FUNCTION)
    api.version = version
    await api.made("GET", path)
    of_none = {"headers": {"if-match": api.last.headers["etag"]}}
    assert (await api.call("PUT", path, {"target": 1}, **of_none))[0] == 200
    of_one = {"headers": {"if-match": api.last.headers["etag"]}}
    status, answer = await api.call("PUT", path, {"target": 2}, **of_none)
    assert (status, answer["Code"]) == (412, "PreconditionFailed")
    assert (await api.made("GET", path))["target"] == 1
    assert api.last.headers["etag"] == of_one["headers"]["if-match"]
    assert (await api.call("PUT", path, {"target": 2}, **of_one))[1]["target"] == 2


@pytest.mark.parametrize("body", [{}, {"tagret": 3}, {"Target": 3}, {"target": None, "alwaysAllocateCPU": False}])
async def test_a_body_that_says_nothing_of_how_many_ends_no_instances(either: Api, body: dict[str, Any]) -> None:
    await either.function()
    put = await either.made("PUT", "/services/s/functions/f/provision-config", {"target": 3})
    refused = await either.refused("PUT", "/services/s/functions/f/provision-config", body)
    assert refused == (400, "InvalidArgument", "target is missing: it is required")
    assert await either.made("GET", "/services/s/functions/f/provision-config") == put
