"""How soon a slot is where a request waits, when messages take a millisecond each. In virtual time."""

from __future__ import annotations

import asyncio
import random

import pytest

from control_plane.fleet.lease_store import MemoryLeaseStore
from control_plane.fleet.leases import Batch
from runtime.contract import Kind
from runtime.gateway.gate import Lease, Ticket
from runtime.leasing import Holder, LeaseReport
from tests.simulation.test_lease_chaos import Gateway, World
from tests.support.virtual_time import in_virtual_time

MOVED_S = 0.05
MOVES = 40


class AskedGateway(Gateway):
    def wake(self, ticket: Ticket | None) -> None:
        if ticket is not None:
            self._wake([ticket])


class QuickStore(MemoryLeaseStore):
    async def write(self, term: int, batch: Batch) -> None:
        await asyncio.sleep(0.001)
        await super().write(term, batch)


class CalmWorld(World):
    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.is_calm = True
        self.store = QuickStore()  # type: ignore[assignment]  # one that is never away
        self.reports = 0

    async def publish(self, report: LeaseReport) -> None:
        self.reports += 1
        await super().publish(report)


async def ask(gateway: AskedGateway, service_s: float) -> float:
    """One request. Gives how long it waited for its slot."""
    loop = asyncio.get_running_loop()
    granted: asyncio.Future[Lease] = loop.create_future()
    begun_at_s = loop.time()
    got = gateway.gate.reserve(granted, begun_at_s)
    if isinstance(got, Lease):
        granted.set_result(got)
    else:
        gateway.sharing.short()
    lease = await granted
    waited_s = loop.time() - begun_at_s
    await asyncio.sleep(service_s)
    gateway.wake(lease.release(loop.time()))
    gateway.sharing.released(lease.instance)
    return waited_s


async def begun(world: World, slots: int) -> list[AskedGateway]:
    """Two gateways, which have been idle for a while."""
    await world.begin()
    world.launch(slots, Kind.PROVISIONED)
    made = [AskedGateway(world, f"g{number}", Holder(number, 1)) for number in (1, 2)]
    world.gateways += made
    await asyncio.sleep(2.0)
    return made


@pytest.mark.parametrize("rest_s", [0.0, 0.01, 0.05, 0.3, 1.5])
def test_the_only_slot_is_moved_from_a_gateway_that_has_no_request_any_more(rest_s: float) -> None:
    @in_virtual_time
    async def story() -> None:
        chance = random.Random(7)
        world = CalmWorld(chance)
        gateways = await begun(world, 1)
        for number in range(MOVES):
            gateway = gateways[number % 2]
            waited_s = await ask(gateway, chance.uniform(0.0, 0.2))
            assert waited_s <= MOVED_S, f"move {number}"
            await asyncio.sleep(rest_s)

    story()


def test_slots_are_moved_from_a_gateway_that_has_fewer_requests_than_it_had() -> None:
    @in_virtual_time
    async def story() -> None:
        world = CalmWorld(random.Random(8))
        first, second = await begun(world, 4)
        for _ in range(MOVES):
            # Six wait at the one; when one of them is left, three come to the other.
            crowd = [asyncio.create_task(ask(first, 0.1)) for _ in range(6)]
            await asyncio.gather(*crowd)
            last = asyncio.create_task(ask(first, 0.5))
            await asyncio.sleep(0.03)
            waited_s = await asyncio.gather(*(ask(second, 0.05) for _ in range(3)))
            assert max(waited_s) <= MOVED_S
            await last

    story()


def test_who_has_slots_enough_reports_no_more_often_for_that() -> None:
    @in_virtual_time
    async def story() -> None:
        world = CalmWorld(random.Random(9))
        gateway, _ = await begun(world, 8)
        before = world.reports
        for _ in range(1000):
            await ask(gateway, 0.01)
        assert world.reports - before <= 2 * 10 + 2 * 10, "two a second, and what follows one that saw a request inside"

    story()
