"""How soon a step in demand is answered, and that constant load leaves things as they are."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from tests.simulation.scene import POLICY, deployed, ready, until
from tests.support.virtual_time import in_virtual_time

MINUTE_S = 60


@pytest.mark.parametrize("target", [0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("after_s", [0.05, 0.5, 0.95])
def test_a_step_is_decided_upon_at_once_whatever_the_target_and_the_moment(target: float, after_s: float) -> None:
    @in_virtual_time
    async def story() -> None:
        scene = await deployed(1, {**POLICY, "minCapacity": 1, "maxCapacity": 30, "metricTarget": target}, launch_s=0.5)
        scene.requests = 1
        await asyncio.sleep(90.0)
        await until(lambda: not scene.clock.monotonic_s() % 1.0 > 0.05)
        await asyncio.sleep(after_s)
        before = (await scene.status()).target
        began_s = scene.clock.monotonic_s()
        scene.burst(8)
        await asyncio.sleep(0.05)
        decided = (await scene.status()).target
        assert decided > before
        assert decided >= 8, "as many as there are requests"
        await until(lambda: ready(scene) > before, timeout_s=1.0)
        assert scene.clock.monotonic_s() - began_s < 0.7, "nothing waits before the launch"

    story()


LOADS: list[tuple[int, dict[str, Any]]] = [
    (1, {}),
    (3, {}),
    (8, {"maxCapacity": 30}),
    (8, {"metricTarget": 0.7, "minCapacity": 1}),
    (5, {"metricTarget": 1.0, "minCapacity": 0}),
    (13, {"metricTarget": 0.9, "maxCapacity": 20, "panicThreshold": 2.0}),
    (4, {"stableWindowSeconds": 10, "panicWindowSeconds": 1}),
    (4, {"metricType": "RequestsPerSecond", "metricTarget": 2.0}),
    (9, {"scaleInDelaySeconds": 20, "scaleOutLimit": 1, "scaleInLimit": 1, "maxCapacity": 30}),
]


@pytest.mark.parametrize(("requests", "fields"), LOADS)
def test_constant_load_turns_no_decision_round_in_five_minutes(requests: int, fields: dict[str, Any]) -> None:
    @in_virtual_time
    async def story() -> None:
        scene = await deployed(1, {**POLICY, **fields}, launch_s=1.5)
        scene.burst(requests)
        targets = []
        for _ in range(5 * MINUTE_S * 4):
            await asyncio.sleep(0.25)
            targets.append((await scene.status()).target)
        assert turns(targets) == 0
        least = (await scene.status()).target
        scene.requests = 0
        await asyncio.sleep(5 * MINUTE_S)
        status = await scene.status()
        assert (status.target, status.current) == ({**POLICY, **fields}["minCapacity"],) * 2
        assert status.target <= least

    story()


def turns(targets: list[int]) -> int:
    """How often growth is followed by shrinking, or the other way round."""
    moves = [after > before for before, after in pairwise(targets) if after != before]
    return sum(one != other for one, other in pairwise(moves))


@in_virtual_time
async def test_a_request_that_waited_for_a_moment_launches_nothing_that_would_not_have_been_launched_for_it() -> None:
    scene = await deployed(1, {**POLICY, "minCapacity": 1, "metricTarget": 0.5}, launch_s=0.5)
    await asyncio.sleep(90.0)
    launched = scene.backend.launched_total
    scene.burst(4)
    await asyncio.sleep(0.1)
    scene.requests = 0
    scene.burst(0)
    await asyncio.sleep(200.0)
    assert scene.backend.launched_total == launched + 3, "one for each that found no slot"
