"""`alwaysAllocateGPU: false`: the instances that a provision config has launched are told to rest while nobody asks."""

from __future__ import annotations

from provision.config import parse
from tests.simulation.scene import NAME, Scene, ready, until
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_instances_are_told_at_their_launch_that_they_need_not_keep_the_gpu() -> None:
    assert await told(always=False) == [True, True]


@in_virtual_time
async def test_instances_keep_the_gpu_unless_the_provision_config_says_otherwise() -> None:
    assert await told(always=True) == [False, False]


async def told(*, always: bool) -> list[bool]:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    await scene.registry.put_provision(NAME, parse({"target": 2, "alwaysAllocateGPU": always}))
    await until(lambda: ready(scene) == 2)
    return [spec.idle_mode for spec in scene.backend.specs.values()]
