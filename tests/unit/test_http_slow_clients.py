"""Clients that send or read too slowly, told as stories in time on a loop whose clock the test sets."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from runtime.http.connection import ServerConnection
from runtime.http.exchange import Exchange
from runtime.http.server import LINGER_S, Server, ServerLimits
from tests.support.set_time import SetTime


class Wire:
    """A transport whose other side reads when the test says so."""

    def __init__(self) -> None:
        self.written = b""
        self.unread_bytes = 0
        self.state = "open"

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: list[bytes]) -> None:
        self.written += b"".join(parts)

    def is_closing(self) -> bool:
        return self.state != "open"

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "cut"

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def get_extra_info(self, name: str) -> Any:
        if name == "socket":
            raise OSError("there is none")
        return None


class Function:
    """Answers what cannot be read with its status; all else waits for the test, which is told of clients that go."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.gone = 0

    def handle(self, exchange: Exchange) -> None:
        if exchange.problem is not None:
            exchange.write([b"%d" % exchange.problem.status])
            exchange.finish()
            return
        exchange.owner = self
        self.exchanges.append(exchange)

    def body_arrived(self) -> None: ...

    def client_gone(self) -> None:
        self.gone += 1

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> SetTime:
    return SetTime(monkeypatch)


HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n"
LIMITS = ServerLimits(head_timeout_s=5.0, body_timeout_s=10.0, write_timeout_s=20.0)


def connect(time: SetTime) -> tuple[ServerConnection, Wire, Function]:
    function = Function()
    server = Server(cast(asyncio.AbstractEventLoop, time), function.handle, LIMITS)
    connection = cast(ServerConnection, server.connection())
    wire = Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    return connection, wire, function


def test_a_slow_head_is_answered_408_and_then_the_connection_closes(time: SetTime) -> None:
    connection, wire, _ = connect(time)
    for byte in b"GET ":
        connection.data_received(bytes([byte]))
        time.pass_(1.0)
    assert wire.written == b""
    time.pass_(1.1)
    assert (wire.written, wire.state) == (b"408", "open")  # so that the client can read it
    connection.data_received(b"/ HTTP/1.1\r\nhost: x\r\n\r\n")  # comes too late
    time.pass_(LINGER_S + 0.1)
    assert (wire.written, wire.state) == (b"408", "closed")


def test_a_head_that_comes_again_in_two_pieces_is_not_waited_for_any_more(time: SetTime) -> None:
    connection, wire, function = connect(time)
    head = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    connection.data_received(head)
    function.exchanges[0].finish()
    connection.data_received(head[:9])
    connection.data_received(head[9:])
    time.pass_(100.0)
    assert (len(function.exchanges), wire.written, wire.state) == (2, b"", "open")


def test_a_body_may_take_long_but_no_piece_of_it(time: SetTime) -> None:
    connection, wire, function = connect(time)
    connection.data_received(HEAD + b"\r\n")
    for _ in range(9):
        time.pass_(9.0)
        connection.data_received(b"x")
    assert (function.gone, wire.written) == (0, b"")
    time.pass_(10.1)
    assert (function.gone, wire.written) == (1, b"408")
    assert function.exchanges[0].gone


def test_a_body_that_came_in_time_is_not_waited_for(time: SetTime) -> None:
    connection, wire, function = connect(time)
    connection.data_received(HEAD + b"\r\n12345")
    connection.data_received(b"67890")
    time.pass_(100.0)
    assert (function.gone, wire.written, wire.state) == (0, b"", "open")


def test_a_slow_body_whose_answer_was_begun_is_cut(time: SetTime) -> None:
    connection, wire, function = connect(time)
    connection.data_received(HEAD + b"\r\n")
    function.exchanges[0].write([b"200"])
    time.pass_(10.1)
    assert (function.gone, wire.written, wire.state) == (1, b"200", "cut")


def test_a_body_has_its_time_only_while_it_is_asked_for(time: SetTime) -> None:
    connection, wire, function = connect(time)
    connection.data_received(HEAD + b"expect: 100-continue\r\n\r\n")
    exchange = function.exchanges[0]
    time.pass_(100.0)
    exchange.send_continue()
    time.pass_(9.0)
    exchange.pause_reading()  # it is ours to hold it up
    time.pass_(100.0)
    exchange.resume_reading()
    time.pass_(9.0)
    assert function.gone == 0
    time.pass_(1.1)
    assert (function.gone, wire.written) == (1, b"HTTP/1.1 100 Continue\r\n\r\n408")


def test_a_client_that_does_not_read_is_cut(time: SetTime) -> None:
    connection, wire, _ = connect(time)
    connection.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    connection.pause_writing()
    time.pass_(19.0)
    connection.resume_writing()
    time.pass_(30.0)
    assert wire.state == "open"
    connection.pause_writing()
    time.pass_(20.1)
    assert wire.state == "cut"


def test_a_connection_that_is_closed_before_all_was_read_is_cut_in_the_end(time: SetTime) -> None:
    connection, wire, function = connect(time)
    connection.data_received(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    wire.unread_bytes = 10
    function.exchanges[0].finish()
    assert wire.state == "closed"
    connection.resume_writing()
    time.pass_(20.1)
    assert wire.state == "cut"


def test_chunks_that_break_off_under_way_are_answered_and_the_request_is_never_whole(time: SetTime) -> None:
    connection, wire, function = connect(time)
    connection.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    connection.data_received(b"+1\r\n")
    assert (function.gone, wire.written) == (1, b"400")
    assert not function.exchanges[0].complete


@pytest.mark.parametrize(
    ("begin", "status"),
    [(b"M" * 70_000, b"501"), (b"GET /" + b"u" * 70_000, b"414"), (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000, b"431")],
)
def test_what_is_too_long_is_said(time: SetTime, begin: bytes, status: bytes) -> None:
    connection, wire, _ = connect(time)
    connection.data_received(begin)
    assert wire.written == status
