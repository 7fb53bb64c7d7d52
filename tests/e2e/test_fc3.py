"""FC 3.0 from end to end: a function made, provisioned, invoked, closed and removed, on a Stoke of real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis

from control_plane.registry import keys
from tests.support.stoke import Stoke, eventually, zipped

HANDLER = "def handler(event, context):\n    return event[::-1]\n"
TREE = "/2023-03-30"


@pytest.fixture(scope="module")
def stoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    folder: Path = tmp_path_factory.mktemp("stoke")
    with Stoke(folder / "data", "--listen", "127.0.0.1:0") as running:
        yield running


def test_a_function_of_fc_3_is_served_from_its_creation_to_its_removal(stoke: Stoke) -> None:
    function = {"functionName": "f", "runtime": "python3", "handler": "app.handler", "timeout": 10}
    stoke.call("POST", f"{TREE}/functions", function | {"code": {"zipFile": zipped({"app.py": HANDLER})}})
    stoke.call("PUT", f"{TREE}/functions/f/provision-config", {"defaultTarget": 1})
    config = f"{TREE}/functions/f/provision-config"
    eventually(lambda: stoke.call("GET", config)["current"] == 1, "one instance is ready")

    def invoke() -> httpx.Response:
        return stoke.client.post(f"{stoke.endpoint}{TREE}/functions/f/invocations", content=b"abc")

    answer = eventually(lambda: (reply := invoke()).status_code == 200 and reply, "the gateway knows the function")
    assert answer.content == b"cba"
    [instance] = stoke.call("GET", f"{TREE}/functions/f/instances")["instances"]
    assert instance["instanceId"] == answer.headers["x-fc-instance-id"]

    stoke.call("POST", f"{TREE}/functions/f/invoke/disable", {"reason": "maintenance"})
    eventually(lambda: invoke().status_code == 403, "the gateway turns requests away")
    stoke.call("POST", f"{TREE}/functions/f/invoke/enable")
    eventually(lambda: invoke().content == b"cba", "the gateway lets requests in")
    assert [found["instanceId"] for found in stoke.call("GET", f"{TREE}/functions/f/instances")["instances"]] == [
        instance["instanceId"]
    ], "closing and opening costs no instance"

    stoke.client.delete(f"{stoke.endpoint}{config}")
    eventually(lambda: stoke.call("GET", config)["current"] == 0, "the instance is gone")
    stoke.client.delete(f"{stoke.endpoint}{TREE}/functions/f")
    assert stoke.call("GET", f"{TREE}/functions")["functions"] == []
    eventually(lambda: invoke().status_code == 404, "the gateway has forgotten the function")


def test_a_control_plane_that_starts_lists_the_functions_of_an_older_store(stoke: Stoke) -> None:
    function = {"functionName": "old", "runtime": "custom", "handler": "x"}
    stoke.call("POST", f"{TREE}/functions", function)
    with redis.Redis.from_url(stoke.stoke_json()["store"]) as store:
        store.delete(keys.FC3_FUNCTIONS, keys.INDEX_VERSION)  # as it was before there was an index of these names
    assert stoke.call("GET", f"{TREE}/functions")["functions"] == []
    stoke.await_restart("control-plane", stoke.kill("control-plane"))

    def names() -> list[str]:
        answer = stoke.client.get(f"{stoke.endpoint}{TREE}/functions")
        return [each["functionName"] for each in answer.json()["functions"]] if answer.status_code == 200 else []

    eventually(lambda: names() == ["old"], "the function is listed again")
    assert stoke.client.delete(f"{stoke.endpoint}{TREE}/functions/old").status_code == 204
