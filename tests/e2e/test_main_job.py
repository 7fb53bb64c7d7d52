"""The main job on a real Stoke: provision, prewarm, serve, scale out and in, and survive what dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.processes import start_time
from tests.support.stoke import Load, Stoke, eventually

pytestmark = pytest.mark.alone

# Holds a slot for a moment without using the processor, so that two cores can carry many instances.
SLOW = """
import time

warm = False

def initialize(context):
    global warm
    warm = True

def handler(environ, start_response):
    time.sleep(float(environ.get("HTTP_X_SLEEP", "0.05")))
    start_response("200 OK" if warm else "500 Cold", [("content-type", "text/plain")])
    return [b"warm" if warm else b"cold"]
"""

FAST_POLICY = {
    "name": "follow-demand",
    "metricType": "ProvisionedConcurrencyUtilization",
    "metricTarget": 0.5,
    "minCapacity": 2,
    "maxCapacity": 8,
    "startTime": "2020-01-01T00:00:00Z",
    "endTime": "2099-01-01T00:00:00Z",
    "stableWindowSeconds": 10,
    "panicWindowSeconds": 2,
    "scaleInDelaySeconds": 0,
}


@pytest.fixture
def stoke(tmp_path: Path) -> Iterator[Stoke]:
    with Stoke(tmp_path / "data", "--listen", "127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    """One for all tests that leave it as they found it, each with a function of its own."""
    with Stoke(tmp_path_factory.mktemp("lasting") / "data", "--listen", "127.0.0.1:0") as running:
        yield running


def deploy_slow(stoke: Stoke, name: str = "f") -> None:
    stoke.deploy(name, {"app.py": SLOW}, initializer="app.initialize", initializationTimeout=10)


def test_a_burst_scales_out_and_back_in_without_a_failed_request(stoke: Stoke) -> None:
    deploy_slow(stoke)
    stoke.provision("f", 2, {**FAST_POLICY, "maxCapacity": 4})
    stoke.await_current("f", 2)
    before = {row["instance_id"] for row in stoke.ready("f")}
    with Load(stoke.trigger_url("f"), users=4).running() as load:
        began_s = time.monotonic()
        eventually(lambda: {r["instance_id"] for r in stoke.ready("f")} - before, "a new instance is ready", 5.0)
        first_new_s = time.monotonic() - began_s
        stoke.await_current("f", 4, timeout_s=20.0)
        load.await_more(200)
    assert first_new_s < 2.0
    stoke.await_current("f", 2, timeout_s=60.0)
    eventually(lambda: len(stoke.instances("f")) == 2, "drained instances are gone")
    assert load.failures == {}


def test_requests_are_served_from_zero_and_marked_as_cold(lasting: Stoke) -> None:
    deploy_slow(lasting, "cold")
    cold = lasting.client.get(lasting.trigger_url("cold"))
    assert (cold.status_code, cold.text) == (200, "warm")
    assert cold.headers["x-stoke-cold-start"] == "true"
    assert cold.headers["x-fc-instance-id"].startswith("c-")
    warm = lasting.client.get(lasting.trigger_url("cold"))
    assert warm.headers.get("x-stoke-cold-start") != "true"


def test_an_idle_on_demand_instance_is_promoted_instead_of_launching_another(lasting: Stoke) -> None:
    deploy_slow(lasting, "idle")
    assert lasting.client.get(lasting.trigger_url("idle")).status_code == 200
    (on_demand,) = lasting.ready("idle")
    assert on_demand["kind"] == "on-demand"
    lasting.provision("idle", 1)
    lasting.await_current("idle", 1)
    (promoted,) = lasting.ready("idle")
    assert (promoted["instance_id"], promoted["kind"]) == (on_demand["instance_id"], "provisioned")


def test_a_killed_idle_instance_is_replaced_without_a_failed_request(lasting: Stoke) -> None:
    deploy_slow(lasting, "victim")
    lasting.provision("victim", 2)
    lasting.await_current("victim", 2)
    victim = lasting.ready("victim")[0]
    os.kill(victim["pid"], signal.SIGKILL)
    with Load(lasting.trigger_url("victim"), users=1).running() as load:
        eventually(
            lambda: victim["instance_id"] not in {r["instance_id"] for r in lasting.instances("victim")}, "it is gone"
        )
        lasting.await_current("victim", 2)
        load.await_more(20)
    assert load.failures == {}


def test_the_control_plane_is_killed_under_load_and_nobody_notices(stoke: Stoke) -> None:
    deploy_slow(stoke)
    stoke.provision("f", 2, FAST_POLICY)
    stoke.await_current("f", 2)
    pids = {row["pid"] for row in stoke.ready("f")}
    with Load(stoke.trigger_url("f"), users=1).running() as load:
        old = stoke.kill("control-plane")
        load.await_more(40)
        stoke.await_restart("control-plane", old)
        eventually(lambda: stoke.client.get(stoke.endpoint + "/stoke/v1/status").status_code == 200, "the API answers")
        returned_s = time.monotonic()
        assert pids <= {row["pid"] for row in eventually(lambda: stoke.ready("f"), "instances are listed")}
        more = threading.Thread(target=_push, args=(stoke, 5), daemon=True)
        more.start()
        eventually(lambda: stoke.status("f")["target"] > 2, "scaling resumes", 10.0)
        assert time.monotonic() - returned_s < 3.0
        more.join(30.0)
    assert load.failures == {}
    assert all(start_time(pid) for pid in pids), "instances keep their processes"


def _push(stoke: Stoke, users: int) -> None:
    with Load(stoke.trigger_url("f"), users).running() as load:
        load.await_more(100)


def test_a_killed_gateway_is_back_within_two_seconds_and_connects_wait_for_it(lasting: Stoke) -> None:
    deploy_slow(lasting, "gate")
    lasting.provision("gate", 1)
    lasting.await_current("gate", 1)
    url = lasting.trigger_url("gate")
    old = lasting.kill("gateway")
    began_s = time.monotonic()
    answer = httpx.get(url, timeout=10.0)  # a new connection: those that were open died with the gateway
    assert answer.status_code == 200
    assert time.monotonic() - began_s < 2.0
    assert lasting.pid("gateway") != old


def test_serving_goes_on_while_the_store_is_killed_and_nothing_acknowledged_is_lost(stoke: Stoke) -> None:
    deploy_slow(stoke)
    stoke.provision("f", 1)
    stoke.await_current("f", 1)
    with Load(stoke.trigger_url("f"), users=1).running() as load:
        for number in range(20):
            stoke.call("POST", "/2016-08-15/services", {"serviceName": f"kept-{number}"})
            if number == 10:
                old = stoke.kill("store")
                stoke.await_restart("store", old)
                eventually(
                    lambda: stoke.client.get(f"{stoke.endpoint}/2016-08-15/services/kept-0").status_code == 200,
                    "the API answers again",
                )
        load.await_more(40)
    names = {s["serviceName"] for s in stoke.call("GET", "/2016-08-15/services?limit=100")["services"]}
    assert {f"kept-{n}" for n in range(20)} <= names
    assert load.failures == {}


def test_a_killed_node_finds_its_instances_again(stoke: Stoke) -> None:
    deploy_slow(stoke)
    stoke.provision("f", 2)
    stoke.await_current("f", 2)
    pids = {row["pid"] for row in stoke.ready("f")}
    with Load(stoke.trigger_url("f"), users=2).running() as load:
        old = stoke.kill("node")
        stoke.await_restart("node", old)
        load.await_more(40)
        stoke.provision("f", 3)
        stoke.await_current("f", 3)
    assert pids <= {row["pid"] for row in stoke.ready("f")}
    assert load.failures == {}


def test_everything_outlives_the_supervisor_and_the_next_one_adopts_it(stoke: Stoke) -> None:
    deploy_slow(stoke)
    stoke.provision("f", 2)
    stoke.await_current("f", 2)
    pids = {row["pid"] for row in stoke.ready("f")}
    parts = {part: stoke.pid(part) for part in ("store", "node", "control-plane", "gateway")}
    stoke.kill_supervisor()
    assert stoke.client.get(stoke.trigger_url("f")).status_code == 200
    stoke.up()
    assert {part: stoke.pid(part) for part in parts} == parts
    assert {row["pid"] for row in stoke.ready("f")} == pids
    old = stoke.kill("gateway")
    stoke.await_restart("gateway", old)
    assert httpx.get(stoke.trigger_url("f"), timeout=10.0).status_code == 200


def test_stopping_leaves_no_process_behind(tmp_path: Path) -> None:
    stoke = Stoke(tmp_path / "data", "--listen", "127.0.0.1:0").up()
    deploy_slow(stoke)
    stoke.provision("f", 2)
    stoke.await_current("f", 2)
    pids = {row["pid"] for row in stoke.ready("f")} | {
        stoke.pid(p) for p in ("store", "node", "control-plane", "gateway")
    }
    stoke.down()
    eventually(lambda: not any(start_time(pid) for pid in pids), "every process has ended", 5.0)


def test_what_was_deployed_is_there_after_everything_was_killed(tmp_path: Path) -> None:
    stoke = Stoke(tmp_path / "data", "--listen", "127.0.0.1:0").up()
    deploy_slow(stoke)
    stoke.provision("f", 1)
    stoke.await_current("f", 1)
    instance = stoke.ready("f")[0]["pid"]
    pids = [stoke.pid(part) for part in ("store", "node", "control-plane", "gateway")]
    stoke.kill_supervisor()
    for pid in [*pids, instance]:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(start_time(pid) for pid in pids), "all is dead")
    stoke.up()
    try:
        stoke.await_current("f", 1)
        assert stoke.client.get(stoke.trigger_url("f")).text == "warm"
    finally:
        stoke.down()
