"""Gateways on several machines over one store: cut off, asleep or gone at random, in virtual time.

Requests really run here and are counted where they run, as in `test_lease_chaos`; a gateway that is cut off from the
store goes on serving clients until its lease tells it to stop, or as long as it has the lessor's word.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from control_plane.errors import Unavailable
from runtime.contract import Kind
from runtime.gateway.lease_term import LeaseTerm
from runtime.gateway.tenure import Tenure
from runtime.leasing import Holder, LeaseQuestion, LeaseReport, LeaseWord, renewal
from tests.simulation.test_lease_chaos import Gateway, World
from tests.support.virtual_time import in_virtual_time

LEASE_S = 6.0
AWAY_S = 20.0
LONG = [pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 20)]


class Cluster(World):
    """Every machine is another than the control plane's."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.hosts: list[Host] = []

    def join(self) -> Host:
        self.numbers += 1
        host = Host(self, f"g{self.numbers}")
        self.hosts.append(host)
        return host


class Host(Gateway):
    """A gateway whose machine may lose the store, or everything."""

    def __init__(self, world: Cluster, name: str) -> None:
        self.cut_off = False  # from the store and the lessor
        self.without_store = False
        self.said: list[int] = []
        self.name = name
        self._world = world
        term = LeaseTerm(name, LEASE_S, AWAY_S)
        self.tenure = Tenure(term, self, self, asyncio.get_running_loop().time)
        world.gateways.append(self)
        super().__init__(world, name, Holder(1, 1, f"host of {name}", LEASE_S, AWAY_S))
        self._tasks[0].cancel()  # reports begin with the lease
        self._tasks[0] = asyncio.create_task(self._hold())
        self._tasks.append(asyncio.create_task(self._end_in_time()))
        self.sharing._publish = self._say

    async def _hold(self) -> None:
        await self.tenure.begin()
        reports = asyncio.create_task(self.sharing.run())
        try:
            await self.tenure.run()
            self.sharing.give_up()
            await asyncio.Event().wait()
        finally:
            reports.cancel()

    async def _end_in_time(self) -> None:
        """What the thread does in a process."""
        while (left_s := min(self.tenure.left_s, LEASE_S)) > 0.0:
            await asyncio.sleep(left_s)
        self.vanish()

    def vanish(self) -> None:
        if self in self._world.gateways:
            self._world.gateways.remove(self)
            self._world.hosts.remove(self)
            self.die()

    async def _say(self, report: LeaseReport) -> None:
        if not self._is_store_away:
            await self._world.publish(report)

    @property
    def _is_store_away(self) -> bool:
        return self.cut_off or self.without_store or self._world.store.away

    # -- the store, as it is reached from here

    async def renew(self, count: int, term: int) -> int:
        await asyncio.sleep(self._world.chance.uniform(0.0, 0.05))
        self.said.append(count)
        if self._is_store_away:
            if not self._world.store.away and self._world.chance.random() < 0.3:  # it arrives, and its answer does not
                self._world.store.renewed[self.name] = renewal(count, term)
            await asyncio.sleep(self._world.chance.uniform(0.0, 5.0))
            raise ConnectionError("the store is away")
        self._world.store.renewed[self.name] = renewal(count, term)
        return self._world.store.term

    async def ask(self, question: LeaseQuestion) -> LeaseWord:
        """Of the lessor, as over HTTP."""
        chance, world = self._world.chance, self._world
        await asyncio.sleep(chance.uniform(0.0, 0.05))
        if self.cut_off or world.lessor is None:
            raise ConnectionError("the lessor is away")
        try:
            word = world.lessor.vouch(question)
        except Unavailable as error:
            raise ConnectionError(str(error)) from error
        await asyncio.sleep(0.0 if world.is_calm else chance.choice([0.0, 0.02, 2.0]))
        return word

    async def leave(self) -> None:
        raise ConnectionError("the store is away")

    async def _follow(self) -> None:
        world = self.world
        while True:
            await asyncio.sleep(0.005 if world.is_calm else world.chance.choice([0.005, 0.02, 0.3]))
            if self._is_store_away:
                continue
            entries, self._read = world.store.feed[self._read :], len(world.store.feed)
            for instance_id, grants in entries:
                self.sharing.change(instance_id, grants.to_json() if grants else "")


async def begun(seed: int) -> Cluster:
    cluster = Cluster(random.Random(seed))
    cluster.is_calm = True
    await cluster.begin()
    cluster.launch(2, Kind.PROVISIONED)
    return cluster


async def grow(host: Host, more: int, timeout_s: float) -> float:
    """How long until it has answered so many more."""
    loop, since = asyncio.get_running_loop(), host.done
    began_s = loop.time()
    async with asyncio.timeout(timeout_s):
        while host.done < since + more:
            await asyncio.sleep(0.05)
    return loop.time() - began_s


@in_virtual_time
async def test_a_machine_that_vanishes_gives_its_slots_back_within_its_lease() -> None:
    cluster = await begun(1)
    gone, stays = cluster.join(), cluster.join()
    for host in (gone, stays):
        host.load(4)
    await grow(gone, 5, 5.0)
    await grow(stays, 5, 5.0)
    gone.vanish()
    began_s = asyncio.get_running_loop().time()
    async with asyncio.timeout(LEASE_S + 3.0):
        while stays.sharing.slots(cluster.records["i1"]) < 2:
            await asyncio.sleep(0.05)
    assert asyncio.get_running_loop().time() - began_s >= LEASE_S - 1.0
    await cluster.crash()


@in_virtual_time
async def test_one_that_is_cut_off_serves_on_for_a_while_and_stops_before_its_slots_are_given_away() -> None:
    cluster = await begun(2)
    cut, stays = cluster.join(), cluster.join()
    for host in (cut, stays):
        host.load(4)
    await grow(cut, 5, 5.0)
    cut.cut_off = True
    await grow(cut, 5, LEASE_S / 2)
    async with asyncio.timeout(LEASE_S + 3.0):
        while stays.sharing.slots(cluster.records["i1"]) < 2:
            assert cluster.inside["i1"] <= 2
            await asyncio.sleep(0.01)
    assert cut not in cluster.hosts
    assert cut.tenure.lost.is_set()
    await cluster.crash()


@in_virtual_time
async def test_a_store_that_is_away_for_several_leases_costs_no_request_and_then_slots_move_again() -> None:
    cluster = await begun(4)
    hosts = [cluster.join(), cluster.join()]
    for host in hosts:
        host.load(4)
        await grow(host, 5, 5.0)
    cluster.store.away = True
    for _ in range(2):
        for host in hosts:
            await grow(host, 5, 5.0)
        await asyncio.sleep(LEASE_S)
    cluster.store.away = False
    assert not any(host.tenure.lost.is_set() for host in hosts)
    for host, other in (hosts, hosts[::-1]):
        other.load(0)
        host.load(4)
        async with asyncio.timeout(5.0):
            while host.sharing.slots(cluster.records["i1"]) < 2:
                await asyncio.sleep(0.01)
    await cluster.crash()


@in_virtual_time
async def test_one_that_alone_has_no_store_serves_on_by_the_lessors_word_and_ends_before_its_slots_are_given() -> None:
    cluster = await begun(5)
    cut, stays = cluster.join(), cluster.join()
    for host in (cut, stays):
        host.load(4)
        await grow(host, 5, 5.0)
    cut.without_store = True
    began_s = asyncio.get_running_loop().time()
    async with asyncio.timeout(LEASE_S + AWAY_S + 3.0):
        while stays.sharing.slots(cluster.records["i1"]) < 2:
            assert cluster.inside["i1"] <= 2
            await asyncio.sleep(0.01)
    assert asyncio.get_running_loop().time() - began_s > AWAY_S
    assert cut not in cluster.hosts
    await cluster.crash()


@in_virtual_time
async def test_a_short_absence_of_the_store_costs_nothing() -> None:
    cluster = await begun(3)
    hosts = [cluster.join(), cluster.join()]
    for host in hosts:
        host.load(4)
    await grow(hosts[0], 5, 5.0)
    for host in hosts:
        host.cut_off = True
    await asyncio.sleep(LEASE_S / 3)
    for host in hosts:
        host.cut_off = False
    await asyncio.sleep(LEASE_S * 2)
    assert cluster.hosts == hosts
    assert not any(host.tenure.lost.is_set() for host in hosts)
    for host in hosts:  # one that may have been written is not written again: it would be taken for the earlier one
        assert len(set(host.said)) == len(host.said)
    await cluster.crash()


async def something_happens(cluster: Cluster) -> None:
    chance = cluster.chance
    event = chance.choice(
        ["load", "load", "cut", "no store", "heal", "heal", "vanish", "join", "join", "crash", "launch", "store"]
    )
    if event == "load" and cluster.hosts:
        chance.choice(cluster.hosts).load(chance.choice([0, 1, 3, 8]))
    elif event == "cut" and cluster.hosts:
        chance.choice(cluster.hosts).cut_off = True
    elif event == "no store" and cluster.hosts:
        chance.choice(cluster.hosts).without_store = True
    elif event == "heal":
        for host in cluster.hosts:
            host.cut_off = host.without_store = False
    elif event == "vanish" and cluster.hosts:
        chance.choice(cluster.hosts).vanish()
    elif event == "join" and len(cluster.hosts) < 4:
        cluster.join()
    elif event == "crash":
        await cluster.crash()
        await asyncio.sleep(chance.uniform(0.0, 2.0 * LEASE_S))
        with suppress(Unavailable):
            await cluster.begin()
    elif event == "launch" and len(cluster.records) < 5:
        cluster.launch(chance.choice([1, 2]), chance.choice(list(Kind)))
    elif event == "store":
        cluster.store.away = True
        await asyncio.sleep(chance.uniform(0.0, 2.0 * LEASE_S))
        cluster.store.away = False
    await asyncio.sleep(chance.expovariate(0.5))


@pytest.mark.parametrize("seed", [*range(3), *LONG])
def test_no_instance_ever_has_more_inside_than_slots_whoever_is_cut_off_or_gone(seed: int) -> None:
    @in_virtual_time
    async def story() -> None:
        cluster = Cluster(random.Random(seed))
        errors: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: errors.append(context.get("exception", AssertionError(context)))
        )
        await cluster.begin()
        cluster.launch(2, Kind.PROVISIONED)
        for _ in range(40):
            await something_happens(cluster)
        cluster.is_calm = True
        if cluster.lessor is None:
            await cluster.begin()
        for host in cluster.hosts:
            host.cut_off = host.without_store = False
        last = [cluster.join(), cluster.join()]
        await asyncio.sleep(LEASE_S * 2 + AWAY_S)
        for host in cluster.hosts:
            host.load(3)
        await asyncio.sleep(5.0)
        for host in last:
            await grow(host, 5, 10.0)
        failed = [t.exception() for g in cluster.hosts for t in g.clients if t.done() and not t.cancelled()]
        assert (errors, failed) == ([], [])

    story()
