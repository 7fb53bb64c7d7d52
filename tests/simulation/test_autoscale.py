"""The whole control side in virtual time: registry, usage, decisions, fleet, over a fake backend."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from control_plane.autoscale import Autoscaler, Pace
from control_plane.backends.fake import Behaviour, FakeBackend
from control_plane.fleet.keeper import FleetKeeper, Limits
from control_plane.fleet.memories import InProcessMemoryStore
from control_plane.fleet.records import MemoryRecordStore
from control_plane.fleet.usage import UsageBook
from control_plane.model import Function, QualifiedFunction, Service
from control_plane.ports import ProvisionStatus
from control_plane.registry.memory import MemoryRegistry
from control_plane.view import FleetView
from provision.config import parse
from runtime.contract import FunctionUsage, LaunchSpec, UsageReport
from tests.support.virtual_time import VirtualClock, in_virtual_time

NAME = QualifiedFunction(service_name="svc", qualifier="LATEST", function_name="f")
POLICY = {
    "name": "p", "metricType": "ProvisionedConcurrencyUtilization", "metricTarget": 0.5,
    "minCapacity": 2, "maxCapacity": 8,
}  # fmt: skip


def make_spec(function: Function, service: Service, version: str, instance_id: str) -> LaunchSpec:
    return LaunchSpec(instance_id, service.service_name, function.function_name, version, function.revision, "custom")


class Scene:
    """A control plane and one gateway that reports what it is told to have seen."""

    def __init__(self, *, launch_s: float = 0.1) -> None:
        self.clock = VirtualClock()
        self.backend = FakeBackend(behaviour=Behaviour(launch_s=launch_s))
        self.registry = MemoryRegistry(utc_s=self.clock.utc_s)
        self.records = MemoryRecordStore()
        self.memories = InProcessMemoryStore()
        self.numbers = itertools.count(1)
        self.tasks: list[asyncio.Task[Any]] = []
        self.requests = 0

    async def begin(self) -> None:
        self.usage = UsageBook()
        self.keeper = FleetKeeper(
            self.backend, self.records, self.usage, self.clock, lambda: f"i{next(self.numbers)}", Limits(),
            on_change=lambda key: self.autoscaler.hurry([key]),
        )  # fmt: skip
        self.autoscaler = Autoscaler(
            self.registry, self.keeper, self.usage, self.backend, self.memories, self.clock, make_spec, Pace()
        )
        self.view = FleetView(self.autoscaler, self.keeper, self.usage, self.backend)
        await self.keeper.adopt()
        loops = (self.keeper.follow(), self.autoscaler.run(), self._gateway())
        self.tasks = [asyncio.create_task(loop) for loop in loops]

    async def crash(self) -> None:
        for task in self.tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.keeper.close()

    async def deploy(self, **fields: Any) -> None:
        with suppress(Exception):
            await self.registry.create_service(Service(service_name="svc"))
        function = {"serviceName": "svc", "functionName": "f", "runtime": "custom", **fields}
        await self.registry.create_function(Function.model_validate(function))

    async def provision(self, target: int, *policies: dict[str, Any]) -> None:
        await self.registry.put_provision(NAME, parse({"target": target, "targetTrackingPolicies": list(policies)}))

    async def _gateway(self) -> None:
        """Reports each second what `self.requests` clients, who ask again as soon as they are answered, make of it."""
        while True:
            await asyncio.sleep(1.0)
            self.autoscaler.hurry(self.usage.absorb(self.report(1.0)))

    def report(self, interval_s: float) -> UsageReport:
        records = [r for r in self.keeper.records() if r.state == "READY"]
        inside = min(self.requests, len(records))
        busy = {record.instance_id: 1 for record in records[:inside]}
        draining = [r.instance_id for r in self.keeper.records() if r.state == "DRAINING"]
        seen = FunctionUsage(
            "svc", "f", "LATEST", inside, 0, self.requests - inside, self.requests * interval_s, inside * interval_s,
            self.requests,
        )  # fmt: skip
        functions = [dataclasses.asdict(seen)] if self.requests else []
        return UsageReport("g", 1, self.clock.utc_s(), interval_s, functions, busy, {}, draining)

    def burst(self, requests: int) -> None:
        self.requests = requests
        self.autoscaler.hurry(self.usage.absorb(self.report(0.02)))

    async def status(self) -> ProvisionStatus:
        return self.view.provision_status(NAME, await self.registry.get_provision(NAME))


async def until(condition: Callable[[], bool], timeout_s: float = 600.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def ready(scene: Scene) -> int:
    return sum(record.state == "READY" for record in scene.keeper.records())


@in_virtual_time
async def test_what_is_provisioned_comes_up_and_is_shown() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    await scene.provision(3)
    await until(lambda: ready(scene) == 3, timeout_s=2.0)
    status = await scene.status()
    assert (status.target, status.current, status.starting, status.current_error) == (3, 3, 0, "")


@in_virtual_time
async def test_a_burst_starts_on_demand_instances_at_once_which_the_rising_target_then_keeps() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    await scene.provision(2, POLICY)
    await until(lambda: ready(scene) == 2)
    scene.burst(4)
    await until(lambda: ready(scene) >= 4, timeout_s=0.3)
    await until(lambda: ready(scene) == 8, timeout_s=5.0)
    await asyncio.sleep(5.0)
    assert {record.kind for record in scene.keeper.records()} == {"provisioned"}
    assert scene.backend.launched_total == 8, "promotion costs no launch"


@in_virtual_time
async def test_when_the_load_is_gone_it_comes_back_to_the_minimum_and_launches_nothing_more() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    await scene.provision(2, POLICY)
    scene.burst(4)
    await until(lambda: ready(scene) == 8)
    await asyncio.sleep(60.0)
    scene.requests = 0
    await until(lambda: ready(scene) == 2)
    await asyncio.sleep(120.0)
    assert ready(scene) == 2
    assert len(scene.keeper.records()) == 2
    assert scene.backend.launched_total == 8


@in_virtual_time
async def test_constant_load_changes_no_target() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    await scene.provision(2, POLICY)
    scene.burst(3)
    await until(lambda: ready(scene) == 6)
    targets = set()
    for _ in range(300):
        await asyncio.sleep(1.0)
        targets.add((await scene.status()).target)
    assert targets == {6}


@in_virtual_time
async def test_a_restarted_control_plane_remembers_why_and_relaunches_nothing() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    await scene.provision(2, POLICY)
    scene.burst(4)
    await until(lambda: ready(scene) == 8)
    await asyncio.sleep(10.0)
    await scene.crash()
    scene.requests = 0
    await scene.begin()
    await asyncio.sleep(2.0)
    assert (await scene.status()).target == 8, "the stable window still holds the burst"
    assert scene.backend.launched_total == 8


@in_virtual_time
async def test_a_removed_function_is_drained() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    await scene.provision(2)
    await until(lambda: ready(scene) == 2)
    await scene.registry.delete_function("svc", "f")
    await until(lambda: not scene.keeper.records(), timeout_s=10.0)


@in_virtual_time
async def test_a_changed_function_is_replaced_instance_by_instance() -> None:
    scene = Scene(launch_s=1.0)
    await scene.begin()
    await scene.deploy()
    await scene.provision(3)
    await until(lambda: ready(scene) == 3)
    before = {record.instance_id for record in scene.keeper.records()}
    function = await scene.registry.get_function("svc", "f")
    await scene.registry.update_function(function.model_copy(update={"environment_variables": {"A": "1"}}))
    least = 3
    while before & {record.instance_id for record in scene.keeper.records()}:
        await asyncio.sleep(0.05)
        least = min(least, ready(scene))
    assert least == 3, "the old ones serve until the new ones are ready"
    assert ready(scene) == 3


@in_virtual_time
async def test_what_the_machine_holds_is_launched_and_the_rest_is_said() -> None:
    scene = Scene()
    scene.backend.memory_mib = 1024
    await scene.begin()
    await scene.deploy(memorySize=512)
    await scene.provision(5)
    await until(lambda: ready(scene) == 2, timeout_s=5.0)
    await asyncio.sleep(3.0)
    status = await scene.status()
    assert (status.target, status.current) == (5, 2)
    assert status.current_error.startswith("no room for 3 more instances: 512 MiB of memory asked for, 0 of 1024")
    assert any("room for 2 of 5" in reason for reason in status.reasons)


@in_virtual_time
async def test_on_demand_instances_are_reaped_when_idle() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    scene.burst(3)
    await until(lambda: ready(scene) == 3, timeout_s=1.0)
    scene.requests = 0
    await asyncio.sleep(170.0)
    assert ready(scene) == 3
    await until(lambda: not scene.keeper.records(), timeout_s=30.0)
