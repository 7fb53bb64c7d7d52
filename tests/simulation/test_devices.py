"""Functions on cards, through the live autoscaler: nobody holds more than there is, and nobody stays on a lost card."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from control_plane.fleet_views import ProvisionStatus
from control_plane.model import Function, QualifiedFunction
from provision.config import parse
from provision.words import counted
from runtime.contract import InstanceRecord, InstanceState
from tests.simulation.scene import Scene, until
from tests.support.virtual_time import in_virtual_time

LOST = "it has fallen off the bus"


def card(number: int, memory_mib: int = 16_384, **values: Any) -> dict[str, Any]:
    return {"index": number, "uuid": f"GPU-{number}", "name": "card", "memory_mib": memory_mib, **values}


class Cards(Scene):
    """Functions that ask for GPU memory, each with a static number of instances."""

    def __init__(self, *cards: dict[str, Any], launch_s: float = 1.0) -> None:
        super().__init__(launch_s=launch_s)
        self.backend.gpus = list(cards)

    async def ask(self, name: str, instances: int, gpu_memory_mib: int, **fields: Any) -> None:
        fields = {"functionName": name, "gpuMemorySize": gpu_memory_mib, **fields}
        if name == "f":
            await self.deploy(**fields)
        else:
            asked = {"serviceName": "svc", "runtime": "custom", **fields}
            await self.registry.create_function(Function.model_validate(asked))
        await self.registry.put_provision(qualified(name), parse({"target": instances}))

    async def change(self, name: str, instances: int) -> None:
        await self.registry.put_provision(qualified(name), parse({"target": instances}))

    def there(self, name: str) -> list[InstanceRecord]:
        return [r for r in self.keeper.records(("svc", "LATEST", name)) if r.state is InstanceState.READY]

    def held_mib(self) -> Counter[str]:
        """By all that have a record, draining ones among them; reckoned anew."""
        held: Counter[str] = Counter()
        for record in self.keeper.records():
            held[record.device] += record.gpu_memory_mib
        return held

    async def said(self, name: str) -> ProvisionStatus:
        return self.view.provision_status(qualified(name), await self.registry.get_provision(qualified(name)))


def qualified(name: str) -> QualifiedFunction:
    return QualifiedFunction(service_name="svc", qualifier="LATEST", function_name=name)


@in_virtual_time
async def test_an_instance_is_launched_on_the_device_that_it_was_placed_on() -> None:
    scene = Cards(card(0, 8192), card(1))
    await scene.begin()
    await scene.ask("f", 1, 10_000)
    await until(lambda: len(scene.there("f")) == 1)
    (record,) = scene.there("f")
    assert (record.node, record.device, record.gpu_memory_mib) == ("fake", "GPU-1", 10_000)
    assert scene.backend.specs[record.instance_id].gpu_device == "GPU-1"
    (node,) = scene.view.nodes()
    assert [(d.gpu["uuid"], d.promised_mib, d.instances) for d in node.devices] == [
        ("GPU-0", 0, ()), ("GPU-1", 10_000, (record.instance_id,)),
    ]  # fmt: skip
    await scene.crash()


@in_virtual_time
async def test_functions_that_grow_at_once_never_hold_more_of_a_card_than_it_has() -> None:
    scene = Cards(card(0), card(1), launch_s=3.0)
    await scene.begin()
    await scene.ask("f", 0, 6000)
    for name, size in (("g", 10_000), ("h", 3000), ("i", 1000)):
        await scene.ask(name, 0, size)
    for _ in range(4):
        for name in "fghi":
            await scene.change(name, 5)
        for _ in range(40):
            await asyncio.sleep(0.2)
            assert all(mib <= 16_384 for mib in scene.held_mib().values())
            assert scene.held_mib() == scene.keeper.holdings.mib
        assert sum(scene.held_mib().values()) >= 30_000
        for name in "fghi":
            await scene.change(name, 0)
        await until(lambda: not scene.keeper.records())
        assert not scene.keeper.holdings.mib
    await scene.crash()


@in_virtual_time
async def test_a_refusal_says_why_device_by_device() -> None:
    scene = Cards(card(0, 8192), card(1, is_healthy=False, reason=LOST))
    await scene.begin()
    await scene.ask("f", 3, 5000)
    await until(lambda: len(scene.there("f")) == 1)
    assert (await scene.said("f")).current_error == (
        "no room for 2 more instances: 5000 MiB of GPU memory asked for; "
        "device 0 (card): 3192 of 8192 MiB left; device 1 (card): not healthy, it has fallen off the bus"
    )
    await scene.crash()


@in_virtual_time
async def test_an_instance_of_a_lost_card_is_replaced_at_once_on_one_that_is_well() -> None:
    scene = Cards(card(0), card(1))
    await scene.begin()
    await scene.ask("f", 2, 4000)
    await until(lambda: len(scene.there("f")) == 2)
    assert set(scene.held_mib()) == {"GPU-0"}
    await asyncio.sleep(10.0)  # they were healthy for long
    scene.backend.gpus[0] = card(0, is_healthy=False, reason=LOST)
    for record in scene.there("f"):
        scene.backend.become(record.instance_id, InstanceState.FAILED, f"Function instance lost its GPU GPU-0: {LOST}")
    began_s = scene.clock.monotonic_s()
    await until(lambda: [record.device for record in scene.there("f")] == ["GPU-1", "GPU-1"])
    assert scene.clock.monotonic_s() - began_s < 1.2, "as long as a launch takes"
    assert set(scene.held_mib()) == {"GPU-1"}
    assert scene.backend.launched_total == 4, "none was tried on the lost card again"
    await scene.crash()


@in_virtual_time
async def test_what_drains_holds_its_memory_until_it_has_ended() -> None:
    scene = Cards(card(0))
    await scene.begin()
    await scene.ask("f", 1, 10_000)
    await until(lambda: len(scene.there("f")) == 1)
    await scene.change("f", 0)
    await scene.ask("g", 1, 10_000)
    await until(lambda: any(r.state is InstanceState.DRAINING for r in scene.keeper.records()))
    together = 0
    while not scene.there("g"):
        together = max(together, len({record.function for record in scene.keeper.records()}))
        await asyncio.sleep(0.01)
    assert together == 1
    await scene.crash()


@pytest.mark.parametrize(("priority", "winner"), [(0, "f"), (1, "g")])
def test_where_there_is_room_for_one_the_higher_priority_gets_it(priority: int, winner: str) -> None:
    @in_virtual_time
    async def story() -> None:
        scene = Cards(card(0, is_healthy=False, reason=LOST))
        await scene.begin()
        await scene.ask("f", 1, 10_000)
        await scene.ask("g", 1, 10_000, stoke={"placement": {"priority": priority}})
        await asyncio.sleep(5.0)
        assert not scene.keeper.records()
        scene.backend.gpus[0] = card(0)
        await until(lambda: bool(scene.keeper.records()))
        assert [record.function for record in scene.keeper.records()] == [winner]
        await scene.crash()

    story()


async def all_at_once(scene: Cards) -> None:
    """The cards become well, and whatever was asked for finds them in one tick."""
    await asyncio.sleep(5.0)
    assert not scene.keeper.records()
    scene.backend.gpus = [{**card, "is_healthy": True, "reason": ""} for card in scene.backend.gpus]


@in_virtual_time
async def test_all_that_one_tick_wants_find_room_where_one_after_the_other_they_do_not() -> None:
    scene = Cards(*(card(at, mib, is_healthy=False, reason=LOST) for at, mib in enumerate((8192, 10_240))))
    await scene.begin()
    asked = {"f": (1, 6000), "g": (1, 5000), "h": (2, 3000)}
    for name, (instances, gpu_memory_mib) in asked.items():
        await scene.ask(name, instances, gpu_memory_mib)
    await all_at_once(scene)
    await until(lambda: all(len(scene.there(name)) == instances for name, (instances, _) in asked.items()))
    assert scene.held_mib() == {"GPU-0": 8000, "GPU-1": 9000}
    assert not [name for name in asked if (await scene.said(name)).current_error]
    await scene.crash()


@pytest.mark.parametrize(("priority", "served"), [(0, {"g": 2}), (1, {"f": 1})])
def test_more_find_room_but_none_at_the_cost_of_a_higher_priority(priority: int, served: dict[str, int]) -> None:
    @in_virtual_time
    async def story() -> None:
        scene = Cards(card(0, is_healthy=False, reason=LOST))
        await scene.begin()
        await scene.ask("f", 1, 16_384, stoke={"placement": {"priority": priority}})
        await scene.ask("g", 2, 8192)
        await all_at_once(scene)
        await until(lambda: bool(scene.keeper.records()))
        await asyncio.sleep(5.0)
        assert Counter(record.function for record in scene.keeper.records()) == served
        (left_out,) = {"f", "g"} - served.keys()
        asked = 1 if left_out == "f" else 2
        error = (await scene.said(left_out)).current_error
        assert error.startswith(f"no room for {counted(asked, 'more instance')}: "), error
        assert error.endswith("0 of 16384 MiB left")
        said = {(each.target, each.reasons[-1]) for each in scene.autoscaler.explained(qualified(left_out))}
        assert said == {(0, f"room for 0 of {asked}")}, "it never asked for what others got"
        await scene.crash()

    story()
