"""For tests: an instance whose connections switch protocols, and the client's side of it, both in plain bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from tests.support.gateway import TIMEOUT_S, Client, World, plain, request_bytes

OFFER = {
    "connection": "keep-alive, Upgrade",
    "upgrade": "websocket",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version": "13",
}
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything back, until the other side has said all."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


class TalkingInstance:
    """Answers a request that offers a WebSocket with `answer`, then does `talk`; any other with 200."""

    def __init__(self, path: Path, talk: Talk, answer: bytes) -> None:
        self.path = path
        self.talk = talk
        self.answer = answer
        self.heads: list[bytes] = []
        self.after_head: list[bytes] = []  # what was there beside the head, before the answer
        self.talking = 0
        self.writers: set[asyncio.StreamWriter] = set()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                if b"websocket" not in head:
                    writer.write(plain(b"plain"))
                    continue
                await self.may_answer.wait()
                self.after_head.append(bytes(reader._buffer))  # type: ignore[attr-defined]
                writer.write(self.answer)
                if b" 101 " in self.answer:
                    self.talking += 1
                    try:
                        await self.talk(reader, writer)
                    finally:
                        self.talking -= 1
                    break
        self.writers.discard(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def cut(self) -> None:
        """As a process that is killed: every connection ends."""
        for writer in self.writers:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def talking(
    w: World, talk: Talk = echo, answer: bytes = SWITCH, instance_id: str = "i1", **more: object
) -> AsyncIterator[TalkingInstance]:
    instance = TalkingInstance(w.directory / f"{instance_id}.sock", talk, answer)
    server = await asyncio.start_unix_server(instance.serve, instance.path, limit=1 << 20)
    await w.put_instance(instance_id, f"unix:{instance.path}", **more)  # type: ignore[arg-type]
    try:
        yield instance
    finally:
        server.close()
        instance.cut()


async def offered(w: World, target: str, more: bytes = b"", **headers: str) -> Client:
    """A connection on which a WebSocket was asked for, with `more` in the same write."""
    client = await w.connect()
    client.writer.write(request_bytes("GET", target, {**OFFER, **headers}) + more)
    return client


async def head_of(client: Client) -> bytes:
    async with asyncio.timeout(TIMEOUT_S):
        return await client.reader.readuntil(b"\r\n\r\n")


async def switched(w: World, target: str) -> Client:
    client = await offered(w, target)
    head = await head_of(client)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client
