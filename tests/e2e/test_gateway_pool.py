"""Connections to instances, on the loop that the gateway runs on."""

from __future__ import annotations

import asyncio
import resource
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from runtime.http.client import ClientConnection, ConnectionFailed, NotSent
from runtime.http.deadlines import Deadlines
from runtime.http.head import Response
from runtime.http.pool import NoResources, Pool, Unreachable, close_idle


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stoke-p-") as directory:
        yield Path(directory) / "instance.sock"


def pool(address: str, *, idle_s: float = 60.0, connect_s: float = 5.0) -> Pool:
    loop = asyncio.get_running_loop()
    idle: Deadlines[ClientConnection] = Deadlines(loop, idle_s, close_idle)
    return Pool(loop, address, connect_timeout_s=connect_s, idle=idle)


def test_a_listener_that_is_behind_is_waited_for(path: Path) -> None:
    """A unix socket refuses with EAGAIN while its backlog is full: that is a busy instance, not a dead one."""

    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(0)
            patient, hasty = pool(f"unix:{path}"), pool(f"unix:{path}", connect_s=0.05)
            connecting = [asyncio.create_task(patient.connect()) for _ in range(4)]
            await asyncio.wait(connecting, return_when=asyncio.FIRST_COMPLETED)
            with pytest.raises(Unreachable, match=r"no connection within 0\.05 s"):
                await hasty.connect()
            accepted = [(await asyncio.to_thread(listener.accept))[0] for _ in connecting]
            for connection in await asyncio.gather(*connecting):
                connection.close()
            for sock in accepted:
                sock.close()

    uvloop.run(scenario())


def test_nobody_there_and_no_descriptors_left_are_told_apart(path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(Unreachable, match="No such file"):
            await pool(f"unix:{path}").connect()
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(Unreachable, match="refused"):
                await pool(f"tcp:127.0.0.1:{unused.getsockname()[1]}").connect()
        server = await asyncio.start_unix_server(lambda _, writer: writer.close(), path)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(NoResources, match="Too many open files"):
                await pool(f"unix:{path}").connect()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            server.close()

    uvloop.run(scenario())


async def two_used(listener: socket.socket, connections: Pool) -> ClientConnection:
    """Two idle connections, the second used last; the other side closes both, unnoticed by this side's loop."""
    first, second = await connections.connect(), await connections.connect()
    connections.put_back(first)
    connections.put_back(second)
    assert connections.take(must_be_alive=True) is second
    connections.put_back(second)
    for _ in (first, second):
        listener.accept()[0].close()
    return second


def test_the_last_used_connection_is_taken_first_and_a_dead_one_not_at_all() -> None:
    async def scenario() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            connections = pool(f"tcp:127.0.0.1:{listener.getsockname()[1]}")
            await two_used(listener, connections)
            assert connections.take(must_be_alive=True) is None

    uvloop.run(scenario())


def test_over_a_unix_socket_a_dead_connection_is_known_by_what_could_not_be_sent(path: Path) -> None:
    """No question before each request is needed there: the other side has read nothing of what it refuses."""

    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            connections = pool(f"unix:{path}")
            second = await two_used(listener, connections)
            assert connections.take(must_be_alive=True) is second
            with pytest.raises(NotSent):
                second.ask(NoAsker(), b"POST / HTTP/1.1\r\n\r\n", head_only=False)
            second.close()

    uvloop.run(scenario())


class NoAsker:
    """Nothing is asked, so nobody is told."""

    def interim_arrived(self, response: Response) -> None:
        raise AssertionError

    def response_arrived(self) -> None:
        raise AssertionError

    def response_failed(self, error: ConnectionFailed) -> None:
        raise AssertionError(error)

    def upstream_paused(self) -> None: ...

    def upstream_resumed(self) -> None: ...


def test_an_unused_connection_is_closed_in_time(path: Path) -> None:
    async def scenario() -> None:
        closed = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            closed.set()
            writer.close()

        server = await asyncio.start_unix_server(serve, path)
        connections = pool(f"unix:{path}", idle_s=0.05)
        connections.put_back(await connections.connect())
        async with asyncio.timeout(10):
            await closed.wait()
        assert connections.take(must_be_alive=False) is None
        server.close()

    uvloop.run(scenario())


@pytest.mark.parametrize("address", ["", "unix:", "tcp:9000", "tcp:localhost:", "http://x", "/path"])
def test_an_address_of_another_form_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="unix:PATH or tcp:HOST:PORT is allowed"):
        Pool(None, address, connect_timeout_s=1.0, idle=None)  # type: ignore[arg-type]
