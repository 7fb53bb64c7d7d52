"""The policy with a percentile as the whole control side carries it out."""

from __future__ import annotations

import asyncio
import dataclasses

from runtime.contract import FunctionUsage, UsageReport
from tests.simulation.scene import NAME, Scene, ready, until
from tests.support.virtual_time import in_virtual_time

SLO = {
    "name": "slo", "metricType": "QueueWaitMilliseconds", "metricTarget": 4000.0, "percentile": 0.99,
    "minCapacity": 0, "maxCapacity": 40,
}  # fmt: skip


class Queue(Scene):
    """A fluid queue of requests of a second each, behind the instances that are ready."""

    per_s = 0.0
    inside = 0.0

    def report(self, interval_s: float) -> UsageReport:
        records = [r for r in self.keeper.records() if r.state == "READY"]
        arrived = self.per_s * interval_s
        self.inside += arrived
        served = min(self.inside, float(len(records)))
        answered = served * interval_s
        self.inside -= answered
        at_work = min(len(records), round(self.inside))
        busy = {record.instance_id: 1 for record in records[:at_work]}
        draining = [r.instance_id for r in self.keeper.records() if r.state == "DRAINING"]
        usage = FunctionUsage(
            "svc", "f", "LATEST", at_work, 0, max(0, round(self.inside) - len(records)), self.inside * interval_s,
            served * interval_s, round(self.inside), round(arrived), round(answered),
        )  # fmt: skip
        functions = [dataclasses.asdict(usage)] if self.inside or arrived else []
        return UsageReport("g", 1, self.clock.utc_s(), interval_s, functions, busy, {}, draining)

    async def bursts(self, number: int, per_s: float, lasting_s: float, every_s: float) -> None:
        for _ in range(number):
            self.per_s = per_s
            await asyncio.sleep(lasting_s)
            self.per_s = 0.0
            await asyncio.sleep(every_s - lasting_s)


@in_virtual_time
async def test_bursts_teach_a_floor_that_stands_between_them() -> None:
    scene = Queue(launch_s=8.0)
    await scene.begin()
    await scene.deploy(disableOndemand=True)
    await scene.provision(1, SLO)
    await until(lambda: ready(scene) == 1)
    await scene.bursts(8, per_s=12.0, lasting_s=6.0, every_s=60.0)
    (newest, *_) = scene.autoscaler.explained(NAME)
    assert newest.reasons[0].startswith("floor ")
    assert "of recent requests would have waited over 4 s with it" in newest.reasons[0]
    stands = ready(scene)
    assert 4 <= stands <= 20
    before = {record.instance_id for record in scene.keeper.records()}
    assert len(before) == stands
    await asyncio.sleep(30.0)
    after = {record.instance_id for record in scene.keeper.records()}
    assert after <= before, "nothing is launched while nobody asks"
    assert ready(scene) >= stands - 1, "and what stands is given back slowly"
    await scene.crash()


@in_virtual_time
async def test_a_new_control_plane_goes_on_with_what_was_learned() -> None:
    scene = Queue(launch_s=8.0)
    await scene.begin()
    await scene.deploy(disableOndemand=True)
    await scene.provision(1, SLO)
    await scene.bursts(6, per_s=12.0, lasting_s=6.0, every_s=60.0)
    stands = ready(scene)
    assert stands >= 4
    await scene.crash()
    await scene.begin()
    await asyncio.sleep(20.0)
    assert ready(scene) == stands
    (newest, *_) = scene.autoscaler.explained(NAME)
    assert "requests seen" not in newest.reasons[0]
    await scene.crash()


@in_virtual_time
async def test_a_steady_rate_needs_little_more_than_its_work() -> None:
    scene = Queue(launch_s=8.0)
    await scene.begin()
    await scene.deploy(disableOndemand=True)
    await scene.provision(1, SLO)
    scene.per_s = 6.0
    await asyncio.sleep(400.0)
    assert 6 <= ready(scene) <= 9
    assert scene.inside - ready(scene) <= 4.0 * ready(scene), "who waits is answered within the limit"
    await scene.crash()
