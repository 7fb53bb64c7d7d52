"""The strictness table, sent to a real gateway with a function behind it: each case's answer, and what got through."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.data.http_strictness import framing, lines
from tests.data.http_strictness.case import AGAIN, Case
from tests.data.http_strictness.h1spec import H1SPEC, Row
from tests.support.gateway import TIMEOUT_S, Client, Instance, Reply, Request, World, plain, read_reply, world

GROUPS = {
    "request line": lines.REQUEST_LINE,
    "host": lines.HOSTS,
    "fields": lines.FIELDS,
    "content": lines.CONTENT,
    "lengths": framing.LENGTHS,
    "codings": framing.CODINGS,
    "chunks": framing.CHUNKS,
    "hidden": framing.HIDDEN,
}


async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
    """A function with one document, which knows whether it changed."""
    matches = request.headers.get("if-none-match") in ('"e"', 'W/"e"', "*")
    if matches or request.headers.get("if-modified-since") == "Thu, 01 Jan 2026 00:00:00 GMT":
        writer.write(b'HTTP/1.1 304 Not Modified\r\netag: "e"\r\n\r\n')
    elif request.method == "OPTIONS":
        writer.write(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nallow: GET, POST\r\n\r\n")
    elif request.method == "HEAD":
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
    else:
        writer.write(plain(request.body or b"ok", etag='"e"', content_type="text/plain"))


@pytest.fixture
async def w(store_url: str) -> AsyncIterator[World]:
    async with world(store_url) as made:
        await made.put_trigger(subdomain="f", methods=["GET", "POST", "HEAD", "OPTIONS"])
        await made.settle()
        yield made


@contextlib.asynccontextmanager
async def connected(w: World) -> AsyncIterator[Client]:
    client = await w.connect()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield client
    finally:
        await client.close()


async def is_over(client: Client) -> bool:
    """Whether nothing more comes: the gateway has closed."""
    with contextlib.suppress(ConnectionResetError):
        return await client.reader.read() == b""
    return True


async def check(w: World, instance: Instance, case: Case) -> None:
    """Send it, and compare everything that the table says about it."""
    before = len(instance.requests)
    async with connected(w) as client:
        client.writer.write(case.sent)
        replies = [await read_reply(client.reader, head_only=case.sent.startswith(b"HEAD ")) for _ in case.statuses]
        assert tuple(reply.status for reply in replies) == case.statuses, [reply.body for reply in replies]
        if not case.statuses:
            client.writer.write_eof()
            assert await is_over(client)
        elif case.closes:
            assert await is_over(client)
        else:
            client.writer.write(AGAIN)
            reply = await read_reply(client.reader)
            assert (reply.status, instance.requests.pop().target) == (200, "/again"), "where the next one begins"
    got = instance.requests[before:]
    assert len(got) == case.served, f"the function got {got}"
    if replies:
        check_answer(case, replies[-1])
    if case.body is not None:
        assert got[0].body == case.body
    for name, value in case.sees.items():
        assert got[0].headers.get(name) == value, name
    for each in got:
        seen = set(each.headers) | {f"trailer {name}" for name in each.trailers}
        assert not seen & set(case.hides), seen
        for once in ("host", "content-length", "transfer-encoding"):
            assert each.names.count(once) <= 1, each.names
        assert ("content-length" in seen) + ("transfer-encoding" in seen) < 2, seen
        assert "host" in seen


def check_answer(case: Case, last: Reply) -> None:
    assert set(case.answer_has) <= set(last.headers), last.headers
    assert not set(case.answer_lacks) & set(last.headers), last.headers
    if case.closes and not case.sent.startswith(b"GET / HTTP/1.0"):
        assert last.headers["connection"] == "close"


@pytest.mark.parametrize("group", GROUPS)
async def test_each_case_of_the_table_gets_its_answer_and_nothing_ambiguous_gets_through(w: World, group: str) -> None:
    instance = await w.start_instance("i1", answer)
    await w.settle()
    wrong: list[str] = []
    for case in GROUPS[group]:
        try:
            await check(w, instance, case)
        except (AssertionError, TimeoutError, EOFError, ConnectionError, ValueError) as error:
            wrong.append(f"{case.name} ({case.rule}): {error!r}")
    assert not wrong, "\n".join(wrong)


def test_the_table_has_every_name_once() -> None:
    names = [case.name for group in GROUPS.values() for case in group]
    assert len(names) == len(set(names)) == 215


async def check_h1spec(w: World, instance: Instance, row: Row) -> None:
    _, sent, statuses, body = row
    before = len(instance.requests)
    async with connected(w) as client:
        client.writer.write(sent)
        if not statuses:
            client.writer.write_eof()
            assert await is_over(client)
            return
        reply = await read_reply(client.reader)
        assert reply.status in statuses
        assert len(instance.requests) - before == (reply.status == 200)
        if body is not None:
            assert reply.body == body


async def test_each_of_the_33_cases_of_h1spec_gets_one_of_its_answers(w: World) -> None:
    instance = await w.start_instance("i1", answer)
    await w.settle()
    wrong: list[str] = []
    for row in H1SPEC:
        try:
            await check_h1spec(w, instance, row)
        except (AssertionError, TimeoutError, EOFError, ConnectionError, ValueError) as error:
            wrong.append(f"{row[0]}: {error!r}")
    assert not wrong, "\n".join(wrong)
    assert len(H1SPEC) == 33
