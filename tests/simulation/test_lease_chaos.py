"""Several gateways that share instances, with everything that can go wrong, at random and in virtual time.

Requests really run here, and are counted where they run: an instance that has more inside than slots fails the test.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from control_plane.errors import Unavailable
from control_plane.fleet.lease_store import MemoryLeaseStore
from control_plane.fleet.leases import Batch
from control_plane.fleet.lessor import Lessor
from control_plane.fleet.usage import UsageBook
from runtime.contract import InstanceRecord, InstanceState, Kind
from runtime.gateway.gate import Gate, Lease, Ticket
from runtime.gateway.sharing import Shared
from runtime.leasing import Holder, LeaseReport
from tests.support.virtual_time import VirtualClock, in_virtual_time

SEEDS = range(20)
EVENTS = 50
KEY = ("s", "LATEST", "f")


class Store(MemoryLeaseStore):
    """Slow, and away when told; whether a batch that it refused was written is not known."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.away = False
        self._chance = chance

    async def write(self, term: int, batch: Batch) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, 0.02))
        if self.away and self._chance.random() < 0.5:
            raise Unavailable("the store is away")
        await super().write(term, batch)
        if self.away:
            raise Unavailable("the answer was lost")

    async def renewals(self) -> dict[str, str]:
        if self.away:
            raise Unavailable("the store is away")
        return await super().renewals()


class World:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.clock = VirtualClock()
        self.store = Store(chance)
        self.records: dict[str, InstanceRecord] = {}
        self.inside: Counter[str] = Counter()
        self.gateways: list[Gateway] = []
        self.dead: set[Holder] = set()
        self.numbers = 0
        self.lessor: Lessor | None = None
        self.lessor_task: asyncio.Task[None] | None = None
        self.mail: set[asyncio.Task[None]] = set()
        self.is_calm = False  # nothing is lost, nothing is late

    # -- the control plane

    async def begin(self) -> None:
        self.lessor = Lessor(lambda: list(self.records.values()), self.store, self, UsageBook(), self.clock)
        await self.lessor.begin()
        self.lessor_task = asyncio.create_task(self.lessor.run())

    async def crash(self) -> None:
        assert self.lessor_task is not None
        self.lessor, task = None, self.lessor_task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def is_here(self, holder: Holder) -> bool:
        return not holder.host

    def is_gone(self, holder: Holder) -> bool:
        return holder in self.dead

    def watch(self, holders: set[Holder], wake: Callable[[], None]) -> None: ...

    # -- messages

    async def publish(self, report: LeaseReport) -> None:
        """Lost, late or told twice."""
        for _ in range(1 if self.is_calm else self.chance.choice([0, 1, 1, 1, 2])):
            task = asyncio.create_task(self._deliver(report))
            self.mail.add(task)
            task.add_done_callback(self.mail.discard)

    async def _deliver(self, report: LeaseReport) -> None:
        late = 0.001 if self.is_calm or self.chance.random() < 0.8 else self.chance.uniform(0.0, 2.0)
        await asyncio.sleep(late)
        if self.lessor is not None:
            self.lessor.hear(report)

    # -- instances and gateways

    def launch(self, slots: int, kind: Kind) -> None:
        self.numbers += 1
        name = f"i{self.numbers}"
        self.records[name] = InstanceRecord(name, "s", "f", "LATEST", "r", kind, InstanceState.READY, slots, "n")
        for gateway in self.gateways:
            gateway.put(self.records[name])
        if self.lessor is not None:
            self.lessor.changed()

    def start(self) -> None:
        self.numbers += 1
        self.gateways.append(Gateway(self, f"g{self.numbers}", Holder(self.numbers, 1)))

    def kill(self, gateway: Gateway) -> None:
        self.gateways.remove(gateway)
        gateway.die()
        self.dead.add(gateway.holder)


class Gateway:
    """A real gate and the real sharing, behind a feed that may be slow."""

    def __init__(self, world: World, name: str, holder: Holder) -> None:
        self.world = world
        self.holder = holder
        self.gate = Gate(1000)
        self.sharing = Shared(name, {KEY: self.gate}, lambda _: self.gate, self._wake, world.publish, holder)
        self.clients: set[asyncio.Task[None]] = set()
        self.running: Counter[str] = Counter()
        self.done = 0
        self._read = len(world.store.feed)
        self.sharing.load({name: grants.to_json() for name, grants in world.store.grants.items()})
        for record in world.records.values():
            self.put(record)
        self._tasks = [asyncio.create_task(work) for work in (self.sharing.run(), self._follow())]

    def put(self, record: InstanceRecord) -> None:
        slots = self.sharing.slots(record)
        self._wake(
            self.gate.put_instance(
                record.instance_id, provisioned=record.kind is Kind.PROVISIONED, slots=slots, now_s=self._now()
            )
        )

    async def _follow(self) -> None:
        while True:
            world = self.world
            await asyncio.sleep(0.005 if world.is_calm else world.chance.choice([0.005, 0.02, 0.3]))
            entries, self._read = world.store.feed[self._read :], len(world.store.feed)
            for instance_id, grants in entries:
                self.sharing.change(instance_id, grants.to_json() if grants else "")

    def load(self, clients: int) -> None:
        """So many clients ask, each again as soon as it is answered."""
        for task in list(self.clients)[clients:]:
            task.cancel()
        while len(self.clients) < clients:
            task = asyncio.create_task(self._client())
            self.clients.add(task)
            task.add_done_callback(self.clients.discard)

    async def _client(self) -> None:
        while True:
            granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
            got = self.gate.reserve(granted, self._now())
            if isinstance(got, Lease):
                granted.set_result(got)
            else:
                self.sharing.short()
            try:
                lease = await granted
            except asyncio.CancelledError:
                if isinstance(got, Ticket):
                    if got.lease is not None:
                        self._end(got.lease, was_running=False)
                    self.gate.cancel(got, self._now())
                raise
            await self._run(lease)

    async def _run(self, lease: Lease) -> None:
        name = lease.instance.instance_id
        self.running[name] += 1
        self.world.inside[name] += 1
        assert self.world.inside[name] <= self.world.records[name].slots, f"{name} has more inside than slots"
        try:
            await asyncio.sleep(self.world.chance.choice([0.02, 0.05, 0.4]))
        finally:
            self._end(lease, was_running=True)

    def _end(self, lease: Lease, *, was_running: bool) -> None:
        name = lease.instance.instance_id
        if was_running and self in self.world.gateways:
            self.running[name] -= 1
            self.world.inside[name] -= 1
            self.done += 1
        ticket = lease.release(self._now())
        if ticket is not None:
            self._wake([ticket])
        self.sharing.released(lease.instance)

    def _wake(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            if not ticket.waiter.done():
                ticket.waiter.set_result(ticket.lease)

    def die(self) -> None:
        """What was inside is cut at this instant."""
        self.world.inside.subtract(self.running)
        for task in (*self._tasks, *self.clients):
            task.cancel()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


async def something_happens(world: World) -> None:
    chance = world.chance
    event = chance.choice(["load", "load", "load", "kill", "start", "crash", "store", "launch", "rest"])
    if event == "load" and world.gateways:
        chance.choice(world.gateways).load(chance.choice([0, 1, 3, 8]))
    elif event == "kill" and len(world.gateways) > 1:
        world.kill(chance.choice(world.gateways))
    elif event == "start" and len(world.gateways) < 4:
        world.start()
    elif event == "crash":
        await world.crash()
        await asyncio.sleep(chance.uniform(0.0, 2.0))
        await world.begin()
    elif event == "store":
        world.store.away = True
        await asyncio.sleep(chance.uniform(0.0, 1.0))
        world.store.away = False
    elif event == "launch" and len(world.records) < 5:
        world.launch(chance.choice([1, 2]), chance.choice(list(Kind)))
    await asyncio.sleep(chance.expovariate(2.0))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_instance_ever_has_more_inside_than_slots_and_nobody_is_left_waiting(seed: int) -> None:
    @in_virtual_time
    async def story() -> None:
        chance = random.Random(seed)
        world = World(chance)
        errors: list[BaseException] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context.get("exception", AssertionError(context))))
        await world.begin()
        world.launch(1, Kind.PROVISIONED)
        world.launch(2, Kind.ON_DEMAND)
        world.start()
        world.start()
        for _ in range(EVENTS):
            await something_happens(world)
        world.is_calm = True
        if world.lessor is None:
            await world.begin()
        for gateway in world.gateways:
            gateway.load(3)
        await asyncio.sleep(5.0)
        before = [gateway.done for gateway in world.gateways]
        await asyncio.sleep(10.0)
        assert all(gateway.done - was >= 5 for gateway, was in zip(world.gateways, before, strict=True))
        failed = [t.exception() for g in world.gateways for t in g.clients if t.done() and not t.cancelled()]
        assert (errors, failed) == ([], [])

    story()
