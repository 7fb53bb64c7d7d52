"""An hour of reclaimed machines in virtual time: shares are kept, nothing is lost, compensation comes and goes."""

from __future__ import annotations

import asyncio
import dataclasses
import random

import pytest

from control_plane.backends.fake import Behaviour
from control_plane.backends.pools import parse_pools
from control_plane.fleet.pools import on_demand_share
from runtime.contract import FunctionUsage, InstanceRecord, InstanceState, Kind, UsageReport
from tests.simulation.scene import NAME, Scene, deployed, ready, until
from tests.support.virtual_time import in_virtual_time

POOLS = parse_pools(
    {
        "pools": [
            {"name": "steady", "kind": "on-demand", "price": 3.0},
            {"name": "spot-a", "kind": "spot", "price": 0.9},
            {"name": "spot-b", "kind": "spot", "price": 1.1},
        ],
        "onDemandPercentageAboveBaseCapacity": 30,
        "outS": 120.0,
        "placeTimeoutS": 60.0,
    }
)
SPOT = {"spot-a", "spot-b"}
NOTICE_S = 120.0
LONG = [pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8)]
LIVE = (InstanceState.LAUNCHING, InstanceState.INITIALIZING, InstanceState.READY)


class Traffic(Scene):
    """Eight clients that ask again and again; a request whose instance goes while it is inside is lost."""

    def __init__(self, chance: random.Random, launch_s: float = 20.0) -> None:
        super().__init__(launch_s=launch_s)
        self.pools = POOLS
        self.chance = chance
        self.inside: dict[str, int] = {}
        self.answered = 0
        self.lost: list[str] = []

    def report(self, interval_s: float) -> UsageReport:
        inside = sum(self.inside.values())
        drained = [
            r.instance_id for r in self.keeper.records() if r.state == "DRAINING" and r.instance_id not in busy(self)
        ]
        seen = FunctionUsage("svc", "f", "LATEST", inside, 0, 0, inside * interval_s, inside * interval_s, inside)
        functions = [dataclasses.asdict(seen)] if inside else []
        return UsageReport("g", 1, self.clock.utc_s(), interval_s, functions, busy(self), {}, drained)

    async def client(self) -> None:
        while True:
            free = [r for r in self.keeper.records() if r.state is InstanceState.READY]
            if not free:
                await asyncio.sleep(0.5)
                continue
            instance_id = self.chance.choice(free).instance_id
            self.inside[instance_id] = self.inside.get(instance_id, 0) + 1
            await asyncio.sleep(self.chance.uniform(0.1, 20.0))
            self.inside[instance_id] -= 1
            status = self.backend.statuses.get(instance_id)
            if status is None or status.state.is_final:
                self.lost.append(instance_id)
            self.answered += 1

    async def reclaims(self) -> None:
        """Each half minute on average, one or several spot machines get notice, and go when it is over."""
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / 30.0))
            there = [r for r in staying(self) if r.pool in SPOT and r.state is InstanceState.READY]
            for record in self.chance.sample(there, min(len(there), self.chance.choice([1, 1, 1, 3]))):
                self.backend.give_notice(record.instance_id, self.clock.utc_s() + NOTICE_S)
                self.tasks.append(asyncio.create_task(self._take(record.instance_id)))

    async def _take(self, instance_id: str) -> None:
        await asyncio.sleep(NOTICE_S)
        status = self.backend.statuses.get(instance_id)
        if status is not None and not status.state.is_final:
            self.backend.become(instance_id, InstanceState.FAILED, "its machine was reclaimed")


def busy(scene: Traffic) -> dict[str, int]:
    return {name: count for name, count in scene.inside.items() if count}


def staying(scene: Scene) -> list[InstanceRecord]:
    return [r for r in scene.keeper.records() if r.state in LIVE and not r.reclaim_at_s]


def steady(scene: Scene) -> int:
    return sum(r.pool == "steady" for r in staying(scene))


async def begun(seed: int, launch_s: float = 20.0) -> Traffic:
    scene = Traffic(random.Random(seed), launch_s)
    await scene.begin()
    await scene.deploy()
    await scene.provision(20)
    await until(lambda: ready(scene) == 20)
    return scene


@pytest.mark.parametrize("seed", [0, *LONG])
def test_an_hour_of_reclaims_keeps_the_share_and_loses_no_request(seed: int) -> None:
    @in_virtual_time
    async def story() -> None:
        scene = await begun(seed)
        assert steady(scene) == on_demand_share(POOLS, 20) == 6
        scene.tasks += [asyncio.create_task(scene.client()) for _ in range(8)]
        scene.tasks.append(asyncio.create_task(scene.reclaims()))
        replaced = set()
        for second in range(3600):
            await asyncio.sleep(1.0)
            there = staying(scene)
            # A second: a notice's replacement is written down in the turn of the loop that hears of it.
            assert len(there) >= 19, (second, len(there))
            assert abs(steady(scene) - on_demand_share(POOLS, len(there))) <= 1, (second, steady(scene), len(there))
            replaced |= {r.instance_id for r in scene.keeper.records() if r.reclaim_at_s}
        assert len(replaced) > 80
        assert scene.answered > 2500
        assert scene.lost == []

    story()


@pytest.mark.parametrize("seed", [0, *LONG])
def test_without_spot_machines_on_demand_ones_take_their_place_until_there_are_some_again(seed: int) -> None:
    @in_virtual_time
    async def story() -> None:
        scene = await begun(seed)
        scene.tasks += [asyncio.create_task(scene.client()) for _ in range(8)]
        scene.tasks.append(asyncio.create_task(scene.reclaims()))
        await asyncio.sleep(60.0)
        scene.backend.pools_out = set(SPOT)
        most = 0
        for _ in range(900):
            await asyncio.sleep(1.0)
            most = max(most, steady(scene))
        assert most >= 15, "reclaimed spot instances were replaced by on-demand ones"
        assert len(staying(scene)) >= 20
        scene.backend.pools_out = set()
        await until(lambda: steady(scene) == 6 and ready(scene) >= 20, timeout_s=1800.0)
        for _ in range(200):
            await asyncio.sleep(1.0)
            assert abs(steady(scene) - on_demand_share(POOLS, len(staying(scene)))) <= 1
        assert scene.lost == []

    story()


@in_virtual_time
async def test_what_is_in_each_pool_and_what_has_happened_to_it_is_counted() -> None:
    scene = await begun(0, 1.0)
    before = {view.name: view for view in scene.keeper.pools()}
    assert [view.name for view in scene.keeper.pools()] == [pool.name for pool in POOLS.pools]
    assert (before["steady"].kind, before["steady"].instances, before["steady"].ready) == ("on-demand", 6, 6)
    assert before["spot-a"].instances == 14
    assert not any(view.is_out or view.reclaims or view.compensations for view in before.values())
    scene.backend.pools_out = set(SPOT)
    victim = next(r for r in staying(scene) if r.pool == "spot-a")
    for more_s in (0.0, 1.0):  # a notice that comes again is the same notice
        scene.backend.give_notice(victim.instance_id, scene.clock.utc_s() + NOTICE_S + more_s)
        await asyncio.sleep(0.2)
    await until(lambda: steady(scene) == 7)
    now = {view.name: view for view in scene.keeper.pools()}
    assert (now["spot-a"].is_out, now["spot-a"].reclaims, now["spot-b"].reclaims) == (True, 1, 0)
    assert now["spot-a"].reason
    assert (now["steady"].compensations, now["spot-a"].compensations) == (1, 0)


@in_virtual_time
async def test_the_cheapest_spot_pool_is_taken_and_the_next_one_while_it_is_out() -> None:
    scene = await begun(0, 1.0)
    assert {r.pool for r in staying(scene)} == {"steady", "spot-a"}
    scene.backend.pools_out = {"spot-a"}
    victim = next(r for r in staying(scene) if r.pool == "spot-a")
    scene.backend.give_notice(victim.instance_id, scene.clock.utc_s() + NOTICE_S)
    await until(lambda: any(r.pool == "spot-b" for r in staying(scene)))
    assert steady(scene) == 6, "a second spot pool is no compensation"


@in_virtual_time
async def test_a_replacement_is_launched_at_the_notice_and_the_instance_serves_until_it_is_ready() -> None:
    scene = await begun(0)
    victim = next(r for r in staying(scene) if r.pool in SPOT)
    scene.backend.give_notice(victim.instance_id, scene.clock.utc_s() + NOTICE_S)
    await asyncio.sleep(0.5)
    assert len(staying(scene)) == 20
    await asyncio.sleep(18.0)
    assert scene.keeper.records(("svc", "LATEST", "f"))[0].state is InstanceState.READY
    assert ready(scene) == 20, "the one that goes is among them"
    await until(lambda: victim.instance_id not in scene.backend.statuses, timeout_s=40.0)


@in_virtual_time
async def test_an_instance_whose_replacement_is_late_drains_before_its_notice_is_over() -> None:
    scene = await begun(0, 1.0)
    scene.backend.behaviour = Behaviour(launch_s=300.0)
    victim = next(r for r in staying(scene) if r.pool in SPOT)
    gone_at_s = scene.clock.utc_s() + NOTICE_S
    scene.backend.give_notice(victim.instance_id, gone_at_s)
    await until(lambda: victim.instance_id not in scene.backend.statuses, timeout_s=NOTICE_S)
    assert gone_at_s - 41.0 <= scene.clock.utc_s() < gone_at_s


@in_virtual_time
async def test_a_launch_that_finds_no_machine_goes_to_another_pool_after_the_timeout() -> None:
    scene = await begun(0, 1.0)
    scene.backend.behaviour = Behaviour(launch_s=10_000.0)
    victim = next(r for r in staying(scene) if r.pool in SPOT)
    scene.backend.give_notice(victim.instance_id, scene.clock.utc_s() + NOTICE_S)
    await asyncio.sleep(0.5)
    waiting = next(r for r in staying(scene) if r.state is InstanceState.LAUNCHING)
    scene.backend.find_no_machine(waiting.instance_id, "0/3 nodes are available: Insufficient nvidia.com/gpu")
    scene.backend.behaviour = Behaviour(launch_s=1.0)
    await asyncio.sleep(50.0)
    assert waiting.instance_id in scene.backend.statuses
    await until(lambda: waiting.instance_id not in scene.backend.statuses, timeout_s=20.0)
    await until(lambda: len(staying(scene)) == 20)
    assert {r.pool for r in staying(scene)} == {"steady", "spot-a", "spot-b"}


@in_virtual_time
async def test_launches_that_no_pool_has_room_for_are_held_and_said() -> None:
    scene = await begun(0, 1.0)
    scene.backend.pools_out = {"steady", *SPOT}
    await scene.provision(22)
    await asyncio.sleep(10.0)
    status = await scene.status()
    assert status.current == 20
    assert "no pool has room for 2 more instances" in status.current_error
    scene.backend.pools_out = set()
    await until(lambda: ready(scene) == 22, timeout_s=300.0)
    assert (await scene.status()).current_error == ""


@in_virtual_time
async def test_the_share_is_kept_while_the_target_becomes_smaller_and_larger() -> None:
    scene = await begun(0, 1.0)
    for target in (10, 3, 1, 7, 20):
        await scene.provision(target)
        await until(lambda t=target: len(staying(scene)) == t)  # type: ignore[misc]
        assert steady(scene) == on_demand_share(POOLS, target)


@in_virtual_time
async def test_another_control_plane_goes_on_with_a_notice_that_it_has_not_heard() -> None:
    scene = await begun(0)
    victim = next(r for r in staying(scene) if r.pool in SPOT)
    scene.backend.give_notice(victim.instance_id, scene.clock.utc_s() + NOTICE_S)
    await asyncio.sleep(1.0)
    await scene.crash()
    await asyncio.sleep(2.0)
    await scene.begin()
    await until(lambda: victim.instance_id not in scene.backend.statuses, timeout_s=60.0)
    assert len(staying(scene)) == 20
    assert steady(scene) == 6


@in_virtual_time
async def test_without_pools_a_notice_is_obeyed_too() -> None:
    scene = await deployed(2)
    await until(lambda: ready(scene) == 2)
    victim = scene.keeper.records()[0]
    assert victim.kind is Kind.PROVISIONED
    assert victim.pool == ""
    scene.backend.give_notice(victim.instance_id, scene.clock.utc_s() + NOTICE_S)
    await until(lambda: victim.instance_id not in scene.backend.statuses, timeout_s=40.0)
    await until(lambda: ready(scene) == 2)
    assert NAME.function_name == "f"
