"""A client's connection, on a transport that the test holds: what becomes of what it sends."""

from __future__ import annotations

import time
from typing import Final

import pytest

from runtime.http.exchange import Exchange
from tests.support.set_time import SetTime
from tests.unit.test_http_slow_clients import connect

GET: Final = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
CHUNKED: Final = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetTime:
    return SetTime(monkeypatch)


def test_a_request_whose_chunks_are_none_has_no_note_of_the_head_before(clock: SetTime) -> None:
    connection, wire, function = connect(clock)
    connection.data_received(CHUNKED + b"0\r\n\r\n")
    [good] = function.exchanges
    good.request.note = "a way for good requests"
    good.finish()
    bad: list[Exchange] = []

    def handle(exchange: Exchange) -> None:
        bad.append(exchange)
        function.handle(exchange)

    connection._server.handle = handle
    connection.data_received(CHUNKED + b"no size\r\n")
    assert (bad[0].request.note, wire.written) == (None, b"400")


def test_empty_lines_before_a_request_take_no_time_however_many(clock: SetTime) -> None:
    """Each that is taken off by itself copies all that is behind it: half a second for these, two milliseconds so."""
    begun_at_s = time.process_time()
    for _ in range(3):
        connection, _, function = connect(clock)
        connection.data_received(b"\r\n" * 100_000 + GET)
        assert len(function.exchanges) == 1
    assert time.process_time() - begun_at_s < 0.1
