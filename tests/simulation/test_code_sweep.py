"""Code that nobody needs, in virtual time: what counts as needed, and when nothing is looked for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from control_plane.code_sweep import sweep_for_ever
from control_plane.errors import Unavailable
from control_plane.model import Function, Service
from control_plane.registry.memory import MemoryRegistry
from tests.support.virtual_time import VirtualClock, in_virtual_time

EVERY_S = 600.0
CODE = {name: name * 64 for name in "abc"}


class Looks:
    """A code store that takes nothing away, and a node."""

    def __init__(self) -> None:
        self.needed: list[set[str]] = []
        self.of_instances: set[str] | None = {CODE["c"]}

    async def sweep(self, needed: Collection[str], now_s: float) -> Sequence[str]:
        self.needed.append(set(needed))
        return ()

    async def code(self) -> Collection[str]:
        if self.of_instances is None:
            raise Unavailable("the node cannot be reached")
        return self.of_instances


def function(name: str) -> Function:
    return Function(service_name="s", function_name="f", runtime="python3.11", handler="a.b", code_sha256=CODE[name])


async def looked(looks: Looks, registry: MemoryRegistry, times: int, instances: bool = True) -> list[set[str]]:
    """What was said to be needed at the next so many looks."""
    looks.needed.clear()
    work = sweep_for_ever(registry, looks, looks if instances else None, VirtualClock(), EVERY_S)
    task = asyncio.ensure_future(work)
    await asyncio.sleep(times * EVERY_S + 1.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return looks.needed


async def deployed() -> MemoryRegistry:
    """Version 1 has the code a, LATEST the code b."""
    registry = MemoryRegistry()
    await registry.create_service(Service(service_name="s"))
    await registry.create_function(function("a"))
    await registry.publish_version("s", "")
    await registry.update_function(function("b"))
    return registry


@in_virtual_time
async def test_the_code_of_every_version_and_of_every_known_instance_is_needed() -> None:
    looks, registry = Looks(), await deployed()
    assert await looked(looks, registry, 2) == 2 * [set(CODE.values())]
    assert await looked(looks, registry, 1, instances=False) == [{CODE["a"], CODE["b"]}]


@in_virtual_time
async def test_while_the_node_is_away_nothing_is_looked_for() -> None:
    looks, registry = Looks(), await deployed()
    looks.of_instances = None
    assert await looked(looks, registry, 3) == []


@in_virtual_time
async def test_a_store_without_a_function_has_nothing_taken_away() -> None:
    """It may be the wrong one, and the code that of the right one."""
    assert await looked(Looks(), MemoryRegistry(), 3) == []
