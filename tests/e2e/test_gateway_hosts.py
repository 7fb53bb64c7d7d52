"""Gateways that the control plane's kernel does not know by their pids: each in a process namespace of its own, with a
lease, over one store."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest
import redis

from runtime.gateway.tenure import EXIT_STATUS
from runtime.leasing import LEASES_KEY, Grants
from tests.e2e.test_several_gateways import OPEN
from tests.support.control_planes import ControlPlanes, control_planes
from tests.support.gateway import GatewayProcess
from tests.support.stoke import Load, eventually
from tests.support.store import PrivateStore

pytestmark = pytest.mark.alone

LEASE_S = 5.0  # short for a test, long against what a busy machine stalls a process for
AWAY_S = 1.5 * LEASE_S


def why_not() -> str:
    if shutil.which("unshare") is None:
        return "unshare (util-linux) is not on PATH"
    tried = subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"no process namespace can be made here: {tried.stderr.strip()}"


class DistantGateway(GatewayProcess):
    """In a process namespace of its own, where its pid is 1, as in a Pod."""

    def __init__(self, planes: ControlPlanes, folder: Path) -> None:
        folder.mkdir()
        for name in ("credentials.json", "secret.key"):
            shutil.copy(planes.data / name, folder)
        super().__init__(
            planes.store.url, f"unix:{planes.socket('a')}", folder, "--gateways", "2", "--lease-s", str(LEASE_S)
        )
        self._command = ["unshare", "--pid", "--fork", "--kill-child", *self._command]

    def signal(self, number: signal.Signals) -> None:
        (child,) = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        os.kill(int(child), number)

    def url(self, planes: ControlPlanes, function: str) -> str:
        return planes.trigger_url(function).replace(f":{planes.gateway.port}/", f":{self.port}/")


@pytest.fixture
def planes(private_store: PrivateStore) -> Iterator[ControlPlanes]:
    if why := why_not():
        pytest.skip(why)
    with control_planes(private_store, gateway=False) as both:
        yield both


@pytest.fixture
def gateways(planes: ControlPlanes, tmp_path: Path) -> Iterator[list[DistantGateway]]:
    both = [DistantGateway(planes, tmp_path / name) for name in ("one", "two")]
    with ExitStack() as ended:
        for gateway in both:
            ended.callback(gateway.stop)
            gateway.start()
        yield both


def gone(planes: ControlPlanes) -> int:
    """How many gateways the control plane has taken for gone."""
    return (planes.data / "a.log").read_text().count("gateway.gone")


def owners_of_all(planes: ControlPlanes, instances: int) -> set[str]:
    """The gateway that has the slots of all so many instances; nobody while they are shared."""
    with redis.Redis.from_url(planes.store.url) as client:
        granted = [Grants.from_json(value).slots for value in client.hgetall(LEASES_KEY).values()]
    owners = {name for slots in granted for name in slots}
    return owners if len(granted) == instances and all(granted) and len(owners) == 1 else set()


def has_its_store_back(gateway: DistantGateway) -> bool:
    log = gateway.log()
    assert "lease.lost" not in log, log
    return "lease.store_back" in log


def is_provisioned(planes: ControlPlanes, target: int) -> bool:
    """Asked until it is taken: while the store was away the leader's lease has run out there, so whoever looks first
    takes it, and for a moment the other one refuses what it is asked."""
    answer = planes.client.put(planes.endpoint + planes.provision_path("f"), json={"target": target})
    assert answer.status_code in (200, 503), answer.text
    return answer.status_code == 200


def await_all_slots(planes: ControlPlanes, gateway: DistantGateway, others: set[str]) -> None:
    load = Load(gateway.url(planes, "f"), 6, b"0.005")
    with load.running():
        eventually(lambda: owners_of_all(planes, 3) - others, "all slots come to the gateway that asks")
    assert load.failures == {}


def test_a_gateway_that_hangs_ends_before_it_uses_what_others_have_got_and_one_that_leaves_is_not_waited_for(
    planes: ControlPlanes, gateways: list[DistantGateway]
) -> None:
    planes.deploy("f", {"app.py": OPEN}, handler="app.app", instanceConcurrency=1)
    planes.provision("f", 2)
    planes.await_current("f", 2)
    hangs = gateways[0]
    lost, load = (Load(each.url(planes, "f"), 4, b"0.005") for each in gateways)
    with lost.running(), load.running():
        lost.await_more(50)
        load.await_more(50)
        hangs.signal(signal.SIGSTOP)
        stopped_s = time.monotonic()
        eventually(lambda: gone(planes) == 1, "its slots come back", LEASE_S + 10.0)
        assert time.monotonic() - stopped_s >= LEASE_S * 0.8
        load.await_more(50)
        hangs.signal(signal.SIGCONT)
        assert hangs.process is not None
        assert hangs.process.wait(10.0) == EXIT_STATUS
        load.await_more(50)
        assert load.failures == {}
        hangs.start()
        with httpx.Client(timeout=30.0) as client:
            most = [int(client.post(hangs.url(planes, "f"), content=b"0").text.split()[1]) for _ in range(10)]
        hangs.signal(signal.SIGTERM)
        assert hangs.process.wait(10.0) == 0
        ended_s = time.monotonic()
        eventually(lambda: gone(planes) == 2, "it has left", 10.0)
        assert time.monotonic() - ended_s < LEASE_S
        load.await_more(50)
    assert load.failures == {}
    assert max(most) == 1


@pytest.mark.long
def test_a_store_that_is_away_for_longer_than_a_lease_costs_no_request_and_slots_move_again_when_it_is_back(
    planes: ControlPlanes, gateways: list[DistantGateway]
) -> None:
    planes.deploy("f", {"app.py": OPEN}, handler="app.app", instanceConcurrency=1)
    none = {"maximumInstanceCount": 0}
    planes.call("PUT", "/2016-08-15/services/svc/functions/f/on-demand-config", none)
    planes.provision("f", 2)
    planes.await_current("f", 2)
    pids = [gateway.pid for gateway in gateways]
    # One request at a time at each, so that each has a slot and none is on its way when the store goes: until that is
    # back nobody's slots move, and a gateway that has none waits for one.
    one, two = (Load(each.url(planes, "f"), 1, b"0.005") for each in gateways)
    with one.running(), two.running():
        one.await_more(50)
        two.await_more(50)
        planes.store.kill()
        killed_s = time.monotonic()
        while time.monotonic() < killed_s + AWAY_S:
            one.await_more(20)
            two.await_more(20)
        planes.store.start()
        for each in gateways:
            eventually(partial(has_its_store_back, each), "it renews in the store again")
        eventually(partial(is_provisioned, planes, 3), "a control plane leads again")
        planes.await_current("f", 3)
        one.await_more(50)
        two.await_more(50)
    assert (one.failures, two.failures) == ({}, {})
    assert [gateway.pid for gateway in gateways] == pids
    await_all_slots(planes, gateways[0], others=set())
    await_all_slots(planes, gateways[1], others=owners_of_all(planes, 3))
