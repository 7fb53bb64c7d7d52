"""What three readers of HTTP/1.1 make of the same bytes: ours, llhttp (by httptools) and h11.

A request that ours takes must be the same to the others, or they must refuse it: two readers in a row that differ are
what request smuggling lives on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import h11
import httptools

from runtime.http.exchange import Exchange
from runtime.http.server import Server, ServerLimits


class Read(NamedTuple):
    """One whole request. Names in lower case, values without the whitespace around them."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Outcome(NamedTuple):
    requests: list[Read]
    is_refused: bool  # what came behind the requests
    is_closed: bool  # what came behind them is not looked at


class Wire:
    """A transport that goes nowhere."""

    closed = False

    def write(self, data: bytes) -> None: ...

    def writelines(self, parts: list[bytes]) -> None: ...

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> Any:
        if name == "socket":
            raise OSError("there is none")
        return None


class _NoTime:
    """A loop on which time does not pass."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Any:  # noqa: ARG002
        return self

    def cancel(self) -> None: ...


class _Reader:
    """Takes each request that is whole, and answers it."""

    def __init__(self) -> None:
        self.requests: list[Read] = []
        self.is_refused = False
        self._exchange: Exchange | None = None
        self._body = b""

    def handle(self, exchange: Exchange) -> None:
        if exchange.problem is not None:
            self.is_refused = True
            exchange.finish()
            return
        exchange.owner = self
        self._exchange, self._body = exchange, b""
        self.body_arrived()

    def body_arrived(self) -> None:
        exchange = self._exchange
        assert exchange is not None, "a body belongs to a request"
        self._body += b"".join(exchange.take_body())
        if exchange.complete:
            self.requests.append(Read(exchange.method, exchange.target, plain_fields(exchange.headers), self._body))
            exchange.finish()

    def client_gone(self) -> None: ...

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...


def read_here(pieces: Sequence[bytes], head_bytes_max: int = 8192, *, behind_gateway: bool = False) -> Outcome:
    """By our own reader, the pieces as they arrive. `behind_gateway`: as an instance reads, which remembers heads."""
    reader, wire = _Reader(), Wire()
    loop = cast(asyncio.AbstractEventLoop, _NoTime())
    limits = ServerLimits(head_bytes_max=head_bytes_max, remembers_beginnings=behind_gateway)
    connection = Server(loop, reader.handle, limits).connection()
    connection.connection_made(cast(asyncio.Transport, wire))
    for piece in pieces:
        if wire.closed:
            break
        if piece:
            connection.data_received(piece)
    return Outcome(reader.requests, reader.is_refused, wire.closed and not reader.is_refused)


class _Callbacks:
    """What httptools tells."""

    def __init__(self) -> None:
        self.requests: list[Read] = []
        self.parser: httptools.HttpRequestParser | None = None
        self.closed = False

    def on_message_begin(self) -> None:
        self._target, self._body = b"", b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._in_trailers = False

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_trailers:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_trailers = True

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        assert self.parser is not None, "it calls back only when it is there"
        self.requests.append(Read(self.parser.get_method(), self._target, plain_fields(self._fields), self._body))


def read_by_llhttp(data: bytes) -> Outcome:
    callbacks = _Callbacks()
    callbacks.parser = httptools.HttpRequestParser(callbacks)
    try:
        callbacks.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        # It leaves what comes behind that head to another protocol, a body too; ours takes no offer but WebSocket.
        return Outcome(callbacks.requests[:-1], is_refused=False, is_closed=True)
    except httptools.HttpParserError:
        return Outcome(callbacks.requests, is_refused=True, is_closed=False)
    return Outcome(callbacks.requests, is_refused=False, is_closed=False)


def read_by_h11(data: bytes) -> Outcome:
    connection = h11.Connection(h11.SERVER)
    requests: list[Read] = []
    head: h11.Request | None = None
    body = b""
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None, "a body belongs to a request"
                requests.append(Read(head.method, head.target, plain_fields(list(head.headers)), body))
                connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    return Outcome(requests, is_refused=False, is_closed=True)
                connection.start_next_cycle()
            else:
                return Outcome(requests, is_refused=False, is_closed=False)
    except h11.RemoteProtocolError:
        return Outcome(requests, is_refused=True, is_closed=False)


def differences(data: bytes) -> list[str]:
    """What is not the same to another reader. Empty: nothing that ours takes is read in another way."""
    ours = read_here([data])
    found: list[str] = []
    for name, theirs in (("llhttp", read_by_llhttp(data)), ("h11", read_by_h11(data))):
        for number, request in enumerate(ours.requests):
            if number == len(theirs.requests):
                if not theirs.is_refused and not theirs.is_closed:
                    found.append(f"{name} waits for more of {request}")
                break
            if not _is_same(request, theirs.requests[number]):
                found.append(f"{name} reads {theirs.requests[number]}, not {request}")
                break
        else:
            more = theirs.requests[len(ours.requests) :]
            if more and not ours.is_refused and not ours.is_closed:
                found.append(f"{name} reads {more[0]}, for which ours waits")
    return found


def _is_same(ours: Read, theirs: Read) -> bool:
    target = theirs.target
    if not target.startswith((b"/", b"*")):  # ours is in origin form by now
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    same_target = ours.target == target or (not theirs.target.startswith(b"/") and b"?" in theirs.target)
    same_fields = sorted(ours.fields) == sorted(theirs.fields)
    return ours.method == theirs.method and same_target and same_fields and ours.body == theirs.body


def plain_fields(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    lower = ((name.lower(), value.strip(b" \t")) for name, value in pairs)
    # h11 writes a coding in lower case, as its case says nothing
    return tuple((name, value.lower() if name == b"transfer-encoding" else value) for name, value in lower)
