"""The client's side of HTTP/1.1: one connection to an instance, which carries one request at a time."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable
from typing import Final, Protocol, cast

from mypy_extensions import mypyc_attr

from runtime.http.chunked import BodyMalformed, ChunkedBody
from runtime.http.framing import Headers, has_no_body
from runtime.http.head import END, HeadMalformed, Response, check_begin_of_response, parse_response
from runtime.http.turns import PIECE_BYTES_MIN, Turns

RESPONSE_HEAD_BYTES_MAX: Final = 65_536

# Of the kernel, towards a unix socket. With the 208 KiB that it gives by itself, half a megabyte of a body waits twice
# until its reader was woken and has read, and so does its reader for the rest.
SEND_BUFFER_BYTES: Final = 524_288

# A longer head is not remembered: what a connection may keep is bounded.
REMEMBERED_BYTES_MAX: Final = 4096


class ConnectionFailed(Exception):
    """The connection ended before the response was complete."""


class ResponseMalformed(ConnectionFailed):
    """What came was no HTTP; whoever sent it lives."""


class NotSent(Exception):
    """The other side had closed the connection before: nothing of the request has reached it."""


class Asker(Protocol):
    """Whoever sent the request. It is told of the response until it calls `release` or `abort`."""

    def interim_arrived(self, response: Response) -> None:
        """A head of the 100s; the one that counts comes after it. Not told: 100, as nothing is held back here."""

    def response_arrived(self) -> None:
        """The head is there, or more of the body (`take_body`), or the end (`ended`): as much as came in one piece."""

    def response_failed(self, error: ConnectionFailed) -> None:
        """The response will never be complete. The connection is gone."""

    def upstream_paused(self) -> None:
        """The other side reads more slowly than it is written to: hold the request's body back."""

    def upstream_resumed(self) -> None: ...


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientConnection:
    """One connection, by its methods an `asyncio.Protocol`.

    `ask`, then `write` for the rest of a body; the response arrives at the asker.

    `put_back` gets the connection when a response is complete and another request may follow; `lost` when it is gone.
    An instance's next answer mostly has the very head of the one before, which is remembered as the server's side does.
    """

    __slots__ = (
        "_asker",
        "_body",
        "_buffered",
        "_flows",
        "_head_only",
        "_held",
        "_last",
        "_left",
        "_lost",
        "_pieces",
        "_poll",
        "_put_back",
        "_reading_paused",
        "_reusable",
        "_turns",
        "_unix_fd",
        "_waits",
        "_writing_paused",
        "ended",
        "idle_since_s",
        "response",
        "reused",
        "trailers",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        put_back: Callable[[ClientConnection], None],
        lost: Callable[[ClientConnection], None],
        turns: Turns | None = None,
    ) -> None:
        self._put_back = put_back
        self._lost = lost
        self._turns = turns
        self._flows = False  # pieces of a large answer, which `turns` knows of
        self._waits = False  # for its turn
        self._poll: select.poll | None = None
        self._unix_fd = -1
        self._asker: Asker | None = None
        self._reading_paused = False
        self._writing_paused = False
        self._buffered = False  # some of the request went to the transport, which may not have sent it yet
        self._last: Response | None = None  # the head before
        self._held = b""  # of a head that is not complete
        self._head_only = False
        self._reusable = False
        self._left: int | None = None  # bytes of the body still to come; None: until the connection ends
        self._body: ChunkedBody | None = None  # the body, when it comes in chunks
        self._pieces: list[bytes] = []
        self.response: Response | None = None  # the head, once it is there
        self.ended = False
        self.trailers: Headers = []  # the fields behind a chunked body, once it has ended
        self.reused = False  # has it carried a request before this one?
        self.idle_since_s = 0.0  # for the pool

    # -- the asker's side ----------------------------------------------------------------------------------------------

    @property
    def status(self) -> int:
        return 0 if self.response is None else self.response.status

    @property
    def headers(self) -> Headers:
        return [] if self.response is None else self.response.fields

    def ask(self, asker: Asker, data: bytes, *, head_only: bool) -> None:
        """Send a request: its head, and what is there of its body. `head_only`: the response has no body (HEAD).

        Raises:
            NotSent: the connection is closed. Told for certain over a unix socket; over TCP ask `is_quiet` before.
        """
        assert self._asker is None, "a connection carries one request at a time"
        if self._unix_fd >= 0 and not self.transport.is_closing():
            # Not by the transport, which would tell of a closed socket too late to know whether anything was sent.
            try:
                sent = os.write(self._unix_fd, data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise NotSent(str(error)) from error
            data = data[sent:]
            self._buffered = bool(data)
        elif self.transport.is_closing():
            raise NotSent("the connection is closed")
        self._asker = asker
        self.response = None
        self.ended = False
        self._head_only = head_only
        if data:
            self.transport.write(data)

    def write(self, parts: list[bytes]) -> None:
        self._buffered = True
        self.transport.writelines(parts)

    def take_body(self) -> list[bytes]:
        """What has come of the response's body since the last call."""
        pieces = self._pieces
        if pieces:
            self._pieces = []
        return pieces

    def release(self) -> None:
        """The response has been taken to its end: the connection may carry the next request, if it can."""
        assert self.ended, "a response that has not ended is given up with abort()"
        self._asker = None
        if self._flows:
            self._leave()
        # What is unsent of a request that was answered before all of it was read would come behind the next one's head.
        is_sent = not (self._buffered and self.transport.get_write_buffer_size())
        if self._reusable and is_sent and not self._writing_paused and not self.transport.is_closing():
            if self._reading_paused:
                self.resume_reading()
            self.reused = True
            self._put_back(self)
        else:
            self.close()

    def abort(self) -> None:
        """Give the response up: nothing more of it is told, and the connection is cut."""
        self._asker = None
        if self._flows:
            self._leave()
        self.transport.abort()

    def close(self) -> None:
        self.transport.close()

    def is_quiet(self) -> bool:
        """Whether this connection, unused, is still open, as of this instant.

        The loop would tell too, but later: in between, a request could go to an instance that has just died. Over TCP
        it costs a system call, so it is asked only for requests that must not be sent twice; over a unix socket `ask`
        will know by itself.
        """
        if self.transport.is_closing():
            return False
        if self._unix_fd >= 0:
            return True
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    @property
    def is_paused(self) -> bool:
        """Nothing is read: nobody takes what was, or it waits for its turn."""
        return self._reading_paused or self._waits

    def pause_reading(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            if not self._waits:
                self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused and not self.transport.is_closing():
            self._reading_paused = False
            if not self._waits:
                self.transport.resume_reading()

    def wait(self) -> None:
        """Read nothing until `go_on`: others are to have their turn."""
        if not self._waits and not self.transport.is_closing():
            self._waits = True
            if not self._reading_paused:
                self.transport.pause_reading()

    def go_on(self) -> None:
        if self._waits and not self.transport.is_closing():
            self._waits = False
            if not self._reading_paused:
                self.transport.resume_reading()

    # -- the transport's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            self._unix_fd = sock.fileno()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        asker = self._asker
        if asker is None or self.ended:
            # Nobody asked, or it is more than was asked for: whose it is nobody can say.
            self._reusable = False
            if asker is None:
                self.transport.abort()
            return
        try:
            if self.response is not None:
                self._read_body(data)
            elif not self._read_head(asker, data):
                return
        except (HeadMalformed, BodyMalformed) as malformed:
            self._fail(f"the response is not valid HTTP/1.1: {malformed}")
            return
        asker.response_arrived()
        if len(data) >= PIECE_BYTES_MIN and self._turns is not None and self._asker is asker and not self.ended:
            self._flows = True
            self._turns.passed(self, len(data))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._poll = None
        if self._flows:
            self._leave()
        self._lost(self)
        asker, self._asker = self._asker, None
        if asker is None or self.ended:
            pass
        elif exc is None and self.response is not None and self._body is None and self._left is None:
            self.ended = True  # the end of the connection is the end of the body
            self._asker = asker
            asker.response_arrived()
        else:
            asker.response_failed(ConnectionFailed(str(exc) if exc else "the connection was closed"))

    def pause_writing(self) -> None:
        self._writing_paused = True
        if self._asker is not None:
            self._asker.upstream_paused()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._asker is not None:
            self._asker.upstream_resumed()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        self._flows = False
        if self._turns is not None:
            self._turns.leave(self)
        self.go_on()

    def _read_head(self, asker: Asker, data: bytes) -> bool:
        """Read heads until the one that counts, then what is there of the body. Gives whether that one is there."""
        if self._held:
            data = self._held + data
            self._held = b""
        while True:
            last = self._last
            if last is not None and data.startswith(last.raw):
                response = last
            else:
                end = data.find(END) + len(END)
                if end < len(END) or end > RESPONSE_HEAD_BYTES_MAX:
                    self._hold(data)
                    return False
                response = parse_response(data[:end])
                if response.status >= 200 and end <= REMEMBERED_BYTES_MAX:
                    self._last = response
            data = data[len(response.raw) :]
            if response.status >= 200:
                break
            if response.status == 101:
                self._switch(response, data)
                return True
            if response.status != 100:
                asker.interim_arrived(response)
        self.response = response
        self._reusable = response.keep_alive
        self._begin_body(response, data)
        return True

    def _switch(self, response: Response, data: bytes) -> None:  # noqa: ARG002 - for a connection that asks for one
        raise HeadMalformed("status 101 answers a request that asked for no other protocol")

    def _hold(self, data: bytes) -> None:
        if len(data) > RESPONSE_HEAD_BYTES_MAX:
            raise HeadMalformed(f"the head is too large: at most {RESPONSE_HEAD_BYTES_MAX} bytes are allowed")
        check_begin_of_response(data)
        self._held = data

    def _begin_body(self, response: Response, data: bytes) -> None:
        """How long the body is (RFC 9112, section 6.3), and what is there of it."""
        if self.trailers:
            self.trailers = []
        if self._head_only or has_no_body(response.status):
            self._left = 0
        elif response.is_chunked:
            self._body = ChunkedBody()
        else:
            self._left = response.content_length
        self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        left, body = self._left, self._body
        if body is not None:
            self._pieces += body.feed(data)
            if not body.ended:
                return
            self.trailers = body.trailers
            self._body, data = None, body.rest
        elif left is None:
            self._reusable = False
            if data:
                self._pieces.append(data)
            return
        elif len(data) < left:
            self._left = left - len(data)
            if data:
                self._pieces.append(data)
            return
        else:
            if left:
                self._pieces.append(data[:left])
            data = data[left:]
        self._left = 0
        self.ended = True
        if data:
            self._reusable = False  # more than was asked for

    def _fail(self, reason: str) -> None:
        asker, self._asker = self._asker, None
        self.transport.abort()
        if asker is not None:
            asker.response_failed(ResponseMalformed(reason))
