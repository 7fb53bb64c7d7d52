"""Serverless Devs' command line `s`, as it spoke to a Stoke when it was recorded (see `tests/fixtures/README.md`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.signature import RequestHead, read_claim, verify
from tests.api.conftest import Api, code, zip_of

TESTS = Path(__file__).parents[1]
RECORDED = json.loads((TESTS / "fixtures" / "serverless_devs.json").read_text())
SESSIONS: list[dict[str, Any]] = RECORDED["sessions"]
REQUESTS = [request for session in SESSIONS for request in session["requests"]]
PROVISION_FILE = TESTS / "data" / "provision.json"
PUT = "s provision put --config provision.json --qualifier LATEST -t s.yaml"
PATH = "/2016-08-15/services/samples.LATEST/functions/reverse/provision-config"
TRIGGER_PATH = "/2016-08-15/proxy/samples/reverse"
SKEW_S = 300  # the recording took that long at most


def for_the_gateway(request: dict[str, Any]) -> bool:
    return "/invocations" in request["target"] or request["target"].startswith(TRIGGER_PATH)


def requests_of(command: str) -> list[dict[str, Any]]:
    [found] = [session["requests"] for session in SESSIONS if session["command"] == command]
    return list(found)


async def replay(api: Api, request: dict[str, Any]) -> Any:
    headers = {name: value for name, value in request["headers"] if name.lower() in ("accept", "content-type")}
    status, answer = await api.send(
        request["method"], request["target"], content=request["body"].encode(), headers=headers
    )
    assert status == request["status"], (request["method"], request["target"], answer)
    return answer


def split(component: str, command: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What was sent with one component to the API, from the first command to the end of this one, and after it."""
    sessions = [session for session in SESSIONS if session["component"] == component]
    end = [session["command"] for session in sessions].index(command) + 1
    return of_the_api(sessions[:end]), of_the_api(sessions[end:])


def of_the_api(sessions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without invocations, which a gateway answers."""
    return [request for session in sessions for request in session["requests"] if not for_the_gateway(request)]


def test_s_provision_put_sends_the_file_as_it_is() -> None:
    [sent] = requests_of(PUT)
    assert (sent["method"], sent["target"]) == ("PUT", PATH)
    assert dict(sent["headers"])["content-type"] == "application/json"
    file = json.loads(PROVISION_FILE.read_text())
    assert sent["body"] == json.dumps(file, separators=(",", ":")), "every key and value, in the file's order"


async def test_what_s_provision_put_sends_is_accepted_and_shown(api: Api) -> None:
    before, _ = split("fc 0.1.35", PUT)
    for request in before:
        await replay(api, request)
    status, shown = await api.send("GET", PATH)
    file = json.loads(PROVISION_FILE.read_text())
    assert (status, shown["resource"]) == (200, "42#samples#LATEST#reverse")
    assert {field: shown[field] for field in file} == file
    [listed] = (await replay(api, requests_of("s provision list -t s.yaml")[0]))["provisionConfigs"]
    assert listed == shown


async def test_everything_that_s_with_fc_sent_is_answered_as_it_was(api: Api) -> None:
    every, _ = split("fc 0.1.35", "s remove -y -t s.yaml")
    for request in every:
        await replay(api, request)
    assert (await api.send("GET", "/2016-08-15/services"))[1]["services"] == []


async def test_everything_that_s_with_fc3_sent_is_answered_as_it_was(api: Api) -> None:
    # `s deploy --function config` changes a function that is there, and sends no code.
    function = {"functionName": "three", "runtime": "python3.10", "handler": "app.handler"}
    made = function | {"code": code(zip_of(app_py="def handler(event, context): return event\n"))}
    await api.send("POST", "/2023-03-30/functions", content=json.dumps(made).encode())
    before, after = split("fc3 0.1.22", "s provision put --qualifier LATEST --target 2 -t s3.yaml")
    for request in before:
        await replay(api, request)
    _, shown = await api.send("GET", "/2023-03-30/functions/three/provision-config?qualifier=LATEST")
    assert (shown["target"], shown["defaultTarget"]) == (2, 2)
    for request in after:
        await replay(api, request)
    assert (await api.send("GET", "/2023-03-30/functions"))[1]["functions"] == []


@pytest.mark.parametrize("request_", REQUESTS, ids=[f"{r['method']} {r['target']}" for r in REQUESTS])
def test_what_s_signed_holds(request_: dict[str, Any]) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in request_["headers"]]
    base_path = TRIGGER_PATH if request_["target"].startswith(TRIGGER_PATH) else None
    head = RequestHead.of(request_["method"], request_["target"].encode(), pairs, base_path)
    claim = read_claim(head)
    assert claim.access_key_id == RECORDED["access_key_id"]
    proof = verify(head, claim, secret=RECORDED["secret"], now_s=float(RECORDED["recorded_at_s"]))
    assert abs(proof.signed_at_s - RECORDED["recorded_at_s"]) < SKEW_S
    if proof.body is not None:
        proof.body.update(request_["body"].encode())
        proof.body.check()
