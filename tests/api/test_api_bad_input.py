"""Input that is wrong: every refusal names the field, its value and what is allowed, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from control_plane.api.context import Limits
from control_plane.registry.memory import MemoryRegistry
from control_plane.testing import FakeFleet
from tests.api.conftest import FUNCTION, Api, client_of, code

PYTHON = {"runtime": "python3.11", "handler": "app.handler"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"functionName": "1f"}, 'functionName is "1f": must match'),
        ({"functionName": "a.b"}, 'functionName is "a.b": must match'),
        ({"functionName": "f\n"}, 'functionName is "f\\n": must match'),
        ({"functionName": "x" * 65}, "functionName is"),
        ({"functionName": None}, "functionName is missing: it is required"),
        ({"runtime": None}, "runtime is missing"),
        ({"runtime": "nodejs10"}, 'runtime is "nodejs10": must match'),
        ({"instanceConcurrency": 0}, "instanceConcurrency is 0: must be at least 1"),
        ({"InstanceConcurrency": 1001}, "instanceConcurrency is 1001: must be at most 1000"),
        ({"instanceConcurrency": "8"}, 'instanceConcurrency is "8": must be a whole number'),
        ({"instanceConcurrency": True}, "instanceConcurrency is true: must be a whole number"),
        ({"instanceConcurrency": 1.5}, "instanceConcurrency is 1.5: must be a whole number"),
        ({"instanceSoftConcurrency": 2}, "instanceSoftConcurrency is 2: must be from 1 to instanceConcurrency, 1"),
        ({"memorySize": 1}, "memorySize is 1: must be at least 64"),
        ({"timeout": 86_401}, "timeout is 86401: must be at most 86400"),
        ({"cpu": 0.01}, "cpu is 0.01: must be at least 0.05"),
        ({"cpu": "0.5"}, 'cpu is "0.5": must be a number'),
        ({"cpu": True}, "cpu is true: must be a number"),
        ({"disableOndemand": "no"}, 'disableOndemand is "no": must be true or false'),
        ({"disableOndemand": 0}, "disableOndemand is 0: must be true or false"),
        ({"caPort": 70_000}, "caPort is 70000: must be at most 65535"),
        ({"environmentVariables": {"A": 1}}, "environmentVariables.A is 1: must be a string"),
        ({"environmentVariables": ["A"]}, 'environmentVariables is ["A"]: must be an object'),
        ({"environmentVariables": {"": "x"}}, 'environmentVariables has the name "": must have at least one character'),
        ({"environmentVariables": {"A=B": "x"}}, 'environmentVariables has the name "A=B": must have at least one'),
        ({"environmentVariables": {"A": "x\0y"}}, 'environmentVariables.A is "x\\u0000y": must have no NUL'),
        (
            {"customRuntimeConfig": {"command": ["a", "b\0"]}},
            'customRuntimeConfig.command has "b\\u0000": must have no NUL',
        ),
        ({"customRuntimeConfig": "run"}, 'customRuntimeConfig is "run": must be an object'),
        ({"customRuntimeConfig": {"command": "run"}}, 'customRuntimeConfig.command is "run": must be a list'),
        (
            {"customHealthCheckConfig": {"periodSeconds": 0}},
            "customHealthCheckConfig.periodSeconds is 0: must be at least 1",
        ),
        (
            {"instanceLifecycleConfig": {"preStop": {"timeout": 301}}},
            "instanceLifecycleConfig.preStop.timeout is 301: must be at most 300",
        ),
        ({"runtime": "custom-container"}, "customContainerConfig.image is missing"),
        (PYTHON | {"handler": "handler", "code": code()}, "handler is 'handler': must be module.attribute"),
        (PYTHON, "code is missing: runtime python3.11 needs code.zipFile"),
        ({"code": "x"}, "code must be an object with zipFile"),
        ({"code": {"ossBucketName": "b", "ossObjectName": "o"}}, "code.ossBucketName is 'b': must be stoke"),
        ({"code": {"ossBucketName": "stoke", "ossObjectName": "1/o"}}, "code.ossObjectName is '1/o': must be what was"),
        ({"code": {"ossBucketName": "stoke", "z": 1}}, "code has ossBucketName, z: zipFile (base64), or ossBucketName"),
        ({"code": {"zipFile": 5}}, "code.zipFile must be a string"),
        ({"code": {"zipFile": "%%%"}}, "code.zipFile is not base64"),
        ({"code": {"zipFile": "é"}}, "code.zipFile is not base64"),
        ({"code": {"zipFile": "aGVsbG8="}}, "code.zipFile is not a zip file"),
    ],
)
async def test_a_function_that_makes_no_sense_is_refused(either: Api, change: dict[str, Any], says: str) -> None:
    await either.made("POST", "/services", {"serviceName": "s"})
    status, error, message = await either.refused("POST", "/services/s/functions", FUNCTION | change)
    assert (status, error) == (400, "InvalidArgument")
    assert message.startswith(says)
    assert await either.made("GET", "/services/s/functions") == {"functions": []}


async def test_a_change_that_makes_no_sense_is_refused_and_nothing_changes(either: Api) -> None:
    await either.function()
    before = await either.made("GET", "/services/s/functions/f")
    _, _, message = await either.refused("PUT", "/services/s/functions/f", {"timeout": 9, "memorySize": 0})
    assert message == "memorySize is 0: must be at least 64"
    assert await either.made("GET", "/services/s/functions/f") == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "the body is not valid JSON"),
        (b"\xff\xfe", "the body is not valid JSON"),
        (b'{"a": NaN}', "the body is not valid JSON: NaN is not a JSON number"),
        (b'{"serviceName": "s", "description": "\\ud800"}', "the body is not valid JSON"),
        (b'{"serviceName": "s", "x": 1e400}', "the body is not valid JSON: 1e400 is too large a number"),
        (b"[" * 100_000, "the body is not valid JSON"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "the body is not valid JSON: it is nested more than 64 levels deep"),
        (b"[]", "the body is a JSON list: must be an object"),
        (b'"text"', "the body is a JSON string: must be an object"),
        (b"null", "the body is a JSON null: must be an object"),
        (b"7", "the body is a JSON number: must be an object"),
        (b"", "serviceName is missing"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(api: Api, body: bytes, says: str) -> None:
    status, answer = await api.send("POST", "/2016-08-15/services", content=body)
    assert (status, answer["ErrorCode"]) == (400, "InvalidArgument")
    assert answer["ErrorMessage"].startswith(says)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "1.5", "9" * 5000, "²"])
async def test_a_limit_outside_its_range_is_refused(api: Api, limit: str) -> None:
    status, code_, message = await api.refused("GET", f"/services?limit={limit}")
    assert (status, code_) == (400, "InvalidArgument")
    assert message.startswith("limit is '")
    assert message.endswith("must be a whole number from 1 to 100")


async def test_other_queries_that_make_no_sense_are_refused(api: Api) -> None:
    await api.function()
    _, _, message = await api.refused("GET", "/services/s/versions?direction=UP")
    assert message == "direction is 'UP': must be FORWARD or BACKWARD"
    _, _, message = await api.refused("GET", "/provision-configs?qualifier=prod")
    assert message.startswith("serviceName is missing")
    _, _, message = await api.refused("POST", "/services/s/versions", {"description": 5})
    assert message == "description is 5: must be a string"


@pytest.mark.parametrize("key", ["startKey", "nextToken"])
@pytest.mark.parametrize("value", ["abc", "-1", "1.5", "²", "9" * 13])
async def test_versions_are_listed_from_a_version_on(api: Api, key: str, value: str) -> None:
    await api.function()
    await api.made("POST", "/services/s/versions", {})
    for direction in ("FORWARD", "BACKWARD"):
        refused = await api.refused("GET", f"/services/s/versions?{key}={value}&direction={direction}")
        assert refused == (400, "InvalidArgument", f"{key} is '{value}': must be a version's number, as 1")


async def test_a_switch_and_a_weight_are_what_json_has_for_them(api: Api) -> None:
    _, _, message = await api.refused("POST", "/services", {"serviceName": "s", "internetAccess": "no"})
    assert message == 'internetAccess is "no": must be true or false'
    await api.function()
    for _ in range(2):
        await api.made("POST", "/services/s/versions", {})
    for weight, shown in ((True, "true"), ("0.5", '"0.5"')):
        alias = {"aliasName": "a", "versionId": "1", "additionalVersionWeight": {"2": weight}}
        _, _, message = await api.refused("POST", "/services/s/aliases", alias)
        assert message == f"additionalVersionWeight.2 is {shown}: must be a number"
    assert await api.made("GET", "/services/s/aliases") == {"aliases": []}


async def test_names_that_no_resource_can_have_are_not_found(api: Api) -> None:
    await api.function()
    for path in ("/services/%00", "/services/%C3%A9", "/services/..%20", "/services/s/functions/%F0%9F%98%80"):
        assert (await api.refused("GET", path))[0] == 404
    assert (await api.refused("PUT", "/services/s/functions/%F0/provision-config", {"target": 1}))[0] == 400


async def test_a_body_over_its_limit_is_refused_however_it_is_sent(tmp_path: Path) -> None:
    registry, fleet = MemoryRegistry(), FakeFleet()
    limits = Limits(body_bytes_max=1000, code_body_bytes_max=2000)
    async with client_of(registry, fleet, tmp_path, limits) as client:

        async def posted(path: str, size: int, *, chunked: bool) -> tuple[int, str]:
            body = json.dumps({"serviceName": "s", "functionName": "f", "runtime": "custom", "x": ""}).encode()
            body = body[:-2] + b"x" * (size - len(body)) + body[-2:]
            assert len(body) == size

            async def pieces() -> Any:
                for start in range(0, size, 100):
                    yield body[start : start + 100]

            answer = await client.post(f"/2016-08-15{path}", content=pieces() if chunked else body)
            return answer.status_code, answer.json().get("ErrorCode", "")

        for chunked in (False, True):
            assert await posted("/services", 1001, chunked=chunked) == (400, "EntityTooLarge")
        assert await posted("/services", 1000, chunked=False) == (200, "")
        for chunked in (False, True):
            assert await posted("/services/s/functions", 2001, chunked=chunked) == (400, "EntityTooLarge")
        assert await posted("/services/s/functions", 2000, chunked=True) == (200, "")
