"""What three readers of HTTP/1.1 make of the same answer: ours, llhttp (by httptools) and h11."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import h11
import httptools

from loadtests.fuzz.reading import Wire, plain_fields
from runtime.http.client import ClientConnection, ConnectionFailed
from runtime.http.head import Response
from runtime.http.upgrade import UpgradingConnection


class Answer(NamedTuple):
    """The answer to one request, as far as it came. Names in lower case, values without the whitespace around them."""

    status: int  # 0: no head that counts
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    ended: bool
    is_refused: bool
    may_be_followed: bool  # by another, on the same connection


class _ClientWire(Wire):
    def get_extra_info(self, name: str) -> Any:  # noqa: ARG002
        return None


class _Asker:
    """Takes an answer."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.body = b""
        self.failed = False

    def interim_arrived(self, response: Response) -> None:
        assert 100 < response.status < 200

    def response_arrived(self) -> None:
        self.body += b"".join(self._connection.take_body())

    def response_failed(self, error: ConnectionFailed) -> None:  # noqa: ARG002
        self.failed = True

    def upstream_paused(self) -> None: ...

    def upstream_resumed(self) -> None: ...


def answers_here(turns: Sequence[Sequence[bytes]], *, head_only: bool = False, upgrading: bool = False) -> list[Answer]:
    """By our own reader: the pieces of each turn answer a request that is sent before the first of them arrives. A turn
    that the connection cannot be used for is left out. `upgrading`: the request asks for a WebSocket."""
    back: list[ClientConnection] = []
    wire = _ClientWire()
    connection = UpgradingConnection() if upgrading else ClientConnection(back.append, lambda _: None)
    connection.connection_made(cast(asyncio.Transport, wire))
    found: list[Answer] = []
    for pieces in turns:
        if found and not (back and not wire.closed):
            break
        back.clear()
        asker = _Asker(connection)
        connection.ask(asker, b"", head_only=head_only)
        for piece in pieces:
            if piece and not wire.closed:
                connection.data_received(piece)
        ended = connection.ended and not asker.failed
        if ended:
            connection.release()
        fields = plain_fields(connection.headers)
        found.append(Answer(connection.status, fields, asker.body, ended, asker.failed, bool(back)))
    return found


class _Callbacks:
    def __init__(self) -> None:
        self.parser: Any = None
        self.status = 0
        self.ended = False
        self.body = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self._in_trailers = False

    def on_message_begin(self) -> None:
        if not self.ended:
            self.fields, self.body, self._in_trailers = [], b"", False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_trailers and not self.ended:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        if not self.ended:
            self._in_trailers = True
            self.status = self.parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        if not self.ended:
            self.body += part

    def on_message_complete(self) -> None:
        self.ended = self.ended or self.status >= 200


def answer_by_llhttp(data: bytes) -> Answer | None:
    """None: it refuses it, or leaves what follows to another protocol."""
    callbacks = _Callbacks()
    callbacks.parser = httptools.HttpResponseParser(callbacks)
    try:
        callbacks.parser.feed_data(data)
    except (httptools.HttpParserUpgrade, httptools.HttpParserError):
        if not callbacks.ended:
            return None
    if callbacks.status < 200:  # of an interim one
        return Answer(0, (), b"", False, False, False)
    return Answer(callbacks.status, plain_fields(callbacks.fields), callbacks.body, callbacks.ended, False, False)


def answer_by_h11(data: bytes, *, head_only: bool = False) -> Answer | None:
    """None: it refuses it."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="HEAD" if head_only else "GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    status, fields, body = 0, plain_fields([]), b""
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status, fields = event.status_code, plain_fields(list(event.headers))
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, fields, body, True, False, False)
            elif not isinstance(event, h11.InformationalResponse):
                return Answer(status, fields, body, False, False, False)
    except h11.RemoteProtocolError:
        return None


def answer_differences(data: bytes, *, head_only: bool = False) -> list[str]:
    """What of an answer that ours takes is not the same to another reader that takes it too."""
    [ours] = answers_here([[data]], head_only=head_only)
    if ours.is_refused:
        return []
    readers = [("h11", answer_by_h11(data, head_only=head_only))]
    if not head_only:  # llhttp cannot be told so
        readers.append(("llhttp", answer_by_llhttp(data)))
    found = []
    for name, theirs in readers:
        if theirs is None:
            continue
        if (ours.status, sorted(ours.fields), ours.body) != (theirs.status, sorted(theirs.fields), theirs.body):
            found.append(f"{name} reads {theirs}, not {ours}")
        elif ours.ended is not theirs.ended:
            found.append(f"{name} says that it has {'' if theirs.ended else 'not '}ended: {ours}")
    return found
