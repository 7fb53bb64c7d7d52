"""How much the autoscaler looks at: what changed, and nothing else. Counted, never timed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from control_plane import asking
from control_plane.fleet.attention import Attention
from loadtests.bench.population import WARM_TICKS, Population
from provision.config import parse
from runtime.contract import InstanceState, VersionKey
from tests.simulation.scene import NAME, POLICY, Scene, ready, until
from tests.support.virtual_time import in_virtual_time

FUNCTIONS, INSTANCES = 60, 180


@contextmanager
def counted(population: Population, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often a decision is made, usage is observed, and records are read."""
    counts: Counter[str] = Counter()

    def counting(owner: Any, name: str) -> None:
        asked = getattr(owner, name)

        def count(*given: Any, **named: Any) -> Any:
            counts[name] += 1
            return asked(*given, **named)

        patch.setattr(owner, name, count)

    with monkeypatch.context() as patch:
        counting(asking, "step")
        counting(population.usage, "observe")
        for name in ("records", "units", "settle"):
            counting(population.keeper, name)
        counting(population.registry, "get_function")
        yield counts


def test_the_work_of_a_tick_is_that_of_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        population = Population(FUNCTIONS, INSTANCES)
        await population.begin()
        for _ in range(WARM_TICKS):
            await population.tick(0)
        with counted(population, monkeypatch) as counts:
            await population.tick(0)
        assert not counts, "nothing has changed"

        for busy in (1, 7):
            with counted(population, monkeypatch) as counts:
                await population.tick(busy)
            assert (counts["step"], counts["observe"], counts["settle"]) == (busy, busy, busy)
            assert counts["records"] + counts["units"] + counts["get_function"] == 0, (
                "what is counted is not read again"
            )

        one = population.keeper.records()[-1]
        population.backend.become(one.instance_id, InstanceState.FAILED, "killed")
        await asyncio.sleep(0.0)
        for _ in range(WARM_TICKS):
            await population.tick(0)
        with counted(population, monkeypatch) as counts:
            await population.tick(0)
        assert not counts, "it was replaced, and everything is at rest again"
        assert len(population.keeper.records()) == INSTANCES
        await population.end()

    asyncio.run(story())


def test_a_change_of_one_function_wakes_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        population = Population(FUNCTIONS, INSTANCES)
        await population.begin()
        for _ in range(WARM_TICKS):
            await population.tick(0)
        service, name = population.names[3]
        function = await population.registry.get_function(service, name)
        await population.registry.update_function(function.model_copy(update={"description": "another"}))
        with counted(population, monkeypatch) as counts:
            await population.tick(0)
        assert counts["step"] == 1
        await population.end()

    asyncio.run(story())


class Restless(Attention):
    """Looks at everything, always."""

    def rest(self, key: VersionKey, until: float) -> None:
        pass


async def targets(seed: int, *, resting: bool) -> list[tuple[int, int]]:
    """Target and ready instances in each second of half an hour of calls that come and go."""
    chance = random.Random(seed)
    scene = Scene(launch_s=2.0)
    await scene.begin()
    if not resting:
        scene.autoscaler._attention = Restless()
    await scene.deploy()
    night = {"name": "hourly", "target": 3, "scheduleExpression": "cron(0 5/20 * * * *)", "timeZone": "Europe/Berlin"}
    over = {"endTime": "2023-11-14T22:25:30Z"}
    config = {"target": 1, "targetTrackingPolicies": [{**POLICY, "minCapacity": 0}], "scheduledActions": [night | over]}
    await scene.registry.put_provision(NAME, parse(config))
    seen = []
    for _ in range(12):
        scene.requests = chance.choice([0, 0, 1, 4])
        if scene.requests and chance.random() < 0.5:
            scene.burst(scene.requests)
        for _ in range(chance.choice([2, 20, 100, 250])):
            await asyncio.sleep(1.0)
            seen.append(((await scene.status()).target, ready(scene)))
    await scene.crash()
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_an_autoscaler_that_rests_decides_as_one_that_never_does(seed: int) -> None:
    found: dict[bool, list[tuple[int, int]]] = {}
    for resting in (True, False):

        @in_virtual_time
        async def story(resting: bool = resting) -> None:
            found[resting] = await targets(seed, resting=resting)

        story()
    assert found[True] == found[False]


@in_virtual_time
async def test_a_function_at_rest_is_awake_when_its_action_fires() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    action = {"name": "soon", "target": 2, "scheduleExpression": "at(2023-11-14T22:20:00)"}  # 400 s after the beginning
    await scene.registry.put_provision(NAME, parse({"target": 0, "scheduledActions": [action]}))
    await asyncio.sleep(390.0)
    assert scene.autoscaler._attention.rests(("svc", "LATEST", "f"))
    assert ready(scene) == 0
    await until(lambda: ready(scene) == 2, timeout_s=12.0)
