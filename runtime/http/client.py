"""The client's side of HTTP/1.1: one connection to an instance, which carries one request at a time."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import httptools

from runtime.http.fields import find
from runtime.http.framing import Headers

RESPONSE_HEAD_BYTES_MAX: Final = 65_536


class ConnectionFailed(Exception):
    """The connection ended before the response was complete."""


class ResponseMalformed(ConnectionFailed):
    """What came was no HTTP; whoever sent it lives."""


class Asker(Protocol):
    """Whoever sent the request. It is told of the response until it calls `release` or `abort`."""

    def response_arrived(self) -> None:
        """The head is there, or more of the body (`take_body`), or the end (`ended`): as much as came in one piece."""

    def response_failed(self, error: ConnectionFailed) -> None:
        """The response will never be complete. The connection is gone."""

    def upstream_paused(self) -> None:
        """The other side reads more slowly than it is written to: hold the request's body back."""

    def upstream_resumed(self) -> None: ...


class ClientConnection(asyncio.Protocol):
    """One connection. `ask`, then `write` for the rest of a body; the response arrives at the asker.

    `put_back` gets the connection when a response is complete and another request may follow; `lost` when it is gone.
    """

    __slots__ = (
        "_asker",
        "_head_bytes",
        "_head_only",
        "_interim",
        "_lost",
        "_parser",
        "_pieces",
        "_poll",
        "_put_back",
        "_reading_paused",
        "_reusable",
        "_writing_paused",
        "ended",
        "has_head",
        "headers",
        "reason",
        "reused",
        "status",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, put_back: Callable[[ClientConnection], None], lost: Callable[[ClientConnection], None]) -> None:
        self._put_back = put_back
        self._lost = lost
        self._parser: Any = httptools.HttpResponseParser(self)
        self._poll: select.poll | None = None
        self._asker: Asker | None = None
        self._reading_paused = False
        self._writing_paused = False
        self.reused = False  # has it carried a request before this one?
        self._begin(head_only=False)

    def _begin(self, *, head_only: bool) -> None:
        self.status = 0
        self.reason = b""
        self.headers: Headers = []
        self.has_head = False
        self.ended = False
        self._pieces: list[bytes] = []
        self._head_bytes = 0
        self._head_only = head_only
        self._interim = False
        self._reusable = False

    # -- the asker's side ----------------------------------------------------------------------------------------------

    def ask(self, asker: Asker, data: bytes, *, head_only: bool) -> None:
        """Send a request: its head, and what is there of its body. `head_only`: the response has no body (HEAD)."""
        assert self._asker is None, "a connection carries one request at a time"
        self._asker = asker
        self._begin(head_only=head_only)
        self.transport.write(data)

    def write(self, parts: list[bytes]) -> None:
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
        if self._reusable and not self._writing_paused and not self.transport.is_closing():
            self.resume_reading()
            self.reused = True
            self._put_back(self)
        else:
            self.close()

    def abort(self) -> None:
        """Give the response up: nothing more of it is told, and the connection is cut."""
        self._asker = None
        self.transport.abort()

    def close(self) -> None:
        self.transport.close()

    def is_quiet(self) -> bool:
        """Whether this connection, unused, is still open, as of this instant.

        The loop would tell too, but later: in between, a request could go to an instance that has just died. Costs a
        system call, so it is asked only for requests that must not be sent twice.
        """
        if self.transport.is_closing():
            return False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    def pause_reading(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    # -- the transport's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        asker = self._asker
        if asker is None:
            self.transport.abort()  # nobody asked
            return
        if not self.has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._reusable = False
            if not self.ended:
                self._fail(f"the response is not valid HTTP/1.1: {error}")
                return
        if self.has_head:
            asker.response_arrived()
        elif self._head_bytes > RESPONSE_HEAD_BYTES_MAX:
            self._fail(f"the response's head is too large: at most {RESPONSE_HEAD_BYTES_MAX} bytes are allowed")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._poll = None
        self._lost(self)
        asker, self._asker = self._asker, None
        if asker is None or self.ended:
            pass
        elif exc is None and self.has_head and self._ends_with_connection():
            self.ended = True
            self._asker = asker
            asker.response_arrived()
        else:
            asker.response_failed(ConnectionFailed(str(exc) if exc else "the connection was closed"))
        self._parser = None  # each has the other: left so, only the garbage collector could free them

    def pause_writing(self) -> None:
        self._writing_paused = True
        if self._asker is not None:
            self._asker.upstream_paused()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._asker is not None:
            self._asker.upstream_resumed()

    # -- the parser's side ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.ended:
            self._reusable = False  # more than was asked for

    def on_status(self, reason: bytes) -> None:
        if not self.has_head:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # otherwise a trailer: not passed on
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.ended:
            return
        status = self._parser.get_status_code()
        if status < 200:
            # 100, 102, 103: what counts comes after it.
            self._interim = True
            self.headers = []
            self.reason = b""
            return
        self.status = status
        self.has_head = True
        if self._head_only:
            self._end()
            # This parser expects the body that was announced and will not come; the next response gets a new one.
            self._parser = httptools.HttpResponseParser(self)

    def on_body(self, body: bytes) -> None:
        if self.ended:
            self._reusable = False
        else:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        elif not self.ended:
            self._end()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self.ended = True
        self._reusable = self._parser.should_keep_alive()

    def _ends_with_connection(self) -> bool:
        return find(self.headers, b"content-length") is None and find(self.headers, b"transfer-encoding") is None

    def _fail(self, reason: str) -> None:
        asker, self._asker = self._asker, None
        self.transport.abort()
        if asker is not None:
            asker.response_failed(ResponseMalformed(reason))
