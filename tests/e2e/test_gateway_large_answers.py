"""Many large answers at once: each comes whole, whoever stays, reads slowly or leaves."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from tests.support.gateway import Client, Request, World, plain, read_reply, request_bytes, world

TRIGGER = "/2016-08-15/proxy/s/f"
ANSWER = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(1 << 16))  # 2 MiB, no two pieces alike
AT_ONCE = 30


@pytest.fixture
async def w(store_url: str) -> AsyncIterator[World]:
    async with world(store_url) as made:
        yield made


async def whole(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(plain(ANSWER))


async def in_chunks(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for begin in range(0, len(ANSWER), 100_000):
        piece = ANSWER[begin : begin + 100_000]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    writer.write(b"0\r\n\r\n")


@pytest.mark.parametrize("answer", [whole, in_chunks])
async def test_answers_that_take_turns_come_whole_one_after_the_other(w: World, answer: object) -> None:
    await w.start_instance("i", answer, slots=2 * AT_ONCE)  # type: ignore[arg-type]
    await w.put_function(instance_concurrency=2 * AT_ONCE)
    await w.put_trigger()
    await w.settle()
    clients = [await w.connect() for _ in range(AT_ONCE)]
    left = [await w.connect() for _ in range(AT_ONCE // 3)]
    for client in (*clients, *left):
        client.writer.write(request_bytes("GET", f"{TRIGGER}/"))
    for client in left:  # in the middle of its answer
        await client.reader.readuntil(b"\r\n\r\n")
        await client.close()
    assert all(await asyncio.gather(*(_is_whole(client) for client in clients)))
    # The connections, to instances too, carry the next requests.
    for client in clients:
        client.writer.write(request_bytes("GET", f"{TRIGGER}/"))
    assert all(await asyncio.gather(*(_is_whole(client) for client in clients)))
    for client in clients:
        await client.close()


async def _is_whole(client: Client) -> bool:
    reply = await read_reply(client.reader)
    return reply.status == 200 and reply.body == ANSWER
