"""Messages of others that are odd: where one ends and the next begins in HTTP, and what is no entry of the feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from runtime.contract import FEED_KEY
from tests.support.gateway import TIMEOUT_S, Request, World, plain, read_reply, world

TRIGGER = "/2016-08-15/proxy/s/f"
INVOKE = "/2016-08-15/services/s/functions/f/invocations"
CHUNKED = f"POST {TRIGGER}/ HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".encode()


@pytest.fixture
async def w(store_url: str) -> AsyncIterator[World]:
    async with world(store_url) as made:
        yield made


async def test_chunks_that_are_none_are_refused_also_behind_a_head_that_was_seen_before(w: World) -> None:
    instance = await w.start_instance("i1")
    client = await w.connect()
    async with asyncio.timeout(TIMEOUT_S):
        client.writer.write(CHUNKED + b"2\r\nok\r\n0\r\n\r\n")
        assert (await read_reply(client.reader)).status == 200
        client.writer.write(CHUNKED + b"no size\r\n")
        reply = await read_reply(client.reader)
        assert (reply.status, reply.headers["connection"]) == (400, "close")
    await client.close()
    assert len(instance.requests) == 1


async def test_an_invocation_that_is_answered_with_no_content_gets_an_answer_that_ends(w: World) -> None:
    """304 may tell the length of what it leaves out; the caller gets a 200, where that would be waited for."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.body == b"none":
            writer.write(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n")
        else:
            writer.write(plain(b"whole"))

    await w.start_instance("i1", answer)
    client = await w.connect()
    reply = await client.ask("POST", INVOKE, body=b"none")
    assert (reply.status, reply.headers["content-length"], reply.body) == (200, "0", b"")
    assert reply.headers["x-fc-error-type"] == "UnhandledInvocationError"
    assert (await client.ask("POST", INVOKE, body=b"")).body == b"whole"
    await client.close()


async def test_an_entry_of_the_feed_that_is_none_ends_nothing(w: World) -> None:
    await w.start_instance("i1")
    await w.settle()
    await w.store.xadd(FEED_KEY, {"nonsense": "1"})
    await w.put_function("f2")
    await w.settle()
    assert "feed-broken" in w.gateway.log()
    assert (await w.ask("GET", f"{TRIGGER}/")).status == 200
