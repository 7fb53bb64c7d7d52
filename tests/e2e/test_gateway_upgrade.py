"""WebSockets through the gateway: the switch, the bytes, and that no slot outlives them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.support.gateway import TIMEOUT_S, Client, World, read_reply, request_bytes, world
from tests.support.websocket import OFFER, head_of, offered, switched, talking

TRIGGER = "/2016-08-15/proxy/s/f/"
MIB = 1 << 20


@pytest.fixture
async def w(store_url: str) -> AsyncIterator[World]:
    async with world(store_url) as made:
        yield made


async def the_slot_is_free(w: World) -> None:
    """The only one there is: a request that needs it is answered."""
    async with asyncio.timeout(TIMEOUT_S):
        assert (await w.ask("GET", TRIGGER)).body == b"plain"


async def vanish(client: Client) -> None:
    """Without a word: what the kernel does for a process that dies with unread bytes."""
    client.writer.transport.abort()
    await client.close()


# -- the switch --------------------------------------------------------------------------------------------------------


async def test_a_websocket_is_passed_to_an_instance_and_bytes_go_both_ways(w: World) -> None:
    async with talking(w) as instance:
        client = await offered(w, TRIGGER + "chat?room=1")
        head = (await head_of(client)).lower()
        for size in (1, 1000, 100_000):
            client.writer.write(b"x" * size)
            assert await client.reader.readexactly(size) == b"x" * size
        await client.close()
    lines = head.split(b"\r\n")
    assert lines[0] == b"http/1.1 101 switching protocols"
    assert [line for line in lines if line.startswith((b"connection:", b"upgrade:"))] == [
        b"connection: upgrade",
        b"upgrade: websocket",
    ]
    assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in lines
    assert b"x-fc-instance-id: i1" in lines
    assert b"transfer-encoding" not in head
    assert b"content-length" not in head
    sent = instance.heads[0].lower()
    assert sent.startswith(b"get /2016-08-15/proxy/s/f/chat?room=1 http/1.1\r\n")
    assert sent.count(b"connection:") == sent.count(b"\r\nupgrade:") == 1
    assert b"\r\nsec-websocket-key: dghlihnhbxbszsbub25jzq==\r\n" in sent
    assert b"\r\nx-fc-control-path: /http-invoke\r\n" in sent


async def test_what_a_client_sends_with_its_request_goes_to_the_instance_once_that_has_agreed(w: World) -> None:
    async with talking(w) as instance:
        client = await offered(w, TRIGGER, b"early ")
        await head_of(client)
        client.writer.write(b"late")
        assert await client.reader.readexactly(10) == b"early late"
        await client.close()
    assert instance.after_head == [b""]


async def test_what_comes_after_a_request_that_is_not_agreed_to_is_no_request(w: World) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"
    async with talking(w, answer=refusal) as instance:
        client = await offered(w, TRIGGER, request_bytes("GET", TRIGGER + "smuggled"))
        reply = await read_reply(client.reader)
        assert (reply.status, reply.body) == (403, b"no")
        assert reply.headers["connection"] == "close"
        assert await client.reader.read() == b""
        await client.close()
        await the_slot_is_free(w)
    assert not any(b"smuggled" in head for head in instance.heads)
    assert instance.after_head == [b""]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_switch_to_what_was_not_asked_for_is_no_answer(w: World, answer: bytes) -> None:
    async with talking(w, answer=answer):
        client = await offered(w, TRIGGER)
        assert (await read_reply(client.reader)).status == 502
        await client.close()
        await the_slot_is_free(w)


async def test_a_post_with_a_body_is_no_upgrade(w: World) -> None:
    instance = await w.start_instance("i1")
    reply = await w.ask("POST", TRIGGER, OFFER, b"body")
    assert (reply.status, reply.body) == (200, b"body")
    assert "upgrade" not in instance.requests[0].headers
    reply = await w.ask("GET", TRIGGER, OFFER, b"body")
    assert (reply.status, reply.body) == (200, b"body")


async def test_an_http_1_0_client_cannot_upgrade(w: World) -> None:
    instance = await w.start_instance("i1")
    client = await w.connect()
    client.writer.write(request_bytes("GET", TRIGGER, OFFER).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (await read_reply(client.reader)).status == 200
    assert "upgrade" not in instance.requests[0].headers
    await client.close()


async def test_a_function_that_knows_no_websockets_answers_as_ever(w: World) -> None:
    await w.start_instance("i1")
    client = await offered(w, TRIGGER)
    reply = await read_reply(client.reader)
    assert (reply.status, reply.body) == (200, b"ok")
    await client.close()


# -- the slot ----------------------------------------------------------------------------------------------------------


async def test_a_websocket_holds_its_slot_until_the_client_closes(w: World) -> None:
    async with talking(w) as instance:
        client = await switched(w, TRIGGER)
        second = await offered(w, TRIGGER)  # waits for the only slot
        client.writer.write(b"still")
        assert await client.reader.readexactly(5) == b"still"
        assert instance.talking == 1
        await client.close()
        await head_of(second)
        second.writer.write(b"mine")
        assert await second.reader.readexactly(4) == b"mine"
        await second.close()


async def test_a_client_that_vanishes_leaves_no_slot_taken(w: World) -> None:
    async with talking(w):
        client = await switched(w, TRIGGER)
        await vanish(client)
        await the_slot_is_free(w)


async def test_a_client_that_vanishes_before_the_answer_leaves_no_slot_taken(w: World) -> None:
    async with talking(w) as instance:
        instance.may_answer.clear()
        client = await offered(w, TRIGGER)
        await w.until(lambda: len(instance.heads) == 1)
        await vanish(client)
        await the_slot_is_free(w)
        instance.may_answer.set()
        await the_slot_is_free(w)


async def test_a_client_that_vanishes_from_the_queue_leaves_its_place(w: World) -> None:
    client = await offered(w, TRIGGER)
    async with w.reports() as report:
        await report(lambda each: any(usage["queued"] for usage in each.functions))
        await vanish(client)
        async with talking(w):
            await the_slot_is_free(w)


async def test_an_instance_that_closes_ends_the_clients_connection(w: World) -> None:
    async def bye(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")

    async with talking(w, bye):
        client = await switched(w, TRIGGER)
        async with asyncio.timeout(TIMEOUT_S):
            assert await client.reader.read() == b"bye"
        await client.close()
        await the_slot_is_free(w)


async def test_an_instance_that_is_killed_ends_the_clients_connection(w: World) -> None:
    async with talking(w) as instance:
        client = await switched(w, TRIGGER)
        await w.until(lambda: instance.talking == 1)
        instance.cut()
        async with asyncio.timeout(TIMEOUT_S):
            assert await client.reader.read() == b""
        await client.close()
        await the_slot_is_free(w)


async def test_a_half_that_is_closed_leaves_the_other_open(w: World) -> None:
    async def last_word(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = await reader.read()  # until the client has said all
        writer.write(b"heard " + heard)

    async with talking(w, last_word):
        client = await switched(w, TRIGGER)
        client.writer.write(b"all")
        client.writer.write_eof()
        async with asyncio.timeout(TIMEOUT_S):
            assert await client.reader.read() == b"heard all"
        await client.close()
        await the_slot_is_free(w)


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_the_functions_timeout_bounds_a_websocket(w: World) -> None:
    await w.put_function(timeout_s=0.3)
    await w.settle()
    async with talking(w):
        client = await switched(w, TRIGGER)
        async with asyncio.timeout(TIMEOUT_S):
            assert await client.reader.read() == b""
        await client.close()
        await the_slot_is_free(w)


async def test_a_websocket_on_which_nothing_happens_is_closed(store_url: str) -> None:
    async with world(store_url, "--websocket-idle-s", "0.3") as w, talking(w):
        client = await switched(w, TRIGGER)
        for _ in range(5):
            client.writer.write(b"x")
            assert await client.reader.readexactly(1) == b"x"
        async with asyncio.timeout(TIMEOUT_S):
            assert await client.reader.read() == b""
        await client.close()
        await the_slot_is_free(w)


async def test_a_shutdown_cuts_a_websocket_when_its_time_is_over(store_url: str) -> None:
    async with world(store_url, "--shutdown-timeout-s", "0.3") as w, talking(w):
        client = await switched(w, TRIGGER)
        w.gateway.terminate()
        client.writer.write(b"still")
        assert await client.reader.readexactly(5) == b"still"
        async with asyncio.timeout(TIMEOUT_S):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await client.reader.readexactly(1)
        await client.close()
        await w.until(lambda: w.gateway.process is not None and w.gateway.process.poll() == 0)


async def test_a_slow_reader_holds_the_writer_back(w: World) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(64):
            writer.write(b"x" * MIB)
            await writer.drain()
            sent += 1

    async with talking(w, pour):
        client = await switched(w, TRIGGER)
        seen = -1
        while seen != sent:  # until it stands still
            seen = sent
            await asyncio.sleep(0.3)
        assert seen < 32
        received = 0
        async with asyncio.timeout(TIMEOUT_S):
            while data := await client.reader.read(MIB):
                received += len(data)
        assert received == 64 * MIB
        await client.close()


async def test_an_instance_that_reads_slowly_holds_the_client_back(w: World) -> None:
    may_read = asyncio.Event()
    received = 0

    async def sip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await may_read.wait()
        while data := await reader.read(MIB):
            received += len(data)

    async with talking(w, sip) as instance:
        client = await switched(w, TRIGGER)
        await w.until(lambda: instance.talking == 1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while sent < 64:
                    client.writer.write(b"x" * MIB)
                    sent += 1
                    await client.writer.drain()
        assert sent < 32
        may_read.set()
        async with asyncio.timeout(TIMEOUT_S):
            await client.writer.drain()
        client.writer.write_eof()
        await w.until(lambda: received == sent * MIB)
        await client.close()
