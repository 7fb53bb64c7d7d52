"""One request between a client's exchange and a connection to whoever answers it: bytes both ways, with back-pressure.

What is asked, what is answered and what a failure means is said by the two that build on it: `invocation` (to an
instance, through a gate) and `api` (to the control plane).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from mypy_extensions import mypyc_attr

from runtime.gateway.headers import RequestHead, sort_response, sort_trailers
from runtime.gateway.refusal import Refusal, too_large
from runtime.http.client import ClientConnection, ConnectionFailed, NotSent
from runtime.http.exchange import Exchange
from runtime.http.fields import find
from runtime.http.framing import (
    CHUNKED,
    CLOSE,
    CRLF,
    JOIN_BYTES_MAX,
    KEEP_ALIVE,
    chunks,
    date_header,
    has_no_body,
    joined,
    last_chunk,
    status_line,
)
from runtime.http.head import Response
from runtime.signature import BodyDigest, SignatureRefused

_METHODS_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))


@mypyc_attr(allow_interpreted_subclasses=True)
class Relay(ABC):
    """An exchange's owner and a connection's asker at once, from the request's head until both sides are done."""

    said_here: ClassVar[frozenset[bytes]] = frozenset()  # header fields of a response that are not passed on

    # What a relay begins with. Most stays so for most requests, and costs nothing while it does.
    connection: ClientConnection | None = None
    over = False  # nothing more is to be done for this request
    _sent: list[bytes] | None = None  # what may have to be sent again; None before and if it was more than is held
    _sent_bytes = 0
    _request_ended = False  # all of it was sent
    _chunks_request = False
    _answered = False  # the answer's head was written
    _status = 0  # and its status
    _answer_bytes = 0  # of its body
    _chunks_answer = False

    def __init__(
        self,
        exchange: Exchange,
        head: RequestHead,
        *,
        body_bytes_max: int,
        held_bytes_max: int,
        body_digest: BodyDigest | None = None,
    ) -> None:
        """Takes the exchange over.

        `held_bytes_max` bounds what is kept of a request's body: while it waits, and after it was sent, in case it has
        to be sent again. `body_digest` says what the body must be: of one that is another, the end is never sent, so
        that no instance takes it for whole.

        Raises:
            Refusal: the body is announced to be larger than `body_bytes_max`.
        """
        if (head.content_length or exchange.body_bytes) > body_bytes_max:
            raise too_large(body_bytes_max, "this request")
        self.exchange = exchange
        self.head = head
        self._body_bytes_max = body_bytes_max
        self._held_bytes_max = held_bytes_max
        self._body_digest = body_digest
        exchange.owner = self

    # -- what the two kinds say ----------------------------------------------------------------------------------------

    @abstractmethod
    def request_head(self) -> bytes:
        """The request line and the header lines but the framing, each with its line end."""

    @abstractmethod
    def answer_head(self, response: Response) -> tuple[int, bytes]:
        """The status that the client gets, and header lines beside those of the response."""

    @abstractmethod
    def lost(self, error: ConnectionFailed) -> None:
        """The connection failed before anything was answered. Try again, or `refuse`."""

    @abstractmethod
    def ended(self, refusal: Refusal | None) -> None:
        """The request is over, one way or another: give back what it held. Called once."""

    @abstractmethod
    def write_refusal(self, refusal: Refusal) -> None:
        """Answer the exchange with it, and finish it."""

    # -- the way to the instance ---------------------------------------------------------------------------------------

    def send(self, connection: ClientConnection) -> None:
        """Send what there is of the request: for the first time, or all of it again.

        Raises:
            NotSent: the connection is closed; another one may be tried.
        """
        self.connection = connection
        if self._body_digest is not None and self._body_is_another():
            return
        exchange = self.exchange
        if not exchange.complete:
            exchange.resume_reading()  # first, as sending may already be too much for the other side
        head_only = exchange.method == b"HEAD"
        if self._sent_bytes:
            assert self._sent is not None, "sent again only while it is held"
            data = b"".join(self._sent)
        else:
            data = self.first_bytes()
            self._remember(data)
        try:
            connection.ask(self, data, head_only=head_only)
        except NotSent:
            self.connection = None
            self._sent = [data]
            raise
        if exchange.received or not self._request_ended:
            self._forward_body()

    @property
    def can_be_sent_again(self) -> bool:
        """Whether all that was sent is still held."""
        return self._sent is not None or not self._sent_bytes

    def body_arrived(self) -> None:
        if self.exchange.body_bytes > self._body_bytes_max:
            self.refuse(too_large(self._body_bytes_max, "this request"))
        elif self.connection is not None:
            if not self._body_is_another():
                self._forward_body()
        elif self.exchange.body_bytes > self._held_bytes_max:
            self.exchange.pause_reading()

    def upstream_paused(self) -> None:
        self.exchange.pause_reading()

    def upstream_resumed(self) -> None:
        self.exchange.resume_reading()

    # -- the way back --------------------------------------------------------------------------------------------------

    def interim_arrived(self, response: Response) -> None:
        """Early hints and the like are passed on as they come (RFC 9110, 15.2) to clients that can take them."""
        if not self._answered and not self.exchange.http_1_0:
            passed = sort_response(response.fields, self.said_here)
            self.exchange.write([status_line(response.status, response.reason) + passed + CRLF])

    def response_arrived(self) -> None:
        connection = self.connection
        assert connection is not None, "a response comes over the connection it was asked on"
        pieces = connection.take_body()
        exchange = self.exchange
        for piece in pieces:
            self._answer_bytes += len(piece)
        if not exchange.gone:
            exchange.write(joined(self._answer_parts(connection, pieces)))
        if connection.ended:
            self._response_ended(connection)

    def response_failed(self, error: ConnectionFailed) -> None:
        self.connection = None
        if self._answered or self.exchange.gone:
            self.exchange.abort()
            self._over(None)
        else:
            self.lost(error)

    def client_paused(self) -> None:
        if self.connection is not None:
            self.connection.pause_reading()

    def client_resumed(self) -> None:
        if self.connection is not None:
            self.connection.resume_reading()

    def client_gone(self) -> None:
        """The answer is awaited all the same, as the instance is busy with it; only half a request cannot be."""
        connection = self.connection
        if connection is not None and self._request_ended:
            connection.resume_reading()
        else:
            self.give_up()

    def refuse(self, refusal: Refusal) -> None:
        """Answer in the instance's place. An answer that was begun is cut instead."""
        self._drop_connection()
        if self._answered:
            self.exchange.abort()
        self._over(refusal)
        if not self.exchange.gone:
            self.write_refusal(refusal)

    def give_up(self) -> None:
        """Nobody wants the answer any more."""
        self._drop_connection()
        self._over(None)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _body_is_another(self) -> bool:
        """Take what has arrived into the digest; refuse the request if that is all of it, and not what was signed."""
        digest, exchange = self._body_digest, self.exchange
        if digest is None:
            return False
        for piece in exchange.received:
            digest.update(piece)
        if exchange.complete:
            self._body_digest = None
            try:
                digest.check()
            except SignatureRefused as refused:
                self.refuse(Refusal(refused.status, refused.code, refused.message))
                return True
        return False

    def first_bytes(self) -> bytes:
        """The head, and what is there of the body unless that is much: then it stays for `_forward_body`."""
        exchange, head = self.exchange, self.head
        if not head.is_chunked and sum(map(len, exchange.received)) > JOIN_BYTES_MAX:
            # Behind a copy of it the head would be there later than alone; so it is read while the rest comes.
            return b"%bcontent-length: %d\r\n\r\n" % (self.request_head(), head.content_length or 0)
        pieces = exchange.take_body()
        if exchange.complete and not exchange.trailers:
            # A body that is here already is sent with its length, however it came: not every server reads chunks.
            self._request_ended = True
            if exchange.body_bytes or head.content_length is not None or exchange.method in _METHODS_WITH_BODY:
                framing = b"content-length: %d\r\n\r\n" % exchange.body_bytes
            else:
                framing = CRLF
        elif head.is_chunked:
            self._chunks_request = True
            framing = CHUNKED + CRLF
            pieces = chunks(pieces)
        else:
            framing = b"content-length: %d\r\n\r\n" % (head.content_length or 0)
        return b"".join((self.request_head(), framing, *pieces))

    def _forward_body(self) -> None:
        assert self.connection is not None, "there is nobody to forward to"
        pieces = self.exchange.take_body()
        parts = chunks(pieces) if self._chunks_request else pieces
        if self.exchange.complete and not self._request_ended:
            self._request_ended = True
            if self._chunks_request:
                parts.append(last_chunk(sort_trailers(self.exchange.trailers)))
        if parts:
            for part in parts:
                self._remember(part)
            self.connection.write(parts)

    def _remember(self, data: bytes) -> None:
        first = not self._sent_bytes
        self._sent_bytes += len(data)
        if self._sent_bytes > self._held_bytes_max:
            self._sent = None
        elif first:
            self._sent = [data]
        elif self._sent is not None:
            self._sent.append(data)

    def _answer_parts(self, connection: ClientConnection, pieces: list[bytes]) -> list[bytes]:
        if self._answered:
            parts = chunks(pieces) if self._chunks_answer else pieces
        else:
            self._answered = True
            parts = self._head_parts(connection, pieces)
            parts += chunks(pieces) if self._chunks_answer else pieces
        if self._chunks_answer and connection.ended:
            parts.append(last_chunk(sort_trailers(connection.trailers)))
        return parts

    def _head_parts(self, connection: ClientConnection, pieces: list[bytes]) -> list[bytes]:
        """The answer's head, and how its body is framed: by its length if known, else in chunks, else by the end."""
        exchange, response = self.exchange, connection.response
        assert response is not None, "a head is answered when it is there"
        said_here = self.said_here
        note = response.note
        if note is None or note[0] is not said_here:
            lines = sort_response(response.fields, said_here)
            note = response.note = (said_here, lines, find(response.fields, b"date") is not None)
        status, more_lines = self.answer_head(response)
        self._status = status
        parts = [status_line(status, response.reason), note[1], more_lines]
        if not note[2]:
            parts.append(date_header())
        length = response.content_length
        if exchange.method == b"HEAD" or has_no_body(status):
            if length is not None and status != 204:
                parts.append(b"content-length: %d\r\n" % length)
        else:
            if status != response.status and has_no_body(response.status):
                length = 0  # a 304 tells the length of what it leaves out, which by another status is waited for
            elif length is None and connection.ended and not connection.trailers:
                length = sum(map(len, pieces))
            if length is not None:
                parts.append(b"content-length: %d\r\n" % length)
            elif exchange.http_1_0:
                exchange.keep_alive = False
            else:
                self._chunks_answer = True
                parts.append(CHUNKED)
        parts.append(connection_line(exchange))
        return parts

    def _response_ended(self, connection: ClientConnection) -> None:
        self.connection = None
        if self._request_ended:
            connection.release()
        else:
            connection.abort()  # answered before it had read everything: what comes next it would take for the rest
        self._over(None)
        self.exchange.finish()

    def _drop_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()

    def _over(self, refusal: Refusal | None) -> None:
        if not self.over:
            self.over = True
            self.ended(refusal)


def connection_line(exchange: Exchange) -> bytes:
    """The Connection header of an answer, and the empty line after it.

    An answer that does not wait for the whole request closes the connection: where the next request begins is unknown.
    """
    if not exchange.complete:
        exchange.keep_alive = False
    if not exchange.keep_alive:
        return CLOSE + CRLF
    return KEEP_ALIVE + CRLF if exchange.request.http_1_0 else CRLF
