"""What FC 3.0's clients are told of what is wrong, in the words that they have sent."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.contract import API_VERSION_3
from tests.api.conftest import FUNCTION, Api

CONTAINER = {"functionName": "f", "runtime": "custom-container", "customContainerConfig": {"image": "i"}}


@pytest.fixture
def fc3(api: Api) -> Api:
    api.version = API_VERSION_3
    return api


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gpuConfig": {"gpuType": 5}}, "gpuConfig.gpuType is 5: must be a string"),
        ({"gpuConfig": {"gpuMemorySize": -1}}, "gpuConfig.gpuMemorySize is -1: must be at least 0"),
        (
            {"customContainerConfig": {"image": "i", "port": "80"}},
            'customContainerConfig.port is "80": must be a whole number',
        ),
        ({"customRuntimeConfig": {"port": 0}}, "customRuntimeConfig.port is 0: must be at least 1"),
        (
            {"customContainerConfig": {"image": "i", "healthCheckConfig": {"periodSeconds": 0}}},
            "customContainerConfig.healthCheckConfig.periodSeconds is 0: must be at least 1",
        ),
        (
            {"instanceLifecycleConfig": {"initializer": {"handler": "i", "timeout": 301}}},
            "instanceLifecycleConfig.initializer.timeout is 301: must be at most 300",
        ),
        (
            {"instanceLifecycleConfig": {"initializer": {"handler": 5}}},
            "instanceLifecycleConfig.initializer.handler is 5: must be a string",
        ),
        ({"timeout": 0}, "timeout is 0: must be at least 1"),
    ],
)
async def test_a_wrong_field_is_named_as_it_was_sent(fc3: Api, change: dict[str, Any], says: str) -> None:
    refused = await fc3.refused("POST", "/functions", FUNCTION | change)
    assert refused == (400, "InvalidArgument", says)
    await fc3.made("POST", "/functions", CONTAINER if "customContainerConfig" in change else FUNCTION)
    assert await fc3.refused("PUT", "/functions/f", change) == (400, "InvalidArgument", says)


@pytest.mark.parametrize("name", ["f", "s$f"])
async def test_refusals_know_no_services(fc3: Api, name: str) -> None:
    await fc3.made("POST", "/functions", FUNCTION | {"functionName": name})
    at = f"/functions/{name}"
    await fc3.made("POST", f"{at}/versions", {})
    await fc3.made("POST", f"{at}/aliases", {"aliasName": "prod", "versionId": "1"})
    again = {"aliasName": "prod", "versionId": "1"}
    asked = [
        ("GET", "?qualifier=2", None, f"version '2' does not exist in function '{name}'"),
        ("GET", "?qualifier=dev", None, f"alias 'dev' does not exist in function '{name}'"),
        ("POST", "/aliases", again, f"alias 'prod' already exists in function '{name}'"),
        ("DELETE", "/versions/1", None, "version '1' is used by alias 'prod'"),
        ("GET", "/triggers/t", None, f"trigger 't' does not exist in function '{name}'"),
        ("GET", "/async-invoke-config", None, f"function '{name}/LATEST' has no async invoke config"),
    ]
    for method, path, body, says in asked:
        assert (await fc3.refused(method, at + path, body))[2] == says
    await fc3.made("PUT", f"{at}/scaling-config?qualifier=prod", {"minInstances": 1})
    refused = await fc3.refused("PUT", f"{at}/provision-config?qualifier=prod", {"defaultTarget": 1})
    assert refused[1:] == (
        "ResidentScalingConfigExists",
        f"function '{name}/prod' has a scaling config: delete it before a provision config is put",
    )


async def test_a_name_that_is_no_text_is_shown(fc3: Api) -> None:
    for name, shown in ((5, "5"), ("", '""'), (["f"], '["f"]')):
        refused = await fc3.refused("POST", "/functions", FUNCTION | {"functionName": name})
        assert refused[2] == f"functionName is {shown}: must be a string with at least one character"
    missing = await fc3.refused("POST", "/functions", {"runtime": "custom"})
    assert missing[2] == "functionName is missing: it is required"
