"""What `ports.Registry` promises of provision configs that several change, over every implementation."""

from __future__ import annotations

import asyncio

from control_plane.errors import ConcurrentUpdate
from control_plane.ports import Registry
from provision.config import ProvisionConfig
from tests.support.registry import function, refused, service, target


async def test_a_config_based_on_an_older_one_is_refused(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.create_function(function())
    none, one, two = (ProvisionConfig(target=count) for count in (0, 1, 2))
    await registry.put_provision(target(), one, based_on=none)
    message = await refused(
        registry.put_provision(target(), two, based_on=none), "ConcurrentUpdateError", ConcurrentUpdate
    )
    assert message.startswith("the provision config of '")
    assert await registry.get_provision(target()) == one
    await registry.put_provision(target(), two, based_on=one)
    assert await registry.get_provision(target()) == two


async def test_of_configs_based_on_the_same_one_one_is_put(registry: Registry) -> None:
    await registry.create_service(service())
    await registry.create_function(function())
    puts = [
        registry.put_provision(target(), ProvisionConfig(target=count), based_on=ProvisionConfig())
        for count in range(1, 6)
    ]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert [outcome for outcome in outcomes if outcome is None] == [None]
    assert all(isinstance(outcome, ConcurrentUpdate) for outcome in outcomes if outcome is not None)
