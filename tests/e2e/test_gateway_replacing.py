"""Instances come, go, are replaced and are killed under constant load: what that may cost, and what it must not."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from runtime.contract import InstanceState
from tests.support.gateway import Client, Reply, World, world
from tests.support.victim import Victim

pytestmark = pytest.mark.alone

TRIGGER = "/2016-08-15/proxy/s/f/"
CLIENTS = 6  # of each method
INSTANCES = 8
KILLS = 20


class Fleet:
    """Instances in processes of their own, made known and taken away as the control plane does."""

    def __init__(self, w: World) -> None:
        self._w = w
        self._started = 0
        self.alive: dict[str, Victim] = {}

    async def start(self, count: int = 1) -> None:
        for _ in range(count):
            name = f"v{self._started}"
            self._started += 1
            self.alive[name] = victim = await asyncio.to_thread(Victim, self._w.directory, name, "unix")
            await self._w.put_instance(name, victim.address)

    async def drain(self, name: str) -> None:
        """As for a scale-in: nothing new, then, when the gateway has said that it is empty, the end."""
        victim = self.alive[name]
        async with self._w.reports() as report:
            await self._w.put_instance(name, victim.address, InstanceState.DRAINING)
            await report(lambda r: name in r.drained)
        victim.kill()
        del self.alive[name]
        await self._w.remove_instance(name)

    async def kill(self, name: str) -> None:
        """Its record goes after it did, as the control plane learns of it late."""
        self.alive.pop(name).kill()
        await self.start()
        await self._w.remove_instance(name)

    def end(self) -> None:
        for victim in self.alive.values():
            victim.kill()


class Load:
    """Clients that ask again as soon as they are answered. GET may be sent twice; POST may not."""

    def __init__(self, w: World) -> None:
        self._w = w
        self.seen: dict[str, Counter[int]] = {"GET": Counter(), "POST": Counter()}
        self.failed: list[Reply] = []

    @property
    def done(self) -> int:
        return sum(counts.total() for counts in self.seen.values())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        clients = [await self._w.connect() for _ in range(2 * CLIENTS)]
        asking = [
            asyncio.create_task(self._ask(client, method, stop))
            for client, method in zip(clients, ("GET", "POST") * CLIENTS, strict=True)
        ]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*asking)
            for client in clients:
                await client.close()

    async def await_more(self, count: int) -> None:
        done = self.done
        await self._w.until(lambda: self.done >= done + count)

    async def _ask(self, client: Client, method: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            reply = await client.ask(method, TRIGGER)
            self.seen[method][reply.status] += 1
            if reply.status != 200:
                self.failed.append(reply)


@pytest.fixture
async def w(store_url: str) -> AsyncIterator[World]:
    async with world(store_url) as made:
        yield made


async def test_scaling_in_and_out_and_replacing_every_instance_fails_no_request(w: World) -> None:
    fleet, load = Fleet(w), Load(w)
    try:
        await fleet.start(INSTANCES)
        await w.settle()
        async with load.running():
            await load.await_more(100)
            await asyncio.gather(*(fleet.drain(name) for name in list(fleet.alive)[1:]))  # 8 → 1
            await load.await_more(100)
            await fleet.start(INSTANCES - 1)  # → 8
            await load.await_more(100)
            for name in list(fleet.alive):  # and each by another
                await fleet.start()
                await fleet.drain(name)
            await load.await_more(100)
    finally:
        fleet.end()
    assert [set(counts) for counts in load.seen.values()] == [{200}, {200}]


async def test_twenty_killed_instances_cost_only_what_was_inside_them_and_may_not_be_sent_again(w: World) -> None:
    fleet, load = Fleet(w), Load(w)
    roll = random.Random(4)
    try:
        await fleet.start(INSTANCES)
        await w.settle()
        async with load.running():
            for _ in range(KILLS):
                await load.await_more(20)
                await fleet.kill(roll.choice(list(fleet.alive)))
            await load.await_more(100)
    finally:
        fleet.end()
    assert set(load.seen["GET"]) == {200}
    assert set(load.seen["POST"]) <= {200, 502}
    assert load.seen["POST"][502] <= KILLS  # one slot each
    for reply in load.failed:
        assert reply.json()["ErrorCode"] == "BadGateway"
        assert "exited unexpectedly before completing request; it was not sent again" in reply.json()["ErrorMessage"]
        assert reply.headers["x-fc-request-id"]
