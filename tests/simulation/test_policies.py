"""Policies as the whole control side carries them out: other metrics, several qualifiers, and what is told of it."""

from __future__ import annotations

import asyncio
from typing import Any

from control_plane.model import Alias, QualifiedFunction
from provision.config import parse
from runtime.contract import UsageReport
from runtime.node_contract import InstanceSample
from tests.simulation.scene import NAME, POLICY, Scene, ready, until
from tests.support.virtual_time import in_virtual_time


class Counting(Scene):
    """With what gateways count besides: requests that came and were answered, and how long they waited."""

    version = "LATEST"
    per_s = 0.0
    wait_s = 0.0

    def report(self, interval_s: float) -> UsageReport:
        report = super().report(interval_s)
        for usage in report.functions:
            answered = round(self.per_s * interval_s)
            usage |= {"version": self.version, "arrived": answered, "finished": answered}
            usage["queue_wait_s_sum"] = answered * self.wait_s
        return report

    async def alias(self, name: str) -> QualifiedFunction:
        """An alias of the one published version."""
        if self.version == "LATEST":
            self.version = (await self.registry.publish_version("svc", None)).version_id
        await self.registry.create_alias("svc", Alias(alias_name=name, version_id=self.version))
        return QualifiedFunction(service_name="svc", qualifier=name, function_name="f")

    async def put(self, name: QualifiedFunction, target: int, *policies: dict[str, Any]) -> None:
        await self.registry.put_provision(name, parse({"target": target, "targetTrackingPolicies": list(policies)}))


def by(metric: str, target: float) -> dict[str, Any]:
    return {**POLICY, "metricType": metric, "metricTarget": target}


@in_virtual_time
async def test_two_aliases_of_one_version_do_not_count_the_same_demand_twice() -> None:
    scene = Counting()
    await scene.begin()
    await scene.deploy()
    for name in ("prod", "canary"):
        await scene.put(await scene.alias(name), 0, POLICY)
    await until(lambda: ready(scene) == 4)  # two minima
    scene.requests = 3
    await until(lambda: ready(scene) == 6, timeout_s=10.0)
    await asyncio.sleep(120.0)
    assert ready(scene) == 6, "3 requests at a target of a half are 6 instances, and not 12"
    scene.requests = 0
    await until(lambda: ready(scene) == 4, timeout_s=120.0)
    await scene.crash()


@in_virtual_time
async def test_what_is_kept_by_number_stays_beside_what_is_tracked() -> None:
    scene = Counting()
    await scene.begin()
    await scene.deploy()
    await scene.put(await scene.alias("fixed"), 3)
    await scene.put(await scene.alias("prod"), 0, POLICY)
    await until(lambda: ready(scene) == 5)
    scene.requests = 4
    await until(lambda: ready(scene) == 8, timeout_s=10.0)
    await scene.crash()


@in_virtual_time
async def test_requests_a_second_reach_the_policy() -> None:
    scene = Counting()
    await scene.begin()
    await scene.deploy()
    await scene.provision(0, by("RequestsPerSecond", 10))
    await until(lambda: ready(scene) == 2)
    scene.requests, scene.per_s = 1, 55.0
    await until(lambda: ready(scene) == 6, timeout_s=10.0)
    await asyncio.sleep(60.0)
    assert ready(scene) == 6
    await scene.crash()


@in_virtual_time
async def test_how_long_requests_wait_reaches_the_policy() -> None:
    scene = Counting()
    await scene.begin()
    await scene.deploy()
    await scene.provision(0, by("QueueWaitMilliseconds", 100))
    await until(lambda: ready(scene) == 2)
    await asyncio.sleep(10.0)
    scene.requests, scene.per_s, scene.wait_s = 6, 10.0, 0.25
    await until(lambda: (scene.autoscaler.explained(NAME)[0].target) >= 5, timeout_s=10.0)
    await scene.crash()


@in_virtual_time
async def test_memory_is_measured_by_what_was_asked_for() -> None:
    scene = Counting()
    await scene.begin()
    await scene.deploy(memorySize=512)
    await scene.provision(0, by("MemoryUtilization", 0.5))
    await until(lambda: ready(scene) == 2)

    async def samples() -> list[InstanceSample]:
        now_s = scene.clock.utc_s()
        return [InstanceSample(r.instance_id, now_s, memory_mib=384.0) for r in scene.keeper.records()]

    scene.backend.samples = samples  # type: ignore[method-assign]
    scene.requests = 3
    await until(lambda: scene.autoscaler.explained(NAME)[0].target == 3, timeout_s=60.0)
    assert scene.autoscaler.explained(NAME)[0].inputs.metrics["MemoryUtilization"] == 0.75
    await scene.crash()


@in_virtual_time
async def test_the_decisions_of_a_burst_can_be_looked_up() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    assert scene.autoscaler.explained(NAME) == ()
    await scene.provision(2, POLICY)
    await until(lambda: ready(scene) == 2)
    scene.burst(4)
    await until(lambda: ready(scene) == 8)
    await asyncio.sleep(5.0)
    newest, *changes = scene.autoscaler.explained(NAME)
    assert (newest.target, newest.was) == (8, 8)
    assert [one.target for one in changes] == sorted((one.target for one in changes), reverse=True)
    assert changes[0].target == 8
    assert changes[-1].was is None
    assert all(one.version == "LATEST" and one.policies[0].name == "p" for one in changes)
    await scene.crash()
