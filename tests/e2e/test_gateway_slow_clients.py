"""Clients that are slow in every way, each let go in its time, while another is served as ever."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from tests.support.gateway import TIMEOUT_S, Client, Request, plain, read_reply, request_bytes, world

pytestmark = pytest.mark.alone

TRIGGER = "/2016-08-15/proxy/s/f"
LIMITS = ["--head-timeout-s", "0.5", "--body-timeout-s", "0.5", "--write-timeout-s", "0.5"]
EACH = 20
LARGE = 16 << 20  # more than the sockets on the way hold


class Instance:
    """Answers at `/large` with more than a client that does not read can be sent, and counts those answers."""

    def __init__(self) -> None:
        self.large_ended = 0

    async def answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if not request.target.endswith("/large"):
            writer.write(plain(request.body or b"ok"))
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (LARGE))
        for _ in range(LARGE >> 16):
            writer.write(b"x" * 65_536)
            await writer.drain()
        self.large_ended += 1


async def ask_until(done: asyncio.Event, client: Client) -> int:
    answered = 0
    while not done.is_set():
        assert (await client.ask("POST", f"{TRIGGER}/", {}, b"hello")).body == b"hello"
        answered += 1
    return answered


async def test_slow_clients_are_let_go_and_hold_nobody_up(store_url: str) -> None:
    async with world(store_url, *LIMITS) as w, contextlib.AsyncExitStack() as clients:

        async def connect() -> Client:
            client = await w.connect()
            clients.push_async_callback(client.close)
            return client

        instance = Instance()
        await w.start_instance("i1", instance.answer, slots=4 * EACH)
        await w.settle()
        heads = [await connect() for _ in range(EACH)]
        bodies = [await connect() for _ in range(EACH)]
        readers = [await connect() for _ in range(EACH)]
        normal = await connect()
        for client in heads:
            client.writer.write(b"GET / HTTP/1.1\r\nX: ")
        for client in bodies:
            client.writer.write(request_bytes("POST", f"{TRIGGER}/", {"content-length": "100"}) + b"half")
        for client in readers:
            # Else the kernel may take all of it for the client, as much as it likes.
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined] # asyncio's own has it
            client.writer.write(request_bytes("GET", f"{TRIGGER}/large"))
        over = asyncio.Event()
        asking = asyncio.create_task(ask_until(over, normal))
        async with asyncio.timeout(TIMEOUT_S):
            for client in (*heads, *bodies):
                reply = await read_reply(client.reader)
                assert (reply.status, reply.headers["connection"]) == (408, "close")
        # The rest of each answer was read, and went nowhere.
        await w.until(lambda: instance.large_ended == EACH)
        over.set()
        assert await asking > 0
        async with asyncio.timeout(TIMEOUT_S):
            for client in readers:
                client.writer.transport.resume_reading()  # type: ignore[attr-defined]
                with contextlib.suppress(ConnectionResetError):
                    assert len(await client.reader.read()) < LARGE
