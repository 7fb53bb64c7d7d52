"""Async invoke configs over FC's wire."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.registry.memory import MemoryRegistry
from runtime.contract import API_VERSION_3, AsyncRoute, async_field
from tests.api.conftest import FUNCTION, TIME, Api

CONFIG = "/services/s.LATEST/functions/f/async-invoke-config"
STREAM = "acs:redis:::streams/results"


def route(api: Api, qualifier: str = "LATEST") -> AsyncRoute | None:
    assert isinstance(api.registry, MemoryRegistry)
    record = api.registry.store.routes.get(async_field("s", qualifier, "f"))
    return None if record is None else AsyncRoute.from_json(record)


async def test_a_config_is_put_read_replaced_and_deleted(either: Api) -> None:
    await either.function()
    body = {
        "destinationConfig": {"onSuccess": {"destination": STREAM}, "onFailure": {"destination": "http://h/x"}},
        "maxAsyncEventAgeInSeconds": 60,
        "maxAsyncRetryAttempts": 0,
        "statefulInvocation": True,
    }
    of = {"service": "s", "function": "f", "qualifier": "LATEST", "createdTime": TIME, "lastModifiedTime": TIME}
    assert await either.made("PUT", CONFIG, body) == body | of
    assert await either.made("GET", CONFIG) == body | of
    assert await either.made("GET", "/services/s/functions/f/async-invoke-configs") == {"configs": [body | of]}
    assert route(either) == AsyncRoute("s", "f", "LATEST", 0, 60.0, STREAM, "http://h/x", stateful=True)
    assert await either.made("PUT", CONFIG, {"maxAsyncRetryAttempts": 8}) == {"maxAsyncRetryAttempts": 8} | of
    assert route(either) == AsyncRoute("s", "f", "LATEST", 8)
    assert (await either.call("DELETE", CONFIG))[0] == 204
    assert (await either.refused("GET", CONFIG))[:2] == (404, "AsyncConfigNotExists")
    assert route(either) is None


async def test_a_config_of_fc_3_makes_its_invocations_stateful(api: Api) -> None:
    await api.function()
    api.version = API_VERSION_3
    config = {"asyncTask": True, "destinationConfig": {"onSuccess": {"destination": "acs:fc:::functions/g"}}}
    made = await api.made("PUT", "/functions/s$f/async-invoke-config", config)
    assert made["functionArn"] == "acs:fc:cn-test:42:functions/s$f/LATEST"
    told = route(api)
    assert told is not None
    assert (told.stateful, told.on_success) == (True, "acs:fc:::functions/g")


async def test_each_qualifier_has_its_own_and_it_goes_with_the_qualifier(either: Api) -> None:
    await either.function()
    await either.made("POST", "/services/s/versions", {})
    await either.made("POST", "/services/s/aliases", {"aliasName": "prod", "versionId": "1"})
    for number, qualifier in enumerate(("LATEST", "prod", "1")):
        path = f"/services/s/functions/f/async-invoke-config?qualifier={qualifier}"
        await either.made("PUT", path, {"maxAsyncRetryAttempts": number})
    listing = await either.made("GET", "/services/s/functions/f/async-invoke-configs?limit=2")
    assert [each["qualifier"] for each in listing["configs"]] == ["1", "LATEST"]
    rest = await either.made("GET", f"/services/s/functions/f/async-invoke-configs?nextToken={listing['nextToken']}")
    assert [each["qualifier"] for each in rest["configs"]] == ["prod"]
    await either.call("DELETE", "/services/s/aliases/prod")
    await either.call("DELETE", "/services/s/versions/1")
    assert [route(either, qualifier) is None for qualifier in ("prod", "1", "LATEST")] == [True, True, False]
    await either.call("DELETE", "/services/s/functions/f")
    assert route(either) is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"maxAsyncRetryAttempts": 9}, "maxAsyncRetryAttempts is 9: must be at most 8"),
        ({"maxAsyncRetryAttempts": True}, "maxAsyncRetryAttempts is true: must be a whole number"),
        ({"maxAsyncEventAgeInSeconds": 0}, "maxAsyncEventAgeInSeconds is 0: must be at least 1"),
        ({"statefulInvocation": "yes"}, 'statefulInvocation is "yes": must be true or false'),
        ({"destinationConfig": []}, "destinationConfig is []: must be an object"),
        (
            {"destinationConfig": {"onFailure": {"destination": "ftp://h"}}},
            "destinationConfig.onFailure.destination 'ftp://h': acs:fc:REGION:ACCOUNT:services/SERVICE[.QUALIFIER]",
        ),
    ],
)
async def test_a_config_that_makes_no_sense_is_refused(api: Api, body: dict[str, Any], says: str) -> None:
    await api.function()
    status, code, message = await api.refused("PUT", CONFIG, body)
    assert (status, code) == (400, "InvalidArgument")
    assert message.startswith(says)


async def test_a_function_or_a_qualifier_that_does_not_exist_has_no_config(api: Api) -> None:
    assert (await api.refused("PUT", CONFIG, {}))[1] == "ServiceNotFound"
    await api.function()
    assert (await api.refused("PUT", CONFIG.replace("/f/", "/g/"), {}))[1] == "FunctionNotFound"
    assert (await api.refused("GET", CONFIG.replace("LATEST", "prod")))[1] == "AliasNotFound"


async def test_functions_with_stateful_invocations_are_listed_a_page_at_a_time(api: Api) -> None:
    await api.function()
    for function in ("g", "h"):
        await api.made("POST", "/services/s/functions", FUNCTION | {"functionName": function})
    for function, stateful in (("f", True), ("g", False), ("h", True)):
        path = f"/services/s.LATEST/functions/{function}/async-invoke-config"
        await api.made("PUT", path, {"statefulInvocation": stateful})
    listed = "/stateful-async-invocation-functions"
    page = await api.made("GET", f"{listed}?limit=1")
    assert page["data"] == [{"serviceName": "s", "functionName": "f", "qualifier": "LATEST"}]
    page = await api.made("GET", f"{listed}?limit=1&nextToken={page['nextToken']}")
    assert page == {"data": [{"serviceName": "s", "functionName": "h", "qualifier": "LATEST"}]}
