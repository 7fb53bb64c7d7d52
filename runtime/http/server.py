"""The server's side of HTTP/1.1: bytes from clients in, exchanges out, one at a time per connection and in order.

A request that cannot be read comes as an exchange with a `problem`, so that all answers are written in one place, the
handler. Framing that two readers could take differently (RFC 9112, section 6.3) is refused by the parser.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import httptools

from runtime.http.deadlines import Deadlines
from runtime.http.exchange import Exchange, Problem
from runtime.http.fields import find

# After an answer that did not wait for the whole request, this many seconds are left to the client to read it: closing
# at once would reset the connection and take the answer away from under it.
LINGER_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class ServerLimits:
    head_bytes_max: int = 65_536
    head_timeout_s: float = 10.0  # from a head's first byte to its last
    idle_timeout_s: float = 75.0  # between two requests of a connection
    connections_max: int = 10_000


class Server:
    """What all connections of one listening socket share. `handle` is called with each exchange when its turn comes."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, handle: Callable[[Exchange], None], limits: ServerLimits | None = None
    ) -> None:
        self.handle = handle
        self.limits = limits or ServerLimits()
        self.connections: set[ServerConnection] = set()
        self.closing = False
        self._empty = asyncio.Event()
        self.idle: Deadlines[ServerConnection] = Deadlines(loop, self.limits.idle_timeout_s, _close)
        self.in_head: Deadlines[ServerConnection] = Deadlines(loop, self.limits.head_timeout_s, _head_too_late)
        self.lingering: Deadlines[ServerConnection] = Deadlines(loop, LINGER_S, _close)

    def connection(self) -> ServerConnection:
        """A protocol for one more client; give this method to `create_server`."""
        return ServerConnection(self)

    async def drain(self, timeout_s: float) -> int:
        """Let what is being answered finish, close everything else. Gives the number of connections cut at the end."""
        self.closing = True
        for connection in list(self.connections):
            connection.close_when_idle()
        if not self.connections:
            return 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        cut = len(self.connections)
        for connection in list(self.connections):
            connection.transport.abort()
        for deadlines in (self.idle, self.in_head, self.lingering):
            deadlines.clear()
        return cut

    def forget(self, connection: ServerConnection) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        for deadlines in (self.idle, self.in_head, self.lingering):
            deadlines.discard(connection)
        if self.closing and not self.connections:
            self._empty.set()


class ServerConnection(asyncio.Protocol):
    """One client. Requests may be pipelined: the next is handed on when the answer to the one before is finished."""

    __slots__ = (
        "_arrived",
        "_current",
        "_head_bytes",
        "_in_head",
        "_lingers",
        "_owner_pauses",
        "_parser",
        "_parsing",
        "_reading_paused",
        "_server",
        "_skips_head",
        "_starting",
        "_waiting",
        "_writing_paused",
        "client_ip",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser: Any = httptools.HttpRequestParser(self)
        self._parsing: Exchange | None = None  # the request that the next bytes belong to
        self._current: Exchange | None = None  # the one being answered
        self._waiting: deque[Exchange] = deque()  # read ahead
        self._in_head = False
        self._head_bytes = 0
        self._arrived = False  # something of a body, in the bytes being read now
        self._starting = False
        self._skips_head = False
        self._owner_pauses = False  # whoever answers has enough of the request's body for now
        self._reading_paused = False
        self._writing_paused = False
        self._lingers = False
        self.client_ip = b""

    # -- the transport's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        server = self._server
        if server.closing or len(server.connections) >= server.limits.connections_max:
            self.transport.abort()
            return
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.client_ip = str(peer[0]).encode()
        server.connections.add(self)
        server.idle.add(self)

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        self._arrived = False
        if self._in_head or len(data) > self._server.limits.head_bytes_max:
            self._head_bytes += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._unreadable(Problem(400, "InvalidArgument", f"the request is not valid HTTP/1.1: {error}"))
            return
        if self._in_head:
            self._head_is_incomplete()
        current = self._current
        if current is None:
            self._start_next()
        elif self._arrived and current.owner is not None:
            current.owner.body_arrived()
        if self._waiting or self._reading_paused:
            self._adjust_reading()

    def eof_received(self) -> bool:
        return False  # a client that closes its side is taken for gone, as other proxies do

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._server.forget(self)
        self._waiting.clear()
        current, self._current = self._current, None
        if current is not None:
            current.gone = True
            owner, current.owner = current.owner, None
            if owner is not None:
                owner.client_gone()
        self._parser = None

    def pause_writing(self) -> None:
        self._writing_paused = True
        if self._current is not None and self._current.owner is not None:
            self._current.owner.client_paused()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._current is None:
            self._start_next()  # it waited for the client to read the answer before
        elif self._current.owner is not None:
            self._current.owner.client_resumed()

    # -- the parser's side ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._skips_head:
            return
        self._parsing = Exchange(self)
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        if not self._skips_head:
            self._exchange.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # otherwise it is a trailer, or the head of the body that follows an ignored upgrade
            self._exchange.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._skips_head:
            self._skips_head = False
            return
        parser = self._parser
        exchange = self._exchange
        self._in_head = False
        self._server.in_head.discard(self)
        exchange.method = parser.get_method()
        exchange.http_1_0 = parser.get_http_version() == "1.0"
        exchange.keep_alive = parser.should_keep_alive() and not self._server.closing
        if parser.should_upgrade():
            exchange.upgrade = (find(exchange.headers, b"upgrade") or b"").strip().lower() == b"websocket"
        if self._head_bytes:
            self._check_head_size(exchange)
        self._waiting.append(exchange)

    def on_body(self, body: bytes) -> None:
        exchange = self._exchange
        exchange.received.append(body)
        exchange.body_bytes += len(body)
        self._arrived = True

    def on_message_complete(self) -> None:
        exchange = self._exchange
        if self._parser.should_upgrade() and not exchange.upgrade and _announces_body(exchange):
            return  # the parser takes the body for the other protocol's bytes: `_ignore_upgrade`
        exchange.complete = True
        self._arrived = True

    # -- the exchange's side -------------------------------------------------------------------------------------------

    def finished(self, exchange: Exchange) -> None:
        assert exchange is self._current, "only the exchange whose turn it is may be finished"
        self._current = None
        self._owner_pauses = False
        exchange.owner = None  # each has the other: left so, only the garbage collector could free them
        server = self._server
        if not exchange.complete:
            self._linger()
        elif not exchange.keep_alive or server.closing:
            self.transport.close()
        elif self._waiting:
            self._start_next()
        else:
            server.idle.add(self)
            if self._reading_paused:
                self._adjust_reading()

    def pause_reading(self) -> None:
        self._owner_pauses = True
        self._adjust_reading()

    def resume_reading(self) -> None:
        self._owner_pauses = False
        self._adjust_reading()

    def reset(self) -> None:
        """End the connection with RST: after FIN, an answer that ends with its connection would look whole."""
        with contextlib.suppress(OSError):  # not a TCP socket, or gone already
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def close_when_idle(self) -> None:
        """Close now, or as soon as the request being answered is."""
        if self._current is None:
            self.transport.close()
        else:
            self._current.keep_alive = False

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _exchange(self) -> Exchange:
        assert self._parsing is not None, "the parser begins a message before it gives anything of it"
        return self._parsing

    def _start_next(self) -> None:
        """Hand on requests until one is not answered at once. A loop, as a hundred may be answered at once."""
        if self._starting or self._writing_paused or not self._waiting:
            return
        self._starting = True
        self._server.idle.discard(self)
        while self._current is None and self._waiting and not self.transport.is_closing():
            exchange = self._current = self._waiting.popleft()
            self._server.handle(exchange)
        self._starting = False
        if self._reading_paused:
            self._adjust_reading()

    def _adjust_reading(self) -> None:
        """Read on unless the owner has enough or a request waits already: what a client pipelines waits with it."""
        pause = self._owner_pauses or bool(self._waiting)
        if pause is not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = pause
            if pause:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _head_is_incomplete(self) -> None:
        """A head may only be so large, and may only take so long."""
        if self._head_bytes > self._server.limits.head_bytes_max:
            self._unreadable(_head_too_large(self._server.limits))
        elif self not in self._server.in_head and self._current is None:
            self._server.in_head.add(self)

    def _check_head_size(self, exchange: Exchange) -> None:
        """Exactly, where the bytes read (of several requests, perhaps) allow for one that is too large."""
        self._head_bytes = 0
        head_bytes = len(exchange.target) + sum(len(name) + len(value) + 4 for name, value in exchange.headers)
        if head_bytes > self._server.limits.head_bytes_max:
            exchange.problem = _head_too_large(self._server.limits)
            exchange.keep_alive = False

    def _unreadable(self, problem: Problem) -> None:
        """Nothing more can be read from this client. What was asked before is still answered, in its turn."""
        parsing = self._parsing
        if parsing is not None and not self._in_head and not parsing.complete:
            self.transport.abort()  # in the midst of a body: its request is on the way already
            return
        exchange = Exchange(self)
        exchange.problem = problem
        exchange.keep_alive = False
        self._in_head = False
        self._waiting.append(exchange)
        if self._current is None:
            self._start_next()
        self._adjust_reading()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                if self._exchange.upgrade:
                    self._exchange.keep_alive = False
                    return
                self._ignore_upgrade()

    def _ignore_upgrade(self) -> None:
        """A client offers another protocol than WebSocket: HTTP/1.1 goes on (RFC 9110, section 7.8).

        The parser stops at such a head, so a new one is told the framing of its body, and goes on. Java's client offers
        h2c with every first request.
        """
        self._parser = httptools.HttpRequestParser(self)
        exchange = self._exchange
        if not exchange.complete:
            length = find(exchange.headers, b"content-length")
            framing = b"transfer-encoding: chunked" if length is None else b"content-length: " + length
            self._skips_head = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")

    def _linger(self) -> None:
        """The answer is written but the request is not read to its end: let the client read it, then close."""
        if self.transport.is_closing():
            return
        self._lingers = True
        self._waiting.clear()
        self._server.lingering.add(self)
        self._adjust_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()


def _announces_body(exchange: Exchange) -> bool:
    length = find(exchange.headers, b"content-length")
    return find(exchange.headers, b"transfer-encoding") is not None or (length is not None and length.strip() != b"0")


def _head_too_large(limits: ServerLimits) -> Problem:
    message = f"the request's head is too large: at most {limits.head_bytes_max} bytes are allowed"
    return Problem(431, "EntityTooLarge", message)


def _close(connection: ServerConnection) -> None:
    connection.transport.close()


def _head_too_late(connection: ServerConnection) -> None:
    connection.transport.abort()
