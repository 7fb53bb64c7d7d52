"""A whole Stoke under constant load: instances scaled in and out, replaced, and killed. What that may cost, and what
it must not. `test_gateway_replacing.py` has the same of a gateway alone."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.stoke import Load, Stoke, eventually

pytestmark = pytest.mark.alone

HANDLER = "import time\ndef handler(event, context):\n    time.sleep(0.01)\n    return 'done'\n"
USERS = 4
INSTANCES = 8
KILLS = 20


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    with Stoke(tmp_path_factory.mktemp("l") / "d", "--listen", "127.0.0.1:0") as running:
        yield running


def deployed(stoke: Stoke, name: str, instances: int, **fields: Any) -> None:
    stoke.deploy(name, {"app.py": HANDLER}, **fields)
    stoke.provision(name, instances)
    stoke.await_current(name, instances)


def test_scaling_in_and_out_and_replacing_every_instance_fails_no_request(lasting: Stoke) -> None:
    deployed(lasting, "scaled", INSTANCES)
    none = {"maximumInstanceCount": 0}  # on demand: what is provisioned no more goes, and is not kept as such
    lasting.call("PUT", "/2016-08-15/services/svc/functions/scaled/on-demand-config", none)
    with Load(lasting.trigger_url("scaled"), USERS).running() as load:
        load.await_more(50)
        lasting.provision("scaled", 1)
        eventually(lambda: len(lasting.instances("scaled")) == 1, "one is left", 60.0)
        load.await_more(50)
        lasting.provision("scaled", INSTANCES)
        lasting.await_current("scaled", INSTANCES)
        load.await_more(50)
        before = {row["instance_id"] for row in lasting.instances("scaled")}
        changed = {"environmentVariables": {"NEW": "1"}}
        lasting.call("PUT", "/2016-08-15/services/svc/functions/scaled", changed)
        eventually(
            lambda: before.isdisjoint(row["instance_id"] for row in lasting.instances("scaled")),
            "all are replaced",
            60.0,
        )
        load.await_more(50)
    assert load.failures == {}
    lasting.provision("scaled", 0)


def test_twenty_killed_instances_cost_only_what_was_inside_them_and_may_not_be_sent_again(lasting: Stoke) -> None:
    roll = random.Random(4)
    deployed(lasting, "again", INSTANCES // 2, retryable=True)
    deployed(lasting, "once", INSTANCES // 2)
    again, once = (Load(lasting.trigger_url(name), USERS) for name in ("again", "once"))
    with again.running(), once.running():
        for number in range(KILLS):
            name, load = (("again", again), ("once", once))[number % 2]
            load.await_more(10)
            eventually(lambda: lasting.ready(name), "there is one to kill")  # noqa: B023
            os.kill(roll.choice(lasting.ready(name))["pid"], signal.SIGKILL)
        for load in (again, once):
            load.await_more(50)
    assert again.failures == {}
    assert sum(once.failures.values()) <= KILLS // 2, "one slot each"
    for told in once.failures:
        assert "exited unexpectedly before completing request; it was not sent again" in told
