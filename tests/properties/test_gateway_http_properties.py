"""HTTP over a wire that cuts the bytes anywhere: what is understood does not depend on where."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from runtime.gateway.upgrade import wants_upgrade
from runtime.http.client import ClientConnection, ConnectionFailed
from runtime.http.exchange import Exchange
from runtime.http.framing import chunks
from runtime.http.head import Response
from runtime.http.server import Server
from runtime.http.upgrade import UpgradingConnection


class Wire:
    """A transport that remembers what was written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False
        self.paused = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writelines(self, parts: list[bytes]) -> None:
        self.written += parts

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 1) if name == "peername" else None


class NoTimer:
    """A loop for protocols whose time never passes."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:
        return self

    def cancel(self) -> None: ...


LOOP = cast(asyncio.AbstractEventLoop, NoTimer())


class Collector:
    """Answers each exchange when its request is complete, with what it had in it."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes, bytes]] = []
        self.exchange: Exchange | None = None
        self.body = b""

    def handle(self, exchange: Exchange) -> None:
        assert exchange.problem is None, exchange.problem
        exchange.owner = self
        self.exchange, self.body = exchange, b""
        self.body_arrived()

    def body_arrived(self) -> None:
        exchange = self.exchange
        assert exchange is not None
        self.body += b"".join(exchange.take_body())
        if exchange.complete:
            self.seen.append((exchange.method, exchange.target, self.body))
            exchange.write([b"answer %d\n" % len(self.seen)])
            exchange.finish()

    def client_gone(self) -> None:
        raise AssertionError("nobody went")

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...


TARGETS = st.from_regex(rb"\A/[a-z0-9/%?=&.-]{0,30}\Z")
PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, tuple[bytes, bytes, bytes]]:
    """A request's bytes, and what it says."""
    target = draw(TARGETS)
    pieces = draw(PIECES)
    body = b"".join(pieces)
    upgrade = b"connection: upgrade\r\nupgrade: h2c\r\n" if draw(st.booleans()) else b""
    if draw(st.booleans()):
        framed = b"transfer-encoding: chunked\r\n\r\n" + b"".join(chunks(pieces)) + b"0\r\ntrailer: 1\r\n\r\n"
    else:
        framed = b"content-length: %d\r\n\r\n%b" % (len(body), body)
    return b"POST %b HTTP/1.1\r\nhost: x\r\n%b%b" % (target, upgrade, framed), (b"POST", target, body)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if begin < end]


CUTS = st.lists(st.integers(0, 5000), max_size=12)


@given(st.lists(requests(), min_size=1, max_size=5), CUTS)
def test_pipelined_requests_are_read_whole_and_answered_in_order(
    sent: list[tuple[bytes, tuple[bytes, bytes, bytes]]], places: list[int]
) -> None:
    collector = Collector()
    connection = Server(LOOP, collector.handle).connection()
    wire = Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    for piece in cut(b"".join(data for data, _ in sent), places):
        connection.data_received(piece)
    assert collector.seen == [said for _, said in sent]
    assert wire.written == [b"answer %d\n" % n for n in range(1, len(sent) + 1)]
    assert not wire.closed
    assert not wire.paused


def test_a_request_that_came_half_behind_another_is_read_on_when_its_turn_comes() -> None:
    exchanges: list[Exchange] = []
    connection = Server(LOOP, exchanges.append).connection()
    wire = Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    connection.data_received(
        b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\nPOST /2 HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc"
    )
    assert [exchange.target for exchange in exchanges] == [b"/1"]
    paused = [wire.paused]
    exchanges[0].finish()
    paused.append(wire.paused)
    exchanges[1].pause_reading()
    paused.append(wire.paused)
    exchanges[1].resume_reading()
    paused.append(wire.paused)
    assert paused == [True, False, True, False]  # the first as one waits: no more is read ahead
    connection.data_received(b"def")
    assert (exchanges[1].take_body(), exchanges[1].complete) == ([b"abc", b"def"], True)


@given(st.binary(max_size=300), CUTS)
def test_no_bytes_whatever_break_the_server(data: bytes, places: list[int]) -> None:
    answered: list[Exchange] = []

    def handle(exchange: Exchange) -> None:
        answered.append(exchange)
        exchange.keep_alive = exchange.keep_alive and exchange.complete
        exchange.finish()

    connection = Server(LOOP, handle).connection()
    wire = Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    for piece in cut(data, places):
        if not wire.closed:
            connection.data_received(piece)


class Asker:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.body = b""
        self.heads = 0
        self.failed: ConnectionFailed | None = None

    def interim_arrived(self, response: Response) -> None: ...

    def response_arrived(self) -> None:
        self.heads += not self.body and self.connection.response is not None
        self.body += b"".join(self.connection.take_body())

    def response_failed(self, error: ConnectionFailed) -> None:
        self.failed = error

    def upstream_paused(self) -> None: ...

    def upstream_resumed(self) -> None: ...


@given(PIECES, st.sampled_from(["length", "chunked", "close"]), st.booleans(), st.sampled_from([200, 404, 500]), CUTS)
def test_a_response_is_read_whole_however_it_is_framed(
    pieces: list[bytes], framing: str, interim: bool, status: int, places: list[int]
) -> None:
    body = b"".join(pieces)
    data = b"HTTP/1.1 100 Continue\r\n\r\n" if interim else b""
    data += b"HTTP/1.1 %d X\r\nx-a: 1\r\n" % status
    if framing == "length":
        data += b"content-length: %d\r\n\r\n%b" % (len(body), body)
    elif framing == "chunked":
        data += b"transfer-encoding: chunked\r\n\r\n" + b"".join(chunks(pieces)) + b"0\r\nx-trailer: 1\r\n\r\n"
    else:
        data += b"\r\n" + body
    returned: list[ClientConnection] = []
    connection = ClientConnection(returned.append, lambda _: None)
    wire = Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    asker = Asker(connection)
    connection.ask(asker, b"GET / HTTP/1.1\r\n\r\n", head_only=False)
    for piece in cut(data, places):
        connection.data_received(piece)
    if framing == "close":
        assert not connection.ended
        connection.connection_lost(None)
    assert connection.ended
    assert (connection.status, asker.body, connection.headers[0]) == (status, body, (b"x-a", b"1"))
    assert asker.failed is None
    connection.release()
    assert bool(returned) == (framing != "close")
    assert wire.closed == (framing == "close")


@given(st.integers(0, 60))
def test_a_response_that_breaks_off_has_failed(at: int) -> None:
    data = b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n" + b"x" * 30
    connection = ClientConnection(lambda _: None, lambda _: None)
    connection.connection_made(cast(asyncio.Transport, Wire()))
    asker = Asker(connection)
    connection.ask(asker, b"", head_only=False)
    if at:
        connection.data_received(data[:at])
    connection.connection_lost(None)
    assert asker.failed is not None
    assert not connection.ended


@given(st.lists(requests(), max_size=2), st.binary(max_size=200), CUTS)
def test_what_follows_a_request_for_a_websocket_is_kept_and_never_read_as_http(
    before: list[tuple[bytes, tuple[bytes, bytes, bytes]]], beyond: bytes, places: list[int]
) -> None:
    collector = Collector()
    upgrades: list[Exchange] = []

    def handle(exchange: Exchange) -> None:
        if wants_upgrade(exchange):
            upgrades.append(exchange)
        else:
            collector.handle(exchange)

    offer = b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: a, Upgrade\r\nupgrade: WebSocket\r\n\r\n"
    connection = Server(LOOP, handle).connection()
    wire = Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    for piece in cut(b"".join(data for data, _ in before) + offer + beyond, places):
        connection.data_received(piece)
    assert collector.seen == [said for _, said in before]
    [upgrade] = upgrades
    assert upgrade.connection.switch_to(asyncio.Protocol()) == beyond
    assert not wire.paused
    assert not upgrade.received


@given(st.booleans(), st.binary(max_size=200), CUTS)
def test_a_switched_connection_gives_every_byte_after_the_101(interim: bool, beyond: bytes, places: list[int]) -> None:
    data = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" if interim else b""
    data += b"HTTP/1.1 101 Switching\r\nupgrade: WebSocket\r\nconnection: upgrade\r\n\r\n"
    connection = UpgradingConnection()
    connection.connection_made(cast(asyncio.Transport, Wire()))
    asker = Asker(connection)
    connection.ask(asker, b"GET / HTTP/1.1\r\n\r\n", head_only=False)
    for piece in cut(data + beyond, places):
        connection.data_received(piece)
    assert connection.switched
    assert asker.body == beyond
    assert asker.failed is None
