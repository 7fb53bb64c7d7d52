"""A control plane over a fake backend, and one gateway that reports what it is told to have seen."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from control_plane.autoscale import Autoscaler, Pace
from control_plane.backends.fake import Behaviour, FakeBackend
from control_plane.backends.pools import Pools
from control_plane.fleet.keeper import FleetKeeper, Limits
from control_plane.fleet.memories import InProcessMemoryStore
from control_plane.fleet.pooling import Pooling
from control_plane.fleet.records import MemoryRecordStore
from control_plane.fleet.usage import UsageBook
from control_plane.fleet_views import ProvisionStatus
from control_plane.model import Function, QualifiedFunction, Service
from control_plane.ports import Readings
from control_plane.registry.memory import MemoryRegistry
from control_plane.view import FleetView
from provision.config import parse
from runtime.contract import FunctionUsage, UsageReport
from runtime.node_contract import LaunchSpec
from tests.support.virtual_time import VirtualClock

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
        self.readings: Readings | None = None
        self.pools: Pools | None = None

    async def begin(self) -> None:
        self.usage = UsageBook()
        self.keeper = FleetKeeper(
            self.backend, self.records, self.usage, self.clock, lambda: f"i{next(self.numbers)}", Limits(),
            on_change=lambda key: self.autoscaler.hurry([key]), pooling=Pooling(self.pools, 30.0, 10.0),
        )  # fmt: skip
        self.autoscaler = Autoscaler(
            self.registry, self.keeper, self.usage, self.backend, self.memories, self.clock, make_spec, Pace(),
            self.readings,
        )  # fmt: skip
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


async def deployed(
    target: int | None = None,
    *policies: dict[str, Any],
    launch_s: float = 0.1,
    memory_mib: int = 64 * 1024,
    **fields: Any,
) -> Scene:
    """A scene that has begun, with one function; provisioned, if a target is given."""
    scene = Scene(launch_s=launch_s)
    scene.backend.memory_mib = memory_mib
    await scene.begin()
    await scene.deploy(**fields)
    if target is not None:
        await scene.provision(target, *policies)
    return scene


async def until(condition: Callable[[], bool], timeout_s: float = 600.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def ready(scene: Scene) -> int:
    return sum(record.state == "READY" for record in scene.keeper.records())
