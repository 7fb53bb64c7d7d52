"""Pages of what is set for functions, narrowed to one of them; and where a page may begin."""

from __future__ import annotations

import pytest

from runtime.contract import API_VERSION_3
from tests.api.conftest import FUNCTION, Api

CONFIGS = {"provision-config": {"target": 1}, "async-invoke-config": {"maxAsyncRetryAttempts": 1}}
FUNCTIONS = [f"f{number}" for number in range(5)]


@pytest.fixture
async def many(either: Api) -> Api:
    """A service whose functions each have every config."""
    await either.made("POST", "/services", {"serviceName": "s"})
    for name in FUNCTIONS:
        await either.made("POST", "/services/s/functions", FUNCTION | {"functionName": name})
        for path, body in CONFIGS.items():
            await either.made("PUT", f"/services/s/functions/{name}/{path}", body)
    return either


async def test_a_functions_async_configs_are_on_the_first_page_however_many_others_its_service_has(many: Api) -> None:
    of = {"service": "s", "function": "f4", "qualifier": "LATEST"}
    listed = await many.made("GET", "/services/s/functions/f4/async-invoke-configs?limit=2")
    assert [config | of for config in listed["configs"]] == listed["configs"]
    assert len(listed["configs"]) == 1
    assert "nextToken" not in listed


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/provision-configs", "provisionConfigs"),
        ("/async-invoke-configs", "configs"),
        ("/concurrency-configs", "configs"),
        ("/scaling-configs", "scalingConfigs"),
    ],
)
async def test_a_list_of_one_functions_configs_begins_with_them(many: Api, path: str, key: str) -> None:
    many.version = API_VERSION_3
    for name in FUNCTIONS:
        await many.made("PUT", f"/functions/s${name}/concurrency", {"reservedConcurrency": 1})
        if key == "scalingConfigs":
            assert await many.call("DELETE", f"/functions/s${name}/provision-config") == (204, None)
            await many.made("PUT", f"/functions/s${name}/scaling-config", {"minInstances": 1})
    listed = await many.made("GET", f"{path}?functionName=s$f4&limit=1")
    arns = [config["functionArn"] for config in listed[key]]
    assert [arn.removesuffix("/LATEST") for arn in arns] == ["acs:fc:cn-test:42:functions/s$f4"]
    assert "nextToken" not in listed


async def test_the_configs_of_one_function_by_several_qualifiers_are_paged(many: Api) -> None:
    await many.made("POST", "/services/s/versions", {})
    for alias in ("a", "b"):
        await many.made("POST", "/services/s/aliases", {"aliasName": alias, "versionId": "1"})
        await many.made("PUT", f"/services/s.{alias}/functions/f4/provision-config", {"target": 1})
    many.version = API_VERSION_3
    found, token = [], ""
    for _ in range(3):
        page = await many.made("GET", f"/provision-configs?functionName=s$f4&limit=1&nextToken={token}")
        found += [config["functionArn"].rpartition("/")[2] for config in page["provisionConfigs"]]
        token = page.get("nextToken", "")
    assert (found, token) == (["LATEST", "a", "b"], "")
