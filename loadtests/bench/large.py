"""The two ends of the benchmark of bodies: a backend and a load that give and take them.

`GET …/BYTES` is answered with so many bytes, a POST with how many came. Both ends read into one buffer that is never
looked at and write one that is never changed, so that most of what is measured is the proxy's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final, cast

import uvloop

READ_BYTES: Final = 1 << 20
_PIECE: Final = bytes(256 << 10)
_HEAD_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Moved:
    requests: int
    body_bytes: int
    seconds: float

    @property
    def mb_per_s(self) -> float:
        return self.body_bytes / self.seconds / 1e6


def measure(port: int, path: str, way: str, body_bytes: int, connections: int, seconds: float, core: int) -> Moved:
    """Bodies of this size for so long, `way` "up" or "down"; one that was begun is carried to its end. 0 seconds: one
    for each connection."""
    command = [sys.executable, "-m", "loadtests.bench.large", "load", str(port), path, way]
    command += [str(body_bytes), str(connections), str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, preexec_fn=lambda: os.sched_setaffinity(0, [core]))
    return Moved(**json.loads(done.stdout))


class _Side(asyncio.BufferedProtocol):
    """Reads messages one after the other: a head, then as many bytes as it says. Writes as the other side reads."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._head = b""
        self._left = 0  # of the body that is read
        self._to_write = 0
        self._may_write = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._left:
            self._left -= nbytes
            if not self._left:
                self.message_ended(self._head)
                self._head = b""
            return
        data = self._head + bytes(self._buffer[:nbytes])
        end = data.find(_HEAD_END) + len(_HEAD_END)
        self._head = data
        if end < len(_HEAD_END):
            return
        self._head = data[:end]
        self._left = _length(self._head) - (len(data) - end)
        if not self._left:
            self.message_ended(self._head)
            self._head = b""

    def message_ended(self, head: bytes) -> None:
        """One message has been read to its end."""
        raise NotImplementedError

    def send(self, head: bytes, body_bytes: int) -> None:
        self.transport.write(head)
        self._to_write = body_bytes
        self._write()

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._write()

    def _write(self) -> None:
        while self._to_write and self._may_write:
            piece = _PIECE if self._to_write >= len(_PIECE) else _PIECE[: self._to_write]
            self._to_write -= len(piece)
            self.transport.write(piece)


def _length(head: bytes) -> int:
    """0 for a request without a body. Pure."""
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


class Backend(_Side):
    def message_ended(self, head: bytes) -> None:
        method, target, _ = head.split(b" ", 2)
        if method == b"GET":
            body_bytes = int(target.rpartition(b"/")[2])
            self.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % body_bytes, body_bytes)
        else:
            said = b"%d" % _length(head)
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))


class Client(_Side):
    """Asks again as soon as it is answered, until told to stop."""

    def __init__(self, path: str, way: str, body_bytes: int, until_s: float) -> None:
        super().__init__()
        self._path, self._way, self._body_bytes = path, way, body_bytes
        self._until_s = until_s
        self.requests = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ask(self) -> None:
        host = "host: 127.0.0.1"
        if self._way == "down":
            self.send(f"GET {self._path}{self._body_bytes} HTTP/1.1\r\n{host}\r\n\r\n".encode(), 0)
        else:
            head = f"POST {self._path} HTTP/1.1\r\n{host}\r\ncontent-length: {self._body_bytes}\r\n\r\n"
            self.send(head.encode(), self._body_bytes)

    def message_ended(self, head: bytes) -> None:
        expected = self._body_bytes if self._way == "down" else len(str(self._body_bytes))
        if not head.startswith(b"HTTP/1.1 200 ") or _length(head) != expected:
            self.ended.set_exception(RuntimeError(f"answered with {head!r}"))
            return
        self.requests += 1
        if time.perf_counter() < self._until_s:
            self.ask()
        else:
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(f"the connection was lost: {exc}"))


async def serve(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Backend, path, backlog=1024)
    async with server:
        await server.serve_forever()


async def load(port: int, path: str, way: str, body_bytes: int, connections: int, seconds: float) -> Moved:
    loop = asyncio.get_running_loop()
    until_s = time.perf_counter() + seconds
    clients = [
        (await loop.create_connection(lambda: Client(path, way, body_bytes, until_s), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    begun_at_s = time.perf_counter()
    for client in clients:
        client.ask()
    await asyncio.gather(*(client.ended for client in clients))
    elapsed_s = time.perf_counter() - begun_at_s
    requests = sum(client.requests for client in clients)
    for client in clients:
        client.transport.close()
    return Moved(requests, requests * body_bytes, elapsed_s)


def main(arguments: list[str]) -> None:
    what, *rest = arguments
    if what == "backend":
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(serve(rest[0]))
    else:
        port, path, way, body_bytes, connections, seconds = rest
        moved = uvloop.run(load(int(port), path, way, int(body_bytes), int(connections), float(seconds)))
        print(json.dumps(asdict(moved)))


if __name__ == "__main__":
    main(sys.argv[1:])
