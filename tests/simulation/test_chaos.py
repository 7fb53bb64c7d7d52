"""Everything that can go wrong, at random and in virtual time; what must hold is watched from outside.

A failure names its seed; `SEEDS = [that]` plays it again, exactly.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

import pytest

from control_plane.backends.fake import Behaviour
from control_plane.errors import Unavailable
from control_plane.fleet.records import MemoryRecordStore
from runtime.contract import InstanceRecord, InstanceState
from tests.simulation.scene import NAME, POLICY, Scene, ready, until
from tests.support.virtual_time import in_virtual_time

SEEDS = range(40)
EVENTS = 40


class FlakyStore(MemoryRecordStore):
    """Slow by a moment, and away when told; whether a change that it refused has happened is not known."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.away = False
        self._chance = chance

    async def put(self, records: Iterable[InstanceRecord]) -> None:
        await self._reach()
        await super().put(records)
        await self._reach()  # the answer may be lost, or come late

    async def remove(self, instance_ids: Iterable[str]) -> None:
        await self._reach()
        await super().remove(instance_ids)
        await self._reach()

    async def _reach(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, 0.1))
        if self.away:
            raise Unavailable("the store is away")


async def something_happens(scene: Scene, store: FlakyStore, chance: random.Random) -> None:
    """One event; what goes away comes back within seconds."""
    event = chance.choice(["load", "load", "die", "crash", "backend", "store", "slow", "fail", "retarget", "rest"])
    if event == "load":
        scene.burst(chance.randrange(12))
    elif event == "die":
        living = [i for i, status in scene.backend.statuses.items() if not status.state.is_final]
        if living:
            scene.backend.become(chance.choice(living), InstanceState.FAILED, "killed by SIGKILL")
    elif event == "crash":
        await scene.crash()
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        await scene.begin()
    elif event == "backend":
        scene.backend.go_away()
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        scene.backend.come_back()
    elif event == "store":
        store.away = True
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        store.away = False
    elif event == "slow":
        scene.backend.behaviour = Behaviour(
            chance.uniform(0.0, 4.0), chance.uniform(0.0, 5.0), stop_s=chance.uniform(0.0, 2.0)
        )
    elif event == "fail":
        scene.backend.behaviour = Behaviour(launch_s=chance.uniform(0.0, 1.0), fail="no memory")
    elif event == "retarget":
        await scene.provision(chance.randrange(5), *([POLICY] if chance.random() < 0.5 else []))
    await asyncio.sleep(chance.expovariate(1.0))


def nothing_is_lost(scene: Scene, store: FlakyStore) -> bool:
    """What the backend has, what is recorded and what the keeper knows are the same instances."""
    known = {record.instance_id for record in scene.keeper.records()}
    return known == set(store.records) == set(scene.backend.statuses)


@pytest.mark.parametrize("seed", SEEDS)
def test_after_any_story_the_fleet_is_what_was_asked_for_and_nothing_else(seed: int) -> None:
    @in_virtual_time
    async def story() -> None:
        chance = random.Random(seed)
        scene, store = Scene(), FlakyStore(chance)
        scene.records = store
        await scene.begin()
        await scene.deploy()
        await scene.provision(2, POLICY)
        for _ in range(EVENTS):
            await something_happens(scene, store, chance)
            live = [s for s in scene.backend.statuses.values() if not s.state.is_final]
            assert len(live) <= 8 + 12 + 4, "policy's maximum, a request each on demand, and what is being replaced"
        scene.backend.behaviour = Behaviour(launch_s=0.1)
        await scene.provision(3)
        scene.requests = 0
        # Back-off after failures takes up to five minutes, idle on-demand instances three.
        await until(lambda: ready(scene) == 3 and nothing_is_lost(scene, store), timeout_s=900.0)
        await asyncio.sleep(300.0)
        assert ready(scene) == 3
        assert nothing_is_lost(scene, store)
        assert scene.view.provision_status(NAME, await scene.registry.get_provision(NAME)).current == 3

    story()
