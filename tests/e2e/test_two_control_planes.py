"""Two control planes on one store: one leads, the other one answers too, and takes over."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.control_planes import LEASE_S, ControlPlanes, control_planes
from tests.support.stoke import Load, eventually
from tests.support.store import PrivateStore

pytestmark = pytest.mark.alone

HANDLER = """
import time

def handler(environ, start_response):
    time.sleep(0.02)
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"ok"]
"""
# A lease, a look, and what a busy machine takes to run the two; the promise is made for the first two.
TAKEN_OVER_S = 1.2 * LEASE_S + 15.0


@pytest.fixture
def planes(private_store: PrivateStore) -> Iterator[ControlPlanes]:
    with control_planes(private_store) as both:
        yield both


def put_target(planes: ControlPlanes, target: int) -> bool:
    answer = planes.client.put(planes.endpoint + planes.provision_path("f"), json={"target": target})
    assert answer.status_code in (200, 503), answer.text
    return answer.status_code == 200


def test_kill_9_of_the_leader_costs_no_request_and_launches_nothing_twice(planes: ControlPlanes) -> None:
    planes.deploy("f", {"app.py": HANDLER})
    planes.provision("f", 2)  # through the one that does not lead
    planes.await_current("f", 2)
    assert planes.leads("a")
    assert not planes.leads("b")
    before = planes.running()
    with Load(planes.trigger_url("f"), 2).running() as load:
        load.await_more(20)
        planes.signal("a", signal.SIGKILL)
        killed_at_s = time.monotonic()
        assert planes.call("GET", "/2016-08-15/services/svc")["serviceName"] == "svc", "the registry answers"
        eventually(lambda: put_target(planes, 3), "503 while nobody leads, then somebody does", TAKEN_OVER_S)
        assert time.monotonic() - killed_at_s < TAKEN_OVER_S
        planes.await_current("f", 3)
        load.await_more(20)
    assert load.failures == {}
    after = planes.running()
    assert before.items() <= after.items(), "what lived lives on, by the same pid"
    assert len(after) == len(planes.launched()) == 3


def test_a_leader_that_was_stopped_for_longer_than_its_lease_changes_nothing_and_ends(planes: ControlPlanes) -> None:
    planes.deploy("f", {"app.py": HANDLER})
    planes.provision("f", 1)
    planes.await_current("f", 1)
    planes.signal("a", signal.SIGSTOP)
    planes.await_leader("b", TAKEN_OVER_S)
    planes.ask("b")
    planes.provision("f", 2)
    planes.await_current("f", 2)
    planes.signal("a", signal.SIGCONT)  # it hears of an instance that it has not launched, and must let it live
    assert planes.await_end("a") == 0
    assert len(planes.running()) == len(planes.launched()) == 2
    planes.start("a")
    planes.ask("a")
    assert planes.status("f")["current"] == 2, "it came back as the one that waits, and passes questions on"
    planes.signal("b", signal.SIGTERM)
    began_s = time.monotonic()
    planes.await_leader("a", TAKEN_OVER_S)
    eventually(lambda: planes.status("f")["current"] == 2, "the instances are known again")
    assert time.monotonic() - began_s < TAKEN_OVER_S
