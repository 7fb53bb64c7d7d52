"""What makes GPU metrics run away elsewhere, through the live autoscaler with the node's simulated cards."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from control_plane.model import Function, QualifiedFunction
from provision.config import parse
from runtime.contract import FunctionUsage, InstanceRecord, InstanceState, UsageReport
from runtime.node.devices import ProcessReading, SimulatedDevices
from runtime.node_contract import InstanceSample
from tests.simulation.scene import Scene, until
from tests.support.virtual_time import in_virtual_time

BY_SM = {
    "name": "sm", "metricType": "GPUSmUtilization", "metricTarget": 0.6, "minCapacity": 1, "maxCapacity": 100,
    "stableWindowSeconds": 20,
}  # fmt: skip
SLOTS = 2


class OneCard(Scene):
    """Functions that share a card. Each instance is a process that keeps it as busy as the function says."""

    def __init__(self) -> None:
        super().__init__(launch_s=2.0)
        self.clients: dict[str, int] = {}
        self.busy: dict[str, float] = {}
        self.lag_s: dict[str, float] = {}
        self.card = SimulatedDevices(1, 24 * 1024)
        self.backend.samples = self._samples  # type: ignore[method-assign]

    async def share(self, *names: str) -> None:
        """Deploy these, a GPU policy each, and wait for their first instances."""
        await self.begin()
        await self.deploy(functionName=names[0], instanceConcurrency=SLOTS)
        for name in names[1:]:
            fields = {
                "serviceName": "svc", "functionName": name, "runtime": "custom", "instanceConcurrency": SLOTS
            }  # fmt: skip
            await self.registry.create_function(Function.model_validate(fields))
        for name in names:
            await self.registry.put_provision(qualified(name), parse({"targetTrackingPolicies": [BY_SM]}))
        await until(lambda: all(self.there(name) for name in names))

    def there(self, name: str) -> list[InstanceRecord]:
        return [r for r in self.keeper.records(("svc", "LATEST", name)) if r.state is InstanceState.READY]

    def target(self, name: str) -> int:
        return self.autoscaler.explained(qualified(name))[0].target

    async def _samples(self) -> list[InstanceSample]:
        records = [record for record in self.keeper.records() if record.state is InstanceState.READY]
        readings = [ProcessReading(pid, self.busy.get(r.function, 0.0), 100.0) for pid, r in enumerate(records)]
        uses = self.card.samples(readings)
        return [
            InstanceSample(
                record.instance_id,
                self.clock.utc_s() - self.lag_s.get(record.function, 0.0),
                gpu_sm_utilization=uses[pid].sm_utilization,
                simulated=True,
            )
            for pid, record in enumerate(records)
        ]

    def report(self, interval_s: float) -> UsageReport:
        functions: list[dict[str, Any]] = []
        for name, clients in self.clients.items():
            inside = min(clients, SLOTS * len(self.there(name)))
            usage = FunctionUsage(
                "svc", name, "LATEST", inside, 0, clients - inside, clients * interval_s, inside * interval_s, clients
            )
            functions.append(dataclasses.asdict(usage))
        drained = [r.instance_id for r in self.keeper.records() if r.state is InstanceState.DRAINING]
        return UsageReport("g", 1, self.clock.utc_s(), interval_s, functions, {}, {}, drained)


def qualified(name: str) -> QualifiedFunction:
    return QualifiedFunction(service_name="svc", qualifier="LATEST", function_name=name)


@in_virtual_time
async def test_one_request_that_holds_the_card_for_half_an_hour_has_one_instance_all_the_time() -> None:
    scene = OneCard()
    await scene.share("f")
    scene.clients, scene.busy = {"f": 1}, {"f": 1.0}
    await asyncio.sleep(1800.0)
    assert scene.target("f") == 1
    assert scene.backend.launched_total == 1
    await scene.crash()


@in_virtual_time
async def test_a_busy_neighbour_on_the_card_does_not_scale_the_one_beside_it() -> None:
    scene = OneCard()
    await scene.share("busy", "calm")
    # Two requests at once: a second instance would be allowed, and the card as a whole is busy enough for one.
    scene.clients, scene.busy = {"busy": 6, "calm": 2}, {"busy": 0.9, "calm": 0.3}
    await until(lambda: len(scene.there("busy")) == 6, timeout_s=120.0)
    await asyncio.sleep(100.0)
    assert {one.target for one in scene.autoscaler.explained(qualified("calm"))} == {1}
    assert len(scene.there("calm")) == 1
    await scene.crash()


@in_virtual_time
async def test_samples_40_s_old_neither_grow_nor_shrink_and_that_is_said() -> None:
    scene = OneCard()
    await scene.share("f")
    scene.clients, scene.busy = {"f": 3}, {"f": 0.9}
    await until(lambda: scene.target("f") == 3, timeout_s=120.0)
    await asyncio.sleep(30.0)
    scene.lag_s["f"] = 40.0
    await asyncio.sleep(60.0)
    for busy in (1.0, 0.0):
        scene.busy["f"] = busy
        await asyncio.sleep(60.0)
        newest = scene.autoscaler.explained(qualified("f"))[0]
        assert newest.target == 3
        assert "a sample 40 s old ignored" in newest.policies[0].reasons[0]
    scene.lag_s.clear()
    scene.clients["f"] = 1
    await until(lambda: scene.target("f") == 1, timeout_s=300.0)
    await scene.crash()
