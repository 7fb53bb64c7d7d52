"""An on-demand config bounds what requests may start."""

from __future__ import annotations

import asyncio

from control_plane.model import Setting
from tests.simulation.scene import NAME, Scene, ready, until
from tests.support.virtual_time import in_virtual_time


@in_virtual_time
async def test_requests_start_no_more_than_the_on_demand_config_allows_until_it_allows_more() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy()
    await scene.registry.put_setting(Setting.ON_DEMAND, NAME, {"maximumInstanceCount": 2})
    scene.burst(9)
    await until(lambda: ready(scene) == 2)
    await asyncio.sleep(20.0)
    assert scene.backend.launched_total == 2
    await scene.registry.delete_setting(Setting.ON_DEMAND, NAME)
    await until(lambda: ready(scene) > 2)


@in_virtual_time
async def test_a_function_that_is_not_for_on_demand_starts_nothing_for_requests() -> None:
    scene = Scene()
    await scene.begin()
    await scene.deploy(disableOndemand=True)
    scene.burst(9)
    await asyncio.sleep(20.0)
    assert scene.backend.launched_total == 0
    await scene.provision(1)
    await until(lambda: ready(scene) == 1)
