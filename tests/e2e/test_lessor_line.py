"""A gateway's question over a socket, and everything that is no answer to it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.gateway import lessor_line
from runtime.gateway.lessor_line import LessorLine
from runtime.leasing import LEASE_SEAL_HEADER, LEASE_WORD_PATH, LeaseQuestion, LeaseWord, seal
from tests.support.gateway import Request, read_request

KEY = b"k" * 32
ASKED = LeaseQuestion("g", 7, 1)
WORD = LeaseWord("g", 7, 1)
BODY = WORD.to_json().encode()


def answer(body: bytes = BODY, status: str = "200 OK", told: str = "", length: str = "") -> bytes:
    told, length = told or seal(KEY, WORD, BODY), length or str(len(body))
    head = f"HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{LEASE_SEAL_HEADER}: {told}\r\n\r\n"
    return head.encode("latin-1") + body


@asynccontextmanager
async def control_plane(says: bytes, *, tcp: bool = False) -> AsyncIterator[tuple[str, list[Request]]]:
    """Its address, and what it was asked; it closes after each answer."""
    asked: list[Request] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_request(reader))
        writer.write(says)
        writer.close()
        await writer.wait_closed()

    with tempfile.TemporaryDirectory(prefix="stoke-") as folder:
        path = Path(folder) / "c.sock"
        server = await (asyncio.start_server(serve, "127.0.0.1", 0) if tcp else asyncio.start_unix_server(serve, path))
        port = server.sockets[0].getsockname()[1] if tcp else 0
        async with server:
            yield f"tcp:127.0.0.1:{port}" if tcp else f"unix:{path}", asked


@pytest.mark.parametrize("tcp", [True, False])
async def test_a_question_goes_out_under_a_seal_and_its_answer_comes_back(tcp: bool) -> None:
    async with control_plane(answer(), tcp=tcp) as (address, asked):
        line = LessorLine(address, KEY)
        assert await line.ask(ASKED) == WORD
        assert await line.ask(ASKED) == WORD
    first, second = asked
    assert (first.method, first.target, first.connection) == ("POST", LEASE_WORD_PATH, second.connection)
    assert LeaseQuestion.from_json(first.body) == ASKED
    assert first.headers[LEASE_SEAL_HEADER] == seal(KEY, ASKED, first.body)


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (answer(told="0" * 64), "no seal"),
        (answer(told="é"), "no seal"),
        (answer(b'{"ErrorCode": "ServiceUnavailable"}', "503 Service Unavailable"), "503"),
        (answer(status="204 No Content"), "204"),
        (answer(b"[]"), "cannot be read"),
        (answer(b"{}"), "cannot be read"),
        (answer(BODY[:-1]), "cannot be read"),
        (answer(BODY)[:-5], "cannot be read"),
        (b"", "cannot be read"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000 + b"\r\n\r\n", "cannot be read"),
        (answer(length="5000"), "5000 bytes"),
        (answer(length="-1"), "-1 bytes"),
        (answer(length="x"), "cannot be read"),
    ],
)
async def test_what_is_no_word_is_an_error_that_says_why(says: bytes, why: str) -> None:
    async with control_plane(says) as (address, _):
        with pytest.raises(ConnectionError, match=why):
            await LessorLine(address, KEY).ask(ASKED)


async def test_a_control_plane_that_is_away_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        await LessorLine("unix:/nowhere/c.sock", KEY).ask(ASKED)


async def test_an_address_that_is_silent_is_tried_again_as_another_may_answer_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two control planes behind one address, the first of them dead: nobody says no to a connect, nobody says yes."""
    monkeypatch.setattr(lessor_line, "CONNECT_S", 0.01)
    connect = asyncio.open_connection
    tried: list[int] = []

    async def dead_at_first(*place: Any, **options: Any) -> Any:
        tried.append(1)
        if len(tried) == 1:
            await asyncio.Event().wait()
        return await connect(*place, **options)

    monkeypatch.setattr(asyncio, "open_connection", dead_at_first)
    async with control_plane(answer(), tcp=True) as (address, _):
        assert await LessorLine(address, KEY).ask(ASKED) == WORD
    assert len(tried) == 2
