"""How a server stops, in virtual time: which answer is a connection's last one, when one without a request ends."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from typing import IO, cast

import pytest

from runtime.gateway.relay import connection_line
from runtime.http import connection as connections
from runtime.http import server as servers
from runtime.http.connection import ServerConnection
from runtime.http.framing import CLOSE
from runtime.http.server import Server
from tests.support.virtual_time import in_virtual_time
from tests.unit.test_http_slow_clients import Function, Wire

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
GRACE_S = 2.0


@pytest.fixture(autouse=True)
def _the_loops_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (connections, servers):
        monkeypatch.setattr(module, "monotonic", lambda: asyncio.get_running_loop().time())


class Client:
    def __init__(self, server: Server, function: Function) -> None:
        self.function = function
        self.wire = Wire()
        self.sent: IO[bytes] | None = None
        self.wire.get_extra_info = lambda _: self.sent  # type: ignore[method-assign, assignment]
        self.wire.close = self._end  # type: ignore[method-assign]
        self.wire.abort = self._cut  # type: ignore[method-assign]
        self.connection = cast(ServerConnection, server.connection())
        self.connection.connection_made(cast(asyncio.Transport, self.wire))
        self.ended_at_s = -1.0

    def ask(self) -> None:
        self.connection.data_received(GET)

    def head(self) -> None:
        """The function begins to answer this client's request."""
        exchange = self.function.exchanges[-1]
        exchange.write([connection_line(exchange)])

    def end(self) -> None:
        self.function.exchanges[-1].finish()

    @property
    def was_told(self) -> bool:
        return CLOSE in self.wire.written

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Something of it has arrived that the loop has yet to read."""
        with tempfile.TemporaryFile() as self.sent:
            yield
        self.sent = None

    def _end(self) -> None:
        if self.wire.state == "open":
            self.wire.state = "closed"
            self.ended_at_s = asyncio.get_running_loop().time()
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    def _cut(self) -> None:
        self._end()
        self.wire.state = "cut"


class World:
    def __init__(self) -> None:
        self.function = Function()
        self.server = Server(asyncio.get_running_loop(), self.function.handle)
        self.shut_at_s = -1.0

    def client(self) -> Client:
        return Client(self.server, self.function)

    def stop(self, timeout_s: float = 30.0, grace_s: float = GRACE_S) -> asyncio.Task[int]:
        return asyncio.ensure_future(self.server.drain(timeout_s, grace_s, self._shut))

    async def _shut(self) -> None:
        self.shut_at_s = asyncio.get_running_loop().time()


@in_virtual_time
async def test_a_connection_without_a_request_is_open_for_the_grace_and_its_next_answer_is_its_last() -> None:
    w = World()
    used, unused = w.client(), w.client()
    stopping = w.stop()
    await asyncio.sleep(GRACE_S / 2)
    used.ask()
    used.head()
    used.end()
    assert (used.was_told, used.wire.state, unused.wire.state) == (True, "closed", "open")
    assert await stopping == 0
    assert (unused.was_told, unused.wire.state) == (False, "closed")
    assert unused.ended_at_s == w.shut_at_s == GRACE_S


@in_virtual_time
async def test_an_answer_that_had_begun_leaves_its_connection_open_for_the_grace() -> None:
    w = World()
    streaming, waiting = w.client(), w.client()
    waiting.ask()
    told_later = w.function.exchanges[-1]
    streaming.ask()
    streaming.head()
    stopping = w.stop()
    await asyncio.sleep(0)
    told_later.write([connection_line(told_later)])
    told_later.finish()
    assert (waiting.was_told, waiting.wire.state) == (True, "closed")
    await asyncio.sleep(10.0)
    streaming.end()
    assert (streaming.was_told, streaming.wire.state) == (False, "open")
    streaming.ask()  # as its client does which was not told anything
    streaming.head()
    streaming.end()
    assert (streaming.was_told, streaming.wire.state, await stopping) == (True, "closed", 0)
    assert w.shut_at_s == GRACE_S


@in_virtual_time
async def test_who_comes_within_the_grace_has_as_much_of_it_as_others() -> None:
    w = World()
    w.client()
    stopping = w.stop()
    await asyncio.sleep(GRACE_S - 0.1)
    late = w.client()
    assert await stopping == 0
    assert 2 * GRACE_S - 0.1 <= late.ended_at_s <= 2 * GRACE_S + GRACE_S / 8


@in_virtual_time
async def test_a_request_that_has_arrived_as_the_grace_ends_is_answered() -> None:
    w = World()
    client = w.client()
    stopping = w.stop()
    with client.sending():
        await asyncio.sleep(GRACE_S + 0.1)
        assert client.wire.state == "open"
    client.ask()
    client.head()
    client.end()
    assert (client.was_told, client.wire.state, await stopping) == (True, "closed", 0)


@in_virtual_time
async def test_where_nobody_is_connected_a_stop_takes_no_time() -> None:
    w = World()
    assert await w.stop() == 0
    assert (w.shut_at_s, asyncio.get_running_loop().time()) == (0.0, 0.0)


@in_virtual_time
async def test_a_stop_without_a_grace_closes_at_once_and_behind_each_answer() -> None:
    """As an instance stops: its gateways have been told before."""
    w = World()
    idle, busy = w.client(), w.client()
    busy.ask()
    busy.head()
    stopping = w.stop(grace_s=0.0)
    await asyncio.sleep(1.0)
    assert (idle.wire.state, idle.ended_at_s, busy.wire.state) == ("closed", 0.0, "open")
    busy.end()
    assert (busy.wire.state, await stopping) == ("closed", 0)


@in_virtual_time
async def test_what_is_not_answered_when_the_time_is_over_is_cut() -> None:
    w = World()
    busy = w.client()
    busy.ask()
    assert await w.stop(timeout_s=5.0) == 1
    assert (busy.wire.state, asyncio.get_running_loop().time()) == ("cut", 5.0)
