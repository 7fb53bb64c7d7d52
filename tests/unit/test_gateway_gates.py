"""Which gates a gateway keeps: those in use, and those that have something to say."""

from __future__ import annotations

import asyncio
from pathlib import Path

from runtime.contract import (
    INSTANCES_KEY,
    LATEST,
    ROUTES_KEY,
    FunctionRoute,
    InstanceRecord,
    InstanceState,
    Kind,
    UsageReport,
    VersionKey,
    function_field,
)
from runtime.gateway.gate import Lease, Ticket
from runtime.gateway.gateway import Gateway
from runtime.gateway.settings import GatewaySettings

BUSY, FAILED, IDLE = (("s", LATEST, name) for name in ("busy", "failed", "idle"))


async def publish(report: UsageReport) -> bool:
    return True


class Waiter:
    refused = 0

    def refuse(self, refusal: object) -> None:
        self.refused += 1


def gateway(folder: Path) -> Gateway:
    settings = GatewaySettings(
        listen="127.0.0.1:0", store=f"unix://{folder}/none", control_plane=f"unix:{folder}/none", data=str(folder)
    )
    made = Gateway(asyncio.get_running_loop(), settings, publish)
    for service, version, function in (BUSY, FAILED, IDLE):
        route = FunctionRoute(service, function, version, "r")
        made.news.change(ROUTES_KEY, function_field(service, version, function), route.to_json())
    return made


def report(made: Gateway) -> set[VersionKey]:
    """What a report does; gives the keys of the gates that are left."""
    made._unreachable()
    return set(made._gates)


async def test_a_gate_that_nobody_uses_is_dropped_and_one_with_a_queue_or_a_failure_is_kept(tmp_path: Path) -> None:
    made = gateway(tmp_path)
    ticket = made.gate(BUSY).reserve(Waiter(), 0.0)
    assert isinstance(ticket, Ticket)
    made.gate(FAILED).last_failure = "no module named app"
    made.gate(IDLE)
    generation = made.routes.generation
    assert report(made) == {BUSY, FAILED}
    assert made.routes.generation > generation, "no request is led to the gate that is gone"
    made.gate(BUSY).cancel(ticket, 1.0)
    assert BUSY in report(made), "what it has counted is not reported yet"
    made.gate(BUSY).usage.take_served()
    made.gate(BUSY).usage.begin_interval()
    assert report(made) == {FAILED}
    made.news.change(ROUTES_KEY, function_field(*FAILED), "")
    assert report(made) == set(), "nobody can ask for it any more"
    await made.close()


async def test_who_waits_for_a_function_that_is_deleted_is_turned_away_and_nobody_else(tmp_path: Path) -> None:
    made = gateway(tmp_path)
    waiters = {key: Waiter() for key in (BUSY, IDLE)}
    for key, waiter in waiters.items():
        made.gate(key).reserve(waiter, 0.0)
    made.news.change(ROUTES_KEY, function_field(*IDLE), "")
    assert {key: waiter.refused for key, waiter in waiters.items()} == {BUSY: 0, IDLE: 1}
    made.news.load({}, {})
    assert waiters[BUSY].refused == 1
    await made.close()


async def test_a_request_from_zero_is_released_in_the_very_step_that_learns_of_the_instance(tmp_path: Path) -> None:
    """Nothing looks for it later: no timer, no task and no turn of the loop are between the record and the slot."""
    made = gateway(tmp_path)
    leases: list[Lease] = []

    class First(Waiter):
        def granted(self, lease: Lease) -> None:
            leases.append(lease)

    gate = made.gate(IDLE)
    ticket = gate.reserve(First(), 0.0)
    assert isinstance(ticket, Ticket)
    service, version, function = IDLE
    record = InstanceRecord(
        instance_id="i-1",
        service=service,
        function=function,
        version=version,
        revision="r",
        kind=Kind.ON_DEMAND,
        state=InstanceState.READY,
        slots=1,
        node="n",
        address=f"unix:{tmp_path}/i-1",
    )
    made.news.change(INSTANCES_KEY, "i-1", record.to_json())
    assert [lease.instance.instance_id for lease in leases] == ["i-1"]
    assert leases[0].cold_start
    await made.close()
