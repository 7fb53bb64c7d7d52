"""The gateway when instances die, drain or are too few, and when clients leave: what must hold, held for real."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.contract import FEED_KEY, INSTANCES_KEY, ROUTES_KEY, InstanceState, Kind
from tests.support.gateway import Client, Request, World, plain, read_reply, request_bytes, world
from tests.support.store import PrivateStore
from tests.support.victim import Victim

pytestmark = pytest.mark.alone

TRIGGER = "/2016-08-15/proxy/s/f"


@pytest.fixture
async def w(store_url: str) -> AsyncIterator[World]:
    async with world(store_url) as made:
        yield made


@pytest.mark.parametrize("scheme", ["unix", "tcp"])
async def test_an_idle_instance_that_is_killed_costs_no_request(w: World, scheme: str) -> None:
    killed = Victim(w.directory, "killed", scheme)
    spare = Victim(w.directory, "spare", scheme)
    try:
        await w.put_instance("killed", killed.address, kind=Kind.PROVISIONED)
        await w.settle()
        client = await w.connect()
        assert (await client.ask("POST", f"{TRIGGER}/", body=b"x")).headers["x-fc-instance-id"] == "killed"
        await w.put_instance("spare", spare.address, kind=Kind.ON_DEMAND)
        await w.settle()
        async with w.reports() as report:
            killed.kill()
            # POST, which may not be sent twice: so it must not have been sent to the dead one at all.
            reply = await client.ask("POST", f"{TRIGGER}/", body=b"y")
            assert (reply.status, reply.body, reply.headers["x-fc-instance-id"]) == (200, b"y", "spare")
            assert (await report(lambda r: bool(r.unreachable))).unreachable == ["killed"]
            await w.remove_instance("killed")
            assert (await report(lambda r: not r.unreachable)).unreachable == []
        await client.close()
    finally:
        for victim in (killed, spare):
            victim.kill()


@pytest.mark.parametrize("scheme", ["unix", "tcp"])
async def test_instances_killed_under_load_cost_only_what_was_inside_and_unsafe(w: World, scheme: str) -> None:
    killed = [Victim(w.directory, f"killed{n}", scheme) for n in range(3)]
    spare = Victim(w.directory, "spare", scheme)
    for n, victim in enumerate([*killed, spare]):
        await w.put_instance(f"i{n}", victim.address)
    await w.settle()
    stop = asyncio.Event()
    statuses: dict[str, list[int]] = {"GET": [], "POST": []}

    async def load(method: str) -> None:
        client = await w.connect()
        while not stop.is_set():
            statuses[method].append((await client.ask(method, f"{TRIGGER}/")).status)
        await client.close()

    try:
        loads = [asyncio.create_task(load(method)) for method in ("GET", "POST") * 8]
        for victim in killed:
            done = len(statuses["GET"])
            await w.until(lambda done=done: len(statuses["GET"]) > done + 50)  # type: ignore[misc]
            victim.kill()
        done = len(statuses["GET"])
        await w.until(lambda: len(statuses["GET"]) > done + 50)
        stop.set()
        await asyncio.gather(*loads)
    finally:
        for victim in [*killed, spare]:
            victim.kill()
    assert set(statuses["GET"]) == {200}
    assert set(statuses["POST"]) <= {200, 502}
    assert statuses["POST"].count(502) <= len(killed)  # one slot each


async def test_a_retryable_functions_request_is_sent_again_whatever_its_method(w: World) -> None:
    first = True

    async def die_once(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        if first:
            first = False
            writer.close()
        else:
            writer.write(plain(request.body))

    instance = await w.start_instance("i1", die_once)
    reply = await w.ask("POST", f"{TRIGGER}/", body=b"x")
    assert reply.status == 502
    assert "Process exited unexpectedly before completing request" in reply.json()["ErrorMessage"]
    assert [request.body for request in instance.requests] == [b"x"]  # once
    first = True
    await w.put_function(retryable=True)
    await w.settle()
    reply = await w.ask("POST", f"{TRIGGER}/", body=b"y" * 10_000)
    assert (reply.status, reply.body) == (200, b"y" * 10_000)


async def test_a_request_that_kills_every_instance_ends(w: World) -> None:
    async def die(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.close()

    instance = await w.start_instance("i1", die)
    assert (await w.ask("GET", f"{TRIGGER}/")).status == 502
    assert len(instance.requests) == 3


async def test_an_instance_that_cannot_be_reached_comes_back_when_it_can(w: World) -> None:
    instance = await w.start_instance("i1")
    await instance.stop()
    asking = asyncio.create_task(w.ask("POST", f"{TRIGGER}/", body=b"x"))
    async with w.reports() as report:
        await report(lambda r: r.unreachable == ["i1"])
        await instance.start()
        assert (await asking).status == 200  # it waited
        await report(lambda r: not r.unreachable)


async def test_a_drain_loses_no_request(w: World) -> None:
    """Instances replace one another under load, each drained first: every request is answered by one of them."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.002)
        writer.write(plain(request.body))

    stop = asyncio.Event()
    statuses: list[int] = []

    async def load() -> None:
        client = await w.connect()
        while not stop.is_set():
            statuses.append((await client.ask("POST", f"{TRIGGER}/", body=b"x")).status)
        await client.close()

    await w.start_instance("i0", answer, slots=2)
    await w.settle()
    async with w.reports() as report:
        loads = [asyncio.create_task(load()) for _ in range(8)]
        for n in range(6):
            old, new = f"i{n}", f"i{n + 1}"
            await w.start_instance(new, answer, slots=2)
            await w.put_instance(old, w.instances[old].address, InstanceState.DRAINING)
            await report(lambda r, old=old: old in r.drained)  # type: ignore[misc]
            assert w.instances[old].in_flight == 0
            await w.instances[old].stop()  # refuses from now on
            await w.remove_instance(old)
            done = len(statuses)
            await w.until(lambda done=done: len(statuses) > done + 20)  # type: ignore[misc]
        stop.set()
        await asyncio.gather(*loads)
    assert set(statuses) == {200}


async def test_a_hundred_clients_share_two_slots_first_come_first_served(w: World) -> None:
    go = asyncio.Event()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(plain(request.body))

    # The first two hold the slots until all the others wait, one after the other in a known order.
    for name in ("i1", "i2"):
        await w.start_instance(name, answer)
    await w.settle()
    clients = [await w.connect() for _ in range(100)]
    marker = await w.connect()
    async with w.reports() as report:
        for n, client in enumerate(clients):
            client.writer.write(request_bytes("POST", f"{TRIGGER}/", body=b"%d" % n))
            # A later request that was answered tells that this one has been read: the gateway reads one at a time.
            assert (await marker.ask("GET", "/2016-08-15/proxy/nope/f/")).status == 404
        await report(lambda r: _demand(r.functions) == 100)
        go.set()
        replies = [await read_reply(client.reader) for client in clients]
    assert [reply.status for reply in replies] == [200] * 100
    assert [reply.body for reply in replies] == [b"%d" % n for n in range(100)]
    for name in ("i1", "i2"):
        arrived = [int(request.body) for request in w.instances[name].requests]
        assert arrived == sorted(arrived)
        assert w.instances[name].in_flight_peak == 1
    assert not any("x-stoke-cold-start" in reply.headers for reply in replies)
    for client in (*clients, marker):
        await client.close()


async def test_a_client_that_leaves_while_queued_frees_its_place_at_once(store_url: str) -> None:
    async with world(store_url, "--queue-length-max", "2") as w:
        waiting = [await w.connect() for _ in range(2)]
        async with w.reports() as report:
            for client in waiting:
                client.writer.write(request_bytes("POST", f"{TRIGGER}/", body=b"left"))
            seen = await report(lambda r: _demand(r.functions) == 2)
            assert seen.functions[0]["queued"] == 2
            reply = await w.ask("GET", f"{TRIGGER}/")
            assert (reply.status, reply.headers["retry-after"]) == (429, "1")
            assert reply.json()["ErrorCode"] == "ResourceExhausted"
            await waiting[0].close()
            await report(lambda r: _demand(r.functions) == 1)
            asking = asyncio.create_task(w.ask("POST", f"{TRIGGER}/", body=b"came"))
            await report(lambda r: _demand(r.functions) == 2)
            await waiting[1].close()
            await report(lambda r: _demand(r.functions) == 1)
        instance = await w.start_instance("i1")
        reply = await asking
        assert (reply.status, reply.body) == (200, b"came")
        assert reply.headers["x-stoke-cold-start"] == "true"
        assert [request.body for request in instance.requests] == [b"came"]


async def test_a_client_that_leaves_in_flight_leaves_its_slot_taken_until_the_instance_is_done(w: World) -> None:
    go = asyncio.Event()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(plain(b"x" * 500_000))

    instance = await w.start_instance("i1", answer)
    await w.settle()
    client = await w.connect()
    client.writer.write(request_bytes("GET", f"{TRIGGER}/"))
    await w.until(lambda: instance.in_flight == 1)
    async with w.reports() as report:
        await client.close()
        asking = asyncio.create_task(w.ask("GET", f"{TRIGGER}/"))
        seen = await report(lambda r: _demand(r.functions) == 2)
        assert seen.in_flight == {"i1": 1}
        assert instance.in_flight_peak == 1
        go.set()
        assert (await asking).status == 200
    assert instance.in_flight_peak == 1


async def test_those_who_wait_for_a_function_that_is_deleted_are_told(w: World) -> None:
    asking = asyncio.create_task(w.ask("GET", f"{TRIGGER}/"))
    async with w.reports() as report:
        await report(lambda r: _demand(r.functions) == 1)
    await w.write(ROUTES_KEY, "function/s/LATEST/f", "")
    reply = await asking
    assert (reply.status, reply.json()["Code"]) == (404, "FunctionNotFound")


async def test_large_bodies_stream_both_ways_with_flat_memory(w: World) -> None:
    size, piece = 200 << 20, 1 << 18
    received = 0

    async def swallow_and_pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            while received < size:
                received += len(await reader.read(piece))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
            for _ in range(size // piece):
                writer.write(b"x" * piece)
                await writer.drain()
        writer.close()

    path = w.directory / "big.sock"
    server = await asyncio.start_unix_server(swallow_and_pour, path, limit=1 << 20)
    await w.put_instance("big", f"unix:{path}")
    await w.settle()
    before_mib = _memory_mib(w)
    client = await w.connect()
    client.writer.write(request_bytes("POST", f"{TRIGGER}/", {"content-length": str(size)}))
    for _ in range(size // piece):
        client.writer.write(b"y" * piece)
        await client.writer.drain()
    await client.reader.readuntil(b"\r\n\r\n")
    # The instance is faster than this client: what is not read yet must wait in the instance.
    poured, peak_mib = 0, 0.0
    while poured < size:
        poured += len(await client.reader.read(piece))
        peak_mib = max(peak_mib, _memory_mib(w))
    assert received == poured == size
    assert peak_mib - before_mib < 10.0
    await client.close()
    server.close()


async def test_a_body_waits_with_its_client_while_no_instance_is_free(w: World) -> None:
    size = 32 << 20
    before_mib = _memory_mib(w)
    client = await w.connect()
    client.writer.write(request_bytes("POST", f"{TRIGGER}/", {"content-length": str(size)}))
    sending = asyncio.create_task(_pour(client, size))
    async with w.reports() as report:
        await report(lambda r: _demand(r.functions) == 1)
        await report(lambda r: _demand(r.functions) == 1)  # a second later it still waits
    assert not sending.done()
    assert _memory_mib(w) - before_mib < 5.0

    async def count(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(str(len(request.body)).encode()))

    await w.start_instance("i1", count)
    await sending
    assert (await read_reply(client.reader)).body == str(size).encode()
    await client.close()


# -- the store ---------------------------------------------------------------------------------------------------------


async def test_usage_adds_up(w: World) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(plain())

    await w.start_instance("warm", answer, kind=Kind.PROVISIONED)
    await w.start_instance("cold", answer, kind=Kind.ON_DEMAND)
    await w.settle()
    arrived = finished = 0
    demand_s = provisioned_s = 0.0
    last_used: dict[str, float] = {}
    async with w.reports() as report:
        begun_at_s = time.time()
        asking = [asyncio.create_task(w.ask("GET", f"{TRIGGER}/")) for _ in range(20)]
        while finished < 20:
            seen = await report(lambda r: bool(r.functions))
            last_used |= seen.last_used_s
            [usage] = seen.functions
            arrived += usage["arrived"]
            finished += usage["finished"]
            demand_s += usage["demand_request_seconds"]
            provisioned_s += usage["provisioned_request_seconds"]
            assert usage["failed"] == 0
        await asyncio.gather(*asking)
        elapsed_s = time.time() - begun_at_s
    assert arrived == finished == 20
    # 20 requests of 50 ms on two slots: the n-th pair waits n times 50 ms before its own 50: 2 × 0.05 × (1 + … + 10).
    assert demand_s >= 5.4
    assert 0.45 <= provisioned_s <= elapsed_s
    assert set(last_used) == {"warm", "cold"}
    assert all(begun_at_s <= used_s <= time.time() for used_s in last_used.values())


async def test_it_serves_on_while_the_store_is_away_and_catches_up_after() -> None:
    with PrivateStore() as store:
        async with world(store.url) as w:
            await w.start_instance("i1")
            await w.settle()
            store.kill()
            for _ in range(20):
                assert (await w.ask("GET", f"{TRIGGER}/")).status == 200
            store.start()
            await w.remove_instance("i1")
            await w.start_instance("i2")

            async def is_followed() -> bool:
                return (await w.ask("GET", f"{TRIGGER}/")).headers.get("x-fc-instance-id") == "i2"

            await w.until(is_followed)


async def test_a_gap_in_the_feed_is_noticed(w: World) -> None:
    await w.start_instance("i1")
    await w.start_instance("i2")
    await w.settle()
    # Everything at once without the feed saying it: the stream is emptied and begins anew, as after a restore.
    await w.store.hdel(INSTANCES_KEY, "i1")
    await w.store.delete(FEED_KEY)

    async def is_noticed() -> bool:
        return "feed-gap" in w.gateway.log()

    await w.until(is_noticed)
    await w.settle()
    for _ in range(4):
        assert (await w.ask("GET", f"{TRIGGER}/")).headers["x-fc-instance-id"] == "i2"


async def _pour(client: Client, size: int) -> None:
    piece = b"y" * (1 << 16)
    for _ in range(size // len(piece)):
        client.writer.write(piece)
        await client.writer.drain()


def _demand(functions: list[dict[str, float]]) -> float:
    return sum(usage["in_flight"] + usage["queued"] for usage in functions)


def _memory_mib(w: World) -> float:
    for line in Path(f"/proc/{w.gateway.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the gateway is gone")
