"""Functions and their code, as FC's clients ask for them."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.api.conftest import FUNCTION, TIME, Api, code, zip_of

# As `s deploy` (edition 1) posts it: with keys that mean nothing here, and with nulls.
DEPLOYED: dict[str, Any] = {
    "name": "f",
    "serviceName": "elsewhere",
    "functionName": "f",
    "description": "demo",
    "handler": "not-used",
    "runtime": "custom-container",
    "timeout": 1200,
    "caPort": 9000,
    "memorySize": 8192,
    "cpu": 2,
    "gpuMemorySize": 8192,
    "diskSize": 512,
    "instanceType": "fc.gpu.tesla.1",
    "instanceConcurrency": 1,
    "instanceSoftConcurrency": None,
    "environmentVariables": {"FCGPU_RUNTIME_SHMSIZE": "8589934592"},
    "customContainerConfig": {"image": "example/moderation:v1", "accelerationType": "Default"},
    "customDNS": {"nameServers": None, "searches": None},
    "layers": [],
}


async def test_a_gpu_function_is_created_as_its_users_deploy_it(either: Api) -> None:
    await either.made("POST", "/services", {"serviceName": "s"})
    created = await either.made("POST", "/services/s/functions", DEPLOYED)
    kept = {key: value for key, value in DEPLOYED.items() if key not in ("serviceName", "customDNS", "name")}
    assert {key: created[key] for key in kept if key != "customContainerConfig"} == {
        key: value for key, value in kept.items() if key != "customContainerConfig"
    }
    assert created["customContainerConfig"]["image"] == "example/moderation:v1"
    assert (created["functionId"], created["createdTime"], created["lastModifiedTime"]) == ("id", TIME, TIME)
    assert (created["codeSize"], created["codeChecksum"]) == (0, "")
    assert await either.made("GET", "/services/s/functions/f") == created


async def test_a_deployment_puts_first_and_posts_on_function_not_found(either: Api) -> None:
    await either.made("POST", "/services", {"serviceName": "s"})
    refusal = await either.refused("PUT", "/services/s/functions/f", DEPLOYED)
    assert refusal == (404, "FunctionNotFound", "function 'f' does not exist in service 's'")
    await either.made("POST", "/services/s/functions", DEPLOYED)
    await either.made("PUT", "/services/s/functions/f", DEPLOYED)


async def test_an_update_changes_only_what_is_given(either: Api) -> None:
    await either.function(memorySize=1024, environmentVariables={"A": "1"}, initializer="i")
    before = await either.made("GET", "/services/s/functions/f")
    after = await either.made("PUT", "/services/s/functions/f", {"timeout": 30})
    assert after == before | {"timeout": 30}
    after = await either.made("PUT", "/services/s/functions/f", {"environmentVariables": {"B": "2"}})
    assert after["environmentVariables"] == {"B": "2"}, "an object that is given is replaced as a whole"


async def test_keys_match_in_any_case(either: Api) -> None:
    """The 2021 SDK spells one key with a capital when it updates."""
    await either.function()
    updated = await either.made("PUT", "/services/s/functions/f", {"InstanceConcurrency": 8})
    assert updated["instanceConcurrency"] == 8
    assert "InstanceConcurrency" not in updated


async def test_what_the_server_decides_cannot_be_sent(either: Api) -> None:
    own = {"codeSha256": "0" * 64, "code_sha256": "0" * 64, "codeSize": 5, "functionId": "mine", "createdTime": "then"}
    await either.function(**own)
    function = await either.made("GET", "/services/s/functions/f")
    assert (function["functionId"], function["createdTime"], function["codeSize"]) == ("id", TIME, 0)
    assert (await either.registry.get_function("s", "f")).code_sha256 == ""
    await either.made("PUT", "/services/s/functions/f", own)
    assert (await either.registry.get_function("s", "f")).code_sha256 == ""


async def test_code_is_kept_with_its_size_and_checksum_and_can_be_fetched(either: Api) -> None:
    packed = zip_of(app_py="def handler(event, context):\n    return event\n")
    await either.function(runtime="python3.11", handler="app.handler", code=code(packed))
    function = await either.made("GET", "/services/s/functions/f")
    assert function["codeSize"] == len(packed)
    assert function["codeChecksum"].isdecimal()
    assert "code" not in function
    answer = await either.made("GET", "/services/s/functions/f/code")
    assert answer["checksum"] == function["codeChecksum"]
    sha256 = hashlib.sha256(packed).hexdigest()
    assert answer["url"].startswith(f"http://gpu.example:9000/stoke/v1/code/{sha256}?expires=")
    fetched = await either.client.get(f"/stoke/v1/code/{sha256}")
    assert (fetched.status_code, fetched.content) == (200, packed)


async def test_new_code_makes_a_new_revision_and_no_code_keeps_the_old(api: Api) -> None:
    await api.function(code=code(zip_of(a_py="1")))
    first = await api.registry.get_function("s", "f")
    await api.made("PUT", "/services/s/functions/f", {"description": "new"})
    assert (await api.registry.get_function("s", "f")).revision == first.revision
    await api.made("PUT", "/services/s/functions/f", {"code": code(zip_of(a_py="2"))})
    second = await api.registry.get_function("s", "f")
    assert second.code_sha256 != first.code_sha256
    assert second.revision != first.revision


async def test_functions_are_listed_with_their_qualifier(either: Api) -> None:
    assert (await either.refused("GET", "/services/s/functions"))[1] == "ServiceNotFound"
    await either.function()
    await either.made("POST", "/services/s/versions", {})
    await either.made("POST", "/services/s/functions", FUNCTION | {"functionName": "g"})

    async def names(path: str) -> list[str]:
        return [item["functionName"] for item in (await either.made("GET", path))["functions"]]

    assert await names("/services/s/functions") == ["f", "g"]
    assert await names("/services/s.1/functions") == await names("/services/s/functions?qualifier=1") == ["f"]
    page = await either.made("GET", "/services/s/functions?limit=1")
    assert page["nextToken"] == "g"


async def test_a_function_is_deleted_once_its_triggers_are(either: Api) -> None:
    await either.function()
    config = {"authType": "anonymous", "methods": ["GET"]}
    trigger = {"triggerName": "t", "triggerType": "http", "triggerConfig": config}
    await either.made("POST", "/services/s/functions/f/triggers", trigger)
    refusal = await either.refused("DELETE", "/services/s/functions/f")
    assert refusal == (412, "FunctionNotEmpty", "function 'f' has active triggers")
    assert await either.call("DELETE", "/services/s/functions/f/triggers/t") == (204, None)
    assert await either.call("DELETE", "/services/s/functions/f") == (204, None)
    assert (await either.refused("DELETE", "/services/s/functions/f"))[1] == "FunctionNotFound"
