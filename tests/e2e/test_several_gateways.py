"""Several gateway processes at one port: slots are leased to them, and move to where requests wait."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadtests.bench.moves import owner_of_peer
from runtime.processes import start_time
from tests.support.stoke import Load, Stoke, eventually

pytestmark = pytest.mark.alone

# Counts the calls that run at once in this instance, and answers with the most there ever were.
COUNTING = """
import base64, json, os, threading, time
lock, inside, most = threading.Lock(), 0, 0

def handler(event, context):
    global inside, most
    with lock:
        inside += 1
        most = max(most, inside)
    asked = json.loads(event)
    body = base64.b64decode(asked["body"]) if asked["isBase64Encoded"] else asked["body"]
    time.sleep(float(body))
    with lock:
        inside -= 1
    return f"{os.getpid()} {most}"
"""


# The same as an ASGI app, which takes whatever it is sent at once: nothing but the gateways holds requests back.
OPEN = """
import asyncio, os
inside, most = 0, 0

async def app(scope, receive, send):
    global inside, most
    inside += 1
    most = max(most, inside)
    body = (await receive()).get("body") or b"0.01"
    await asyncio.sleep(float(body))
    inside -= 1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"{os.getpid()} {most}".encode()})
"""


@pytest.fixture
def stoke(tmp_path: Path) -> Iterator[Stoke]:
    with Stoke(tmp_path / "d", "--listen", "127.0.0.1:0", "--gateways", "2") as made:
        yield made


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    """One for all tests that leave it as they found it, each with a function of its own."""
    with Stoke(tmp_path_factory.mktemp("l") / "d", "--listen", "127.0.0.1:0", "--gateways", "2") as made:
        yield made


def client_of(stoke: Stoke, pid: int) -> httpx.Client:
    """A client whose one connection is with this gateway."""
    port = int(stoke.endpoint.rpartition(":")[2])
    for _ in range(200):
        client = httpx.Client(timeout=30.0, limits=httpx.Limits(max_connections=1))
        answer = client.get(stoke.endpoint + "/stoke/v1/status")
        stream: Any = answer.extensions["network_stream"]
        if owner_of_peer(port, stream.get_extra_info("socket").getsockname()[1]) == pid:
            return client
        client.close()
    raise AssertionError(f"no connection came to {pid}")


def concurrency(answers: list[str]) -> int:
    return max(int(answer.split()[1]) for answer in answers)


def test_no_instance_runs_more_than_its_slots_when_a_gateway_and_the_control_plane_are_killed(stoke: Stoke) -> None:
    stoke.deploy("f", {"app.py": COUNTING}, instanceConcurrency=1)
    stoke.provision("f", 3)
    stoke.await_current("f", 3)
    with Load(stoke.trigger_url("f"), 8, b"0.01").running() as load:
        load.await_more(200)
        old = stoke.kill("control-plane")
        load.await_more(100)
        stoke.await_restart("control-plane", old)
        load.await_more(200)
        assert load.failures == {}, "without the control plane each goes on with what it has"
        old = stoke.kill("gateway-1")
        stoke.await_restart("gateway-1", old)
        load.await_more(200)
    lost = sum(load.failures.values())
    assert lost <= 8, f"only what was inside the killed gateway: {load.failures}"
    with httpx.Client(timeout=30.0) as client:
        assert concurrency([client.post(stoke.trigger_url("f"), content=b"0").text for _ in range(40)]) == 1


def test_an_open_instance_never_gets_more_than_its_slots_from_two_gateways(stoke: Stoke) -> None:
    stoke.deploy("f", {"app.py": OPEN}, handler="app.app", instanceConcurrency=2)
    stoke.provision("f", 2)
    stoke.await_current("f", 2)
    with Load(stoke.trigger_url("f"), 10, b"0.005").running() as load:
        load.await_more(1500)
        old = stoke.kill("control-plane")
        load.await_more(200)
        stoke.await_restart("control-plane", old)
        load.await_more(500)
    assert load.failures == {}
    with httpx.Client(timeout=30.0) as client:
        assert concurrency([client.post(stoke.trigger_url("f"), content=b"0").text for _ in range(20)]) <= 2


def test_a_slot_moves_to_the_gateway_where_a_request_waits(lasting: Stoke) -> None:
    lasting.deploy("moves", {"app.py": COUNTING}, instanceConcurrency=1)
    none = {"maximumInstanceCount": 0}  # started for who waits, or there would be a slot for each gateway
    lasting.call("PUT", "/2016-08-15/services/svc/functions/moves/on-demand-config", none)
    lasting.provision("moves", 1)
    lasting.await_current("moves", 1)
    one, two = (client_of(lasting, lasting.pid(name)) for name in ("gateway-1", "gateway-2"))
    with closing(one), closing(two):
        took = []
        for _ in range(10):
            for client in (one, two):
                began_s = time.monotonic()
                assert client.post(lasting.trigger_url("moves"), content=b"0").status_code == 200
                took.append(time.monotonic() - began_s)
    assert len(lasting.instances("moves")) == 1
    assert sorted(took)[len(took) // 2] < 0.1, f"a slot should move within 50 ms on a quiet machine: {took}"


def test_what_is_killed_is_missed_by_nobody_and_its_slots_go_to_the_other(lasting: Stoke) -> None:
    lasting.deploy("missed", {"app.py": COUNTING}, instanceConcurrency=1)
    lasting.provision("missed", 2)
    lasting.await_current("missed", 2)
    one, two = (client_of(lasting, lasting.pid(name)) for name in ("gateway-1", "gateway-2"))
    with closing(one), closing(two):
        for client in (one, two):
            assert client.post(lasting.trigger_url("missed"), content=b"0").status_code == 200
        old = lasting.pid("gateway-1")
        os.kill(old, signal.SIGKILL)
        with Load(lasting.trigger_url("missed"), 4, b"0.01").running() as load:
            assert two.post(lasting.trigger_url("missed"), content=b"0").status_code == 200
            load.await_more(100)
        assert load.failures == {}, "a connect waits for the gateway that comes, and is not refused"
        lasting.await_restart("gateway-1", old)


def test_an_instance_is_drained_by_all_gateways_before_it_is_stopped(lasting: Stoke) -> None:
    lasting.deploy("drained", {"app.py": COUNTING}, instanceConcurrency=2)
    lasting.provision("drained", 3)
    lasting.await_current("drained", 3)
    with Load(lasting.trigger_url("drained"), 6, b"0.1").running() as load:
        load.await_more(30)
        before = {row["instance_id"] for row in lasting.instances("drained")}
        changed = {"environmentVariables": {"NEW": "1"}}
        lasting.call("PUT", "/2016-08-15/services/svc/functions/drained", changed)
        eventually(
            lambda: before.isdisjoint(row["instance_id"] for row in lasting.instances("drained")),
            "all are replaced",
            60.0,
        )
        load.await_more(60)
    assert load.failures == {}


@pytest.mark.long
def test_twenty_gateways_that_are_replaced_break_no_connection_of_clients_that_keep_theirs(lasting: Stoke) -> None:
    lasting.deploy("replaced", {"app.py": COUNTING}, instanceConcurrency=8)
    lasting.provision("replaced", 2)
    lasting.await_current("replaced", 2)
    with (
        Load(lasting.trigger_url("replaced"), 4, b"0").running() as load,
        Load(lasting.trigger_url("replaced"), 4, b"0.1").running() as slower,
    ):
        for turn in range(20):
            name = f"gateway-{1 + turn % 2}"
            old = lasting.pid(name)
            os.kill(old, signal.SIGTERM)
            lasting.await_restart(name, old, 40.0)
            load.await_more(100)
    assert (load.failures, slower.failures) == ({}, {})


def test_asynchronous_events_run_once_each_wherever_they_were_accepted(lasting: Stoke) -> None:
    lasting.deploy(
        "events",
        {"app.py": "def handler(event, context):\n    print('ran ' + event.decode() + '.')\n    return event\n"},
    )
    lasting.provision("events", 2)
    lasting.await_current("events", 2)
    names = [f"event-{number}" for number in range(20)]
    for at, name in enumerate(names):
        with closing(client_of(lasting, lasting.pid(f"gateway-{1 + at % 2}"))) if at < 2 else httpx.Client() as client:
            answer = client.post(
                f"{lasting.endpoint}/2016-08-15/services/svc/functions/events/invocations",
                content=name, headers={"x-fc-invocation-type": "Async"}, auth=lasting.auth,
            )  # fmt: skip
            assert answer.status_code == 202, answer.text

    def ran() -> list[str]:
        logs = [path.read_text() for path in (lasting.data / "instances").glob("*/output.log")]
        return sorted(line.split("ran ")[1] for text in logs for line in text.splitlines() if "ran event-" in line)

    eventually(lambda: len(ran()) >= len(names), "all events have run", 30.0)
    assert ran() == sorted(f"{name}." for name in names)


def test_the_figures_of_all_are_told_by_whichever_is_asked(stoke: Stoke) -> None:
    stoke.deploy("f", {"app.py": COUNTING}, instanceConcurrency=4)
    stoke.provision("f", 1)
    stoke.await_current("f", 1)
    key = json.loads((stoke.data / "credentials.json").read_text())
    basic = httpx.BasicAuth(key["access_key_id"], key["access_key_secret"])
    for name, count in (("gateway-1", 2), ("gateway-2", 3)):
        with closing(client_of(stoke, stoke.pid(name))) as client:
            for _ in range(count):
                assert client.post(stoke.trigger_url("f"), content=b"0").status_code == 200

    def counted() -> dict[str, float]:
        answer = httpx.get(stoke.endpoint + "/stoke/v1/gateway/metrics", auth=basic)
        assert answer.status_code == 200
        samples = [s for family in text_string_to_metric_families(answer.text) for s in family.samples]
        assert {s.labels["gateway"]: s.value for s in samples if s.name == "stoke_gateway_up"} == {"1": 1, "2": 1}
        return {s.labels["gateway"]: s.value for s in samples if s.name == "stoke_requests_total"}

    for _ in range(6):
        assert counted() == {"1": 2, "2": 3}


def test_a_killed_supervisor_leaves_gateways_that_the_next_one_adopts(stoke: Stoke) -> None:
    pids = {name: stoke.pid(name) for name in ("gateway-1", "gateway-2")}
    stoke.kill_supervisor()
    stoke.up()
    assert {name: stoke.pid(name) for name in pids} == pids
    old = stoke.kill("gateway-2")
    stoke.await_restart("gateway-2", old)
    for _ in range(20):
        assert httpx.get(stoke.endpoint + "/stoke/v1/status", timeout=10.0).status_code == 200


def test_another_number_of_gateways_is_started_anew(stoke: Stoke) -> None:
    pids = [stoke.pid(name) for name in ("gateway-1", "gateway-2")]
    port = stoke.endpoint.rpartition(":")[2]
    stoke.kill_supervisor()
    with Stoke(stoke.data, "--listen", f"127.0.0.1:{port}") as alone:
        assert not any(start_time(pid) for pid in pids)
        eventually(lambda: start_time(alone.pid("gateway")), "one gateway has the port for itself")
        stoke._process = None
