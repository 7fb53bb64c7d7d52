"""One client of a server: bytes in, exchanges out, one at a time and in order.

A request that cannot be read comes as an exchange with a `problem`, so that all answers are written in one place, the
handler.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
from time import monotonic
from typing import TYPE_CHECKING, cast

from runtime.http import problems
from runtime.http.chunked import BodyMalformed
from runtime.http.exchange import Exchange, Problem
from runtime.http.framing import CONTINUE
from runtime.http.head import (
    END,
    NO_REQUEST,
    HeadMalformed,
    Request,
    check_begin_of_request,
    parse_request,
    without_empty_lines,
)
from runtime.http.incoming import IncomingBody
from runtime.http.last_head import LastHead

if TYPE_CHECKING:
    from runtime.http.server import Server


class ServerConnection:
    """One client, by its methods an `asyncio.Protocol`.

    What it pipelines waits unread until the answer before is finished."""

    __slots__ = (
        "_current",
        "_held",
        "_in_head",
        "_incoming",
        "_last",
        "_lingers",
        "_looked_at",
        "_owner_pauses",
        "_reading",
        "_reading_paused",
        "_server",
        "_writing_paused",
        "client_ip",
        "idle_since_s",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._last = LastHead(knows_beginnings=server.limits.remembers_beginnings)
        self._current: Exchange | None = None  # the one being answered
        self._incoming: IncomingBody | None = None  # its body, while that is not complete
        self._held = b""  # a head that is not complete, or what came behind a complete request
        self._in_head = False
        self._looked_at = 0  # bytes of that head which its end is not in
        self._reading = False
        self._owner_pauses = False  # whoever answers has enough of the request's body for now
        self._reading_paused = False
        self._writing_paused = False
        self._lingers = False
        self.idle_since_s = math.inf  # of the monotonic clock; infinity while something is going on
        self.client_ip = b""

    # -- the transport's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        server = self._server
        if server.closes_idle or len(server.connections) >= server.limits.connections_max:
            self.transport.abort()
            return
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.client_ip = str(peer[0]).encode()
        self.idle_since_s = monotonic()
        server.remember(self)

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            return
        if self._incoming is not None:
            data = self._receive(self._incoming, data)
        elif self._held:
            data = self._held + data
            self._held = b""
        if data and not self.transport.is_closing():  # nothing behind a request that ends the connection is read
            self._read(data)

    def eof_received(self) -> bool:
        return False  # a client that closes its side is taken for gone, as other proxies do

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._server.forget(self)
        self._held = b""
        self._incoming = None
        current, self._current = self._current, None
        if current is not None:
            current.gone = True
            owner, current.owner = current.owner, None
            if owner is not None:
                owner.client_gone()

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._server.unread.restart(self)
        if self._current is not None and self._current.owner is not None:
            self._current.owner.client_paused()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if not self.transport.is_closing():  # else the rest has what is left of its time
            self._server.unread.discard(self)
        if self._current is None:
            self._read_held()  # it waited for the client to read the answer before
        elif self._current.owner is not None:
            self._current.owner.client_resumed()

    # -- the exchange's side -------------------------------------------------------------------------------------------

    def finished(self, exchange: Exchange) -> None:
        assert exchange is self._current, "only the exchange whose turn it is may be finished"
        self._current = None
        exchange.owner = None  # each has the other: left so, only the garbage collector could free them
        if not exchange.complete:
            self._linger()
        elif not exchange.keep_alive or self._server.closes_idle:
            self.close()
        else:
            self.idle_since_s = monotonic()
            if self._held:
                self._read_held()
            if self._reading_paused:
                self._owner_pauses = False
                self._adjust_reading()

    def pause_reading(self) -> None:
        self._owner_pauses = True
        self._adjust_reading()

    def resume_reading(self) -> None:
        if self._owner_pauses:
            self._owner_pauses = False
            self._adjust_reading()

    def switch_to(self, protocol: asyncio.BaseProtocol) -> bytes:
        """HTTP is over on this connection. Gives what came behind the head of the request that is answered so."""
        held, self._held = self._held, b""
        self._owner_pauses = False
        self.transport.set_protocol(protocol)
        self._adjust_reading()
        return held

    def reset(self) -> None:
        """End the connection with RST: after FIN, an answer that ends with its connection would look whole."""
        with contextlib.suppress(OSError):  # not a TCP socket, or gone already
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def send_continue(self) -> None:
        """Ask the client for a body that it holds back. Its time begins."""
        self.transport.write(CONTINUE)
        if self._incoming is not None and not self._reading_paused:
            self._server.in_body.restart(self)

    # -- the server's side ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close when all that was written has been sent, for which there is the usual time."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self._server.unread.restart(self)

    def say_last(self) -> None:
        """The request being answered is the connection's last one, if there is time to say so."""
        if self._current is not None and not self._current.answered:
            self._current.keep_alive = False

    def head_is_late(self) -> None:
        """A head's time is over."""
        self._unreadable(problems.too_slow(f"the head was not there within {self._server.limits.head_timeout_s:g} s"))

    def body_is_late(self) -> None:
        """The time between two pieces of a body is over."""
        incoming = self._incoming
        assert incoming is not None, "only a body that is not complete is waited for"
        message = f"nothing more of the body came within {self._server.limits.body_timeout_s:g} s"
        self._answer_instead(incoming.exchange, problems.too_slow(message))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Hand on requests until one is not answered at once. A loop, as a hundred may be answered at once."""
        self._reading = True
        while data:
            if self._current is not None or self._writing_paused:
                self._held = data
                self._adjust_reading()
                break
            request = self._last.again(data)
            if request is not None:
                self._head_is_there()
            else:
                found = self._find_head(data)
                if found is None:
                    break
                request, data = found
            data = self._begin(request, data)
            if data and not self._is_answering and self.transport.is_closing():
                break
        self._reading = False

    @property
    def _is_answering(self) -> bool:
        return self._current is not None

    def _read_held(self) -> None:
        if not self._reading and self._held and not self.transport.is_closing():
            data, self._held = self._held, b""
            self._read(data)
            self._adjust_reading()

    def _begin(self, request: Request, data: bytes) -> bytes:
        """Hand one request on, with what is there of its body. Gives what came behind it."""
        exchange = Exchange(self, request)
        rest = data[len(request.raw) :]
        length = request.content_length
        if request.is_chunked or (length and len(rest) != length):
            self._incoming = incoming = IncomingBody(exchange)
            rest = self._receive(incoming, rest)
        elif length:
            exchange.received.append(rest)
            exchange.body_bytes = length
            exchange.complete = True
            rest = b""
        else:
            exchange.complete = True
        if self._incoming is not None and not request.expects_continue:
            self._server.in_body.restart(self)
        if self._server.closing:
            exchange.keep_alive = False
        self._current = exchange
        self.idle_since_s = math.inf
        self._server.handle(exchange)
        return rest

    def _receive(self, incoming: IncomingBody, data: bytes) -> bytes:
        """More of a body, or its end. Gives what came behind it."""
        if not data:
            return data
        exchange = incoming.exchange
        try:
            rest = incoming.feed(data)
        except BodyMalformed as malformed:
            self._body_is_unreadable(exchange, str(malformed))
            return b""
        if exchange.complete:
            self._incoming = None
            self._server.in_body.discard(self)
        else:
            self._server.in_body.restart(self)
        if exchange.owner is not None:
            exchange.owner.body_arrived()
        return rest

    def _find_head(self, data: bytes) -> tuple[Request, bytes] | None:
        """The head that `data` begins with, and the data without empty lines before it; None: not all is there."""
        if data.startswith(b"\r\n"):  # RFC 9112, section 2.2: some clients send one too many
            data = without_empty_lines(data)
            self._looked_at = 0
        end = data.find(END, max(self._looked_at - len(END) + 1, 0)) + len(END)
        bytes_max = self._server.limits.head_bytes_max
        if end > bytes_max or (end < len(END) and len(data) > bytes_max):
            self._unreadable(problems.head_too_large(data[:bytes_max]))
            return None
        try:
            if end < len(END):
                check_begin_of_request(data, self._looked_at)
                self._wait_for_head(data)
                return None
            request = parse_request(data[:end])
        except HeadMalformed as malformed:
            self._unreadable(problems.malformed(malformed.status, str(malformed)))
            return None
        self._head_is_there()
        self._last.replace(request)
        return request, data

    def _head_is_there(self) -> None:
        if self._in_head:
            self._in_head = False
            self._looked_at = 0
            self._server.in_head.discard(self)

    def _wait_for_head(self, data: bytes) -> None:
        self._held = data
        self._looked_at = len(data)
        if data and not self._in_head:
            self._in_head = True
            self.idle_since_s = math.inf
            self._server.in_head.add(self)

    def _unreadable(self, problem: Problem) -> None:
        """Nothing more can be read from this client; it is told why."""
        exchange = self._current = Exchange(self, NO_REQUEST)
        exchange.problem = problem
        exchange.keep_alive = False
        self._held = b""
        self._in_head = False
        self._server.in_head.discard(self)
        self.idle_since_s = math.inf
        self._server.handle(exchange)

    def _body_is_unreadable(self, exchange: Exchange, message: str) -> None:
        problem = problems.malformed(400, message)
        if exchange is self._current:
            self._answer_instead(exchange, problem)
        else:
            self._incoming = None
            exchange.keep_alive = False
            exchange.problem = problem
            exchange.request = NO_REQUEST  # what was noted with its head leads a good request on its way

    def _answer_instead(self, exchange: Exchange, problem: Problem) -> None:
        """The request, on its way already, will never be whole: whoever answers it is told that the client is gone."""
        self._current = self._incoming = None
        self._server.in_body.discard(self)
        exchange.gone = True
        owner, exchange.owner = exchange.owner, None
        if owner is not None:
            owner.client_gone()
        if exchange.answered:
            self.reset()
        else:
            self._owner_pauses = False
            self._unreadable(problem)

    def _adjust_reading(self) -> None:
        """Read on unless the owner has enough or a request waits already: what a client pipelines waits with it."""
        pause = self._owner_pauses or (bool(self._held) and not self._in_head)
        if pause is not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = pause
            if pause:
                self._server.in_body.discard(self)  # it is we who hold the body up
                self.transport.pause_reading()
            else:
                if self._incoming is not None:
                    self._server.in_body.restart(self)
                self.transport.resume_reading()

    def _linger(self) -> None:
        """The answer is written but the request is not read to its end: let the client read it, then close."""
        if self.transport.is_closing():
            return
        self._lingers = True
        self._incoming = None
        self._server.in_body.discard(self)
        self._held = b""
        self._owner_pauses = False
        self._server.lingering.add(self)
        self._adjust_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
