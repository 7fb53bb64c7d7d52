"""The client of the container engine's API, against a server that answers as one would."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runtime.node.docker.engine import Engine, EngineAway, EngineError, segment

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def engine(answer: Answer) -> AsyncIterator[Engine]:
    """An engine whose every answer `answer` writes, given the request's line."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await answer(head.split(b"\r\n")[0].decode(), writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    with tempfile.TemporaryDirectory(prefix="stoke-") as folder:
        socket = Path(folder) / "engine.sock"
        server = await asyncio.start_unix_server(serve, socket)
        client = Engine(socket)
        try:
            yield client
        finally:
            await client.close()
            server.close()


def whole(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(body), body)


async def test_more_outputs_than_a_hundred_are_followed_at_once_and_calls_go_on() -> None:
    ending = asyncio.Event()

    async def answer(line: str, writer: asyncio.StreamWriter) -> None:
        if "/logs" not in line:
            writer.write(whole(200, b"[]"))
            return
        writer.write(b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\nsaid")
        await writer.drain()
        await ending.wait()

    async with engine(answer) as client, asyncio.timeout(20.0):
        streams = [client.stream("GET", "/containers/x/logs", follow=1) for _ in range(130)]
        assert await asyncio.gather(*(anext(stream) for stream in streams)) == [b"said"] * 130
        assert await client.call("GET", "/containers/json") == []
        ending.set()
        for stream in streams:
            assert [chunk async for chunk in stream] == []


async def test_a_refusal_has_the_engines_words_and_status() -> None:
    async def answer(line: str, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(404, b'{"message": "No such image: x"}') if "json" in line else whole(500, b"broken"))

    async with engine(answer) as client:
        with pytest.raises(EngineError, match="No such image: x") as refused:
            await client.call("GET", "/images/x/json")
        assert refused.value.status == 404
        with pytest.raises(EngineError, match="broken"):
            await client.call("GET", "/other")


async def test_an_error_in_the_middle_of_progress_is_an_error() -> None:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(200, b'{"status": "Pulling"}\r\n{"error": "no space left"}\r\n'))

    async with engine(answer) as client:
        lines = client.lines("POST", "/images/create", fromImage="x")
        assert await anext(lines) == {"status": "Pulling"}
        with pytest.raises(EngineError, match="no space left"):
            await anext(lines)


async def test_an_engine_that_hangs_up_or_is_not_there_is_away(tmp_path: Path) -> None:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{")

    async with engine(answer) as client:
        with pytest.raises(EngineAway, match="cannot be reached"):
            await client.call("GET", "/version")
    nobody = Engine(tmp_path / "nothing.sock")
    with pytest.raises(EngineAway, match=r"nothing.sock cannot be reached"):
        await nobody.call("GET", "/version")
    await nobody.close()


def test_an_images_name_keeps_its_slashes_and_loses_what_would_end_a_path() -> None:
    assert segment("r.example:5000/a/b@sha256:1") == "r.example:5000/a/b@sha256:1"
    assert segment("a?b#c d") == "a%3Fb%23c%20d"
