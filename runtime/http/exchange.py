"""One request as it arrives from a client, and the means to answer it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from runtime.http.framing import Headers
from runtime.http.head import Request

if TYPE_CHECKING:
    from runtime.http.connection import ServerConnection


class Owner(Protocol):
    """Whoever answers an exchange. It is told what happens on the client's side until the exchange is finished."""

    def body_arrived(self) -> None:
        """There is more in `exchange.received`, or the request is complete now."""

    def client_gone(self) -> None:
        """Nobody is there to answer any more. Nothing else is told after this."""

    def client_paused(self) -> None:
        """The client reads more slowly than it is written to: hold the answer back."""

    def client_resumed(self) -> None: ...


class Problem(NamedTuple):
    """Why a request could not be read: the answer it should get."""

    status: int
    code: str
    message: str


class Exchange:
    """One request and its answer.

    The head is complete when a server hands an exchange to its handler; the body comes in pieces. Whoever takes it sets
    `owner`, writes the whole answer as bytes with `write`, then calls `finish` once, or `abort`.
    """

    __slots__ = (
        "_connection",
        "answered",
        "body_bytes",
        "complete",
        "gone",
        "headers",
        "keep_alive",
        "method",
        "owner",
        "problem",
        "received",
        "request",
        "target",
        "trailers",
    )

    def __init__(self, connection: ServerConnection, request: Request) -> None:
        self._connection = connection
        self.request = request  # the head; the same object for each request of a connection that has the same head
        self.method = request.method
        self.target = request.target
        self.headers = request.fields
        self.keep_alive = request.keep_alive  # may the connection be used again? `connection: close` clears it
        self.owner: Owner | None = None
        self.received: list[bytes] = []  # of the body, not taken yet
        self.body_bytes = 0  # of the body so far, taken or not
        self.complete = False  # has the whole request arrived?
        self.answered = False  # has anything been written but 100?
        self.gone = False  # the client is
        self.problem: Problem | None = None
        self.trailers: Headers = []  # the fields behind a chunked body, once it is complete

    @property
    def http_1_0(self) -> bool:
        return self.request.http_1_0

    @property
    def upgrade(self) -> bool:
        """Whether it asks for a WebSocket."""
        return self.request.upgrade

    @property
    def connection(self) -> ServerConnection:
        """For an answer that switches protocols."""
        return self._connection

    @property
    def client_ip(self) -> bytes:
        """The client's address, "" over a unix socket."""
        return self._connection.client_ip

    def take_body(self) -> list[bytes]:
        """What has arrived of the body since the last call."""
        pieces = self.received
        if pieces:
            self.received = []
        return pieces

    def send_continue(self) -> None:
        """Ask for the body that `expect: 100-continue` holds back."""
        if not self.gone and not self.complete and not self.body_bytes and not self.http_1_0:
            self._connection.send_continue()

    def write(self, parts: list[bytes]) -> None:
        """Send the parts, in order. Does nothing once the client is gone."""
        if self.gone:
            return
        self.answered = True
        if len(parts) == 1:
            self._connection.transport.write(parts[0])
        else:
            self._connection.transport.writelines(parts)

    def finish(self) -> None:
        """The answer is complete: the next request's turn. Does nothing once the client is gone."""
        if not self.gone:
            self._connection.finished(self)

    def abort(self) -> None:
        """Cut the connection, so that an answer that was begun cannot be taken for a whole one."""
        if not self.gone:
            self.gone = True
            self._connection.reset()

    def pause_reading(self) -> None:
        """Take nothing more of the body from the client for now; a client that leaves is not noticed meanwhile."""
        if not self.gone and not self.complete:
            self._connection.pause_reading()

    def resume_reading(self) -> None:
        if not self.gone:
            self._connection.resume_reading()
