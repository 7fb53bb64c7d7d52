"""The whole control side in virtual time: registry, usage, decisions, fleet, over a fake backend."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from control_plane.autoscale import Pace
from control_plane.fleet.memories import SAVED_AT_ONCE_LEAST
from provision.config import ProvisionConfig, parse
from provision.decide import Memory, Reading
from runtime.contract import FunctionUsage, UsageReport
from tests.simulation.scene import NAME, POLICY, Scene, deployed, ready, until
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_what_is_provisioned_comes_up_and_is_shown() -> None:
    scene = await deployed(3)
    await until(lambda: ready(scene) == 3, timeout_s=2.0)
    status = await scene.status()
    assert (status.target, status.current, status.starting, status.current_error) == (3, 3, 0, "")


@in_virtual_time
async def test_a_burst_starts_on_demand_instances_at_once_which_the_rising_target_then_keeps() -> None:
    scene = await deployed(2, POLICY)
    await until(lambda: ready(scene) == 2)
    scene.burst(4)
    await until(lambda: ready(scene) >= 4, timeout_s=0.3)
    await until(lambda: ready(scene) == 8, timeout_s=5.0)
    await asyncio.sleep(5.0)
    assert {record.kind for record in scene.keeper.records()} == {"provisioned"}
    assert scene.backend.launched_total == 8, "promotion costs no launch"


@in_virtual_time
async def test_when_the_load_is_gone_it_comes_back_to_the_minimum_and_launches_nothing_more() -> None:
    scene = await deployed(2, POLICY)
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
    scene = await deployed(2, POLICY)
    scene.burst(3)
    await until(lambda: ready(scene) == 6)
    targets = set()
    for _ in range(300):
        await asyncio.sleep(1.0)
        targets.add((await scene.status()).target)
    assert targets == {6}


@in_virtual_time
async def test_a_restarted_control_plane_remembers_why_and_relaunches_nothing() -> None:
    scene = await deployed(2, POLICY)
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
    scene = await deployed(2)
    await until(lambda: ready(scene) == 2)
    await scene.registry.delete_function("svc", "f")
    await until(lambda: not scene.keeper.records(), timeout_s=10.0)


@in_virtual_time
async def test_a_changed_function_is_replaced_instance_by_instance() -> None:
    scene = await deployed(3, launch_s=1.0)
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
    scene = await deployed(5, memory_mib=1024, memorySize=512)
    await until(lambda: ready(scene) == 2, timeout_s=5.0)
    await asyncio.sleep(3.0)
    status = await scene.status()
    assert (status.target, status.current) == (5, 2)
    assert status.current_error.startswith("no room for 3 more instances: 512 MiB of memory asked for, 0 of 1024")
    assert any("room for 2 of 5" in reason for reason in status.reasons)


@in_virtual_time
async def test_on_demand_instances_are_reaped_when_idle() -> None:
    scene = await deployed()
    scene.burst(3)
    await until(lambda: ready(scene) == 3, timeout_s=1.0)
    scene.requests = 0
    await asyncio.sleep(170.0)
    assert ready(scene) == 3
    await until(lambda: not scene.keeper.records(), timeout_s=30.0)


@in_virtual_time
async def test_configs_that_are_gone_take_no_turn_from_those_whose_memory_is_to_be_saved() -> None:
    scene = await deployed(1, POLICY)
    others = [NAME.model_copy(update={"function_name": f"o{number}"}) for number in range(SAVED_AT_ONCE_LEAST + 1)]
    config = parse({"target": 0, "targetTrackingPolicies": [{**POLICY, "minCapacity": 0}]})
    for name in others:
        await scene.deploy(functionName=name.function_name)
        await scene.registry.put_provision(name, config)
    await asyncio.sleep(1.5)
    asked = [asdict(FunctionUsage("svc", name.function_name, "LATEST", 0, 0, 0, 0.1, 0.1, 1)) for name in others]
    scene.usage.absorb(UsageReport("g", 1, scene.clock.utc_s(), 1.0, asked))
    await asyncio.sleep(2.0)
    for name in others:
        await scene.registry.delete_provision(name)
    scene.requests = 1
    await asyncio.sleep(60.0)
    since_s = scene.clock.utc_s() - Memory.from_json(scene.memories.memories[str(NAME)]).now
    assert since_s <= Pace().memory_saved_every_s + Pace().tick_s
    assert set(scene.memories.memories) == {str(NAME)}


class BrokenFor:
    """Readings that fail, against their contract, for configs with this static target."""

    def __init__(self, target: int) -> None:
        self._target = target

    def of(self, config: ProvisionConfig) -> tuple[Reading, ...]:
        if config.target == self._target:
            raise ValueError("unforeseen")
        return ()


@in_virtual_time
async def test_an_unforeseen_error_about_one_function_keeps_no_other_from_its_instances() -> None:
    scene = Scene()
    scene.readings = BrokenFor(7)
    await scene.begin()
    for name in ("a", "f", "z"):
        await scene.deploy(functionName=name)
        if name != "f":
            await scene.registry.put_provision(NAME.model_copy(update={"function_name": name}), parse({"target": 7}))
    await scene.provision(2)
    await until(lambda: ready(scene) == 2, timeout_s=5.0)
    await scene.provision(0)
    await until(lambda: ready(scene) == 0, timeout_s=60.0)
