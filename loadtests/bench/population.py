"""A control plane with thousands of functions in virtual time, and what a tick of it costs: see `fleet`.

The real autoscaler, keeper and registry run over a fake backend, each function with its policy and its instances. CPU
time, as the clock on the wall counts what else the machine does. A gateway's report is taken in before a tick, as in
production, and counted beside it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from control_plane.autoscale import Autoscaler, Pace
from control_plane.backends.fake import FakeBackend
from control_plane.fleet.keeper import FleetKeeper, Limits
from control_plane.fleet.memories import InProcessMemoryStore
from control_plane.fleet.records import MemoryRecordStore
from control_plane.fleet.usage import UsageBook
from control_plane.model import Function, QualifiedFunction, Service
from control_plane.registry.memory import MemoryRegistry
from provision.config import parse
from runtime.compiled import DECISIONS
from runtime.contract import FunctionUsage, UsageReport
from runtime.node_contract import InstanceSample, LaunchSpec

FUNCTIONS_PER_SERVICE: Final = 100
BEGAN_S: Final = 1_767_225_600.0  # 2026-01-01: which day it is decides nothing
MEMORY_MIB: Final = 128
WARM_TICKS: Final = 70  # until the stable window is full: buckets are what a decision costs
KIB_PER_MIB: Final = 1024.0


class ManualClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = BEGAN_S

    def utc_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, _seconds: float) -> None:
        await asyncio.sleep(0.0)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds: of one tick, and of taking in the report before it. Medians of the repetitions."""

    functions: int  # that the report tells of
    tick_s: float
    tick_s_max: float
    report_s: float


class Population:
    """A control plane with so many functions, each with a policy that keeps as many instances as it has."""

    def __init__(self, functions: int, instances: int) -> None:
        self.clock = ManualClock()
        self.backend = FakeBackend(memory_mib=instances * MEMORY_MIB * 2)
        self.registry = MemoryRegistry(utc_s=self.clock.utc_s)
        self.usage = UsageBook()
        numbers = itertools.count(1)
        self.keeper = FleetKeeper(
            self.backend, MemoryRecordStore(), self.usage, self.clock, lambda: f"c-{next(numbers):08d}", Limits(),
            on_change=lambda key: self.autoscaler.hurry([key]),
        )  # fmt: skip
        self.autoscaler = Autoscaler(
            self.registry, self.keeper, self.usage, self.backend, InProcessMemoryStore(), self.clock, _spec, Pace()
        )
        self.per_function = instances // functions
        self.names = [
            (f"s{index // FUNCTIONS_PER_SERVICE:04d}", f"f{index % FUNCTIONS_PER_SERVICE:03d}")
            for index in range(functions)
        ]
        self._following: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Deploy everything, and tick until every instance is there."""
        least = self.per_function
        policy = {
            "name": "p", "metricType": "ProvisionedConcurrencyUtilization", "metricTarget": 0.5,
            "minCapacity": least, "maxCapacity": least + 10,
        }  # fmt: skip
        config = parse({"target": 0, "targetTrackingPolicies": [policy]})
        for service in sorted({service for service, _ in self.names}):
            await self.registry.create_service(Service(service_name=service))
        for service, name in self.names:
            fields = {"serviceName": service, "functionName": name, "runtime": "custom", "memorySize": MEMORY_MIB}
            await self.registry.create_function(Function.model_validate(fields))
            qualified = QualifiedFunction(service_name=service, qualifier="LATEST", function_name=name)
            await self.registry.put_provision(qualified, config)
        self._following = asyncio.create_task(self.keeper.follow())
        await self.keeper.connected.wait()
        wanted = least * len(self.names)
        while sum(record.ready_at_s > 0.0 for record in self.keeper.records()) < wanted:
            await self.tick(0)
        self.backend.readings = {
            instance_id: InstanceSample(instance_id, self.clock.now_s, cpu_utilization=0.1, memory_mib=64.0)
            for instance_id in self.backend.statuses
        }

    async def tick(self, busy: int) -> tuple[float, float]:
        """A second later: CPU seconds of a report that tells of `busy` functions, and of the tick."""
        self.clock.now_s += 1.0
        report = self._report(busy)
        began_s = time.process_time()
        self.autoscaler.hurry(self.usage.absorb(report))
        reported_s = time.process_time()
        await self.autoscaler.tick()
        ticked_s = time.process_time()
        for _ in range(20):
            await asyncio.sleep(0.0)  # what was begun happens outside of the tick
        return reported_s - began_s, ticked_s - reported_s

    def _report(self, busy: int) -> UsageReport:
        functions = [dataclasses.asdict(_usage(service, name)) for service, name in self.names[:busy]]
        return UsageReport("g", 1, self.clock.now_s, 1.0, functions)

    async def end(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self.keeper.close()


def _usage(service: str, name: str) -> FunctionUsage:
    return FunctionUsage(service, name, "LATEST", 1, 0, 0, 1.0, 1.0, 1, arrived=10, finished=10)


def _spec(function: Function, service: Service, version: str, instance_id: str) -> LaunchSpec:
    return LaunchSpec(instance_id, service.service_name, function.function_name, version, function.revision, "custom")


async def measure(functions: int, instances: int, repetitions: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything, as JSON has it."""
    population = Population(functions, instances)
    say(f"deploying {functions} functions, launching {instances} instances")
    await population.begin()
    for _ in range(WARM_TICKS):
        await population.tick(0)
    costs = {}
    one_in_a_hundred = max(1, functions // 100)
    for name, busy in (
        ("nothing changed", 0),
        ("1 % with new usage", one_in_a_hundred),
        ("all with new usage", functions),
    ):
        say(name)
        ticks = [await population.tick(busy) for _ in range(repetitions)]
        costs[name] = Cost(busy, median(t for _, t in ticks), max(t for _, t in ticks), median(r for r, _ in ticks))
    await population.end()
    return {
        "functions": functions,
        "instances": population.per_function * functions,
        "compiled": DECISIONS.is_used(),
        "rss_mib_max": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB, 1),
        "ticks": {name: dataclasses.asdict(cost) for name, cost in costs.items()},
    }
