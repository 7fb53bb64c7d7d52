"""Requests that ask for a WebSocket: once 101 is answered, bytes both ways, with back-pressure, until a side closes.

To an instance the slot is held as long. Whatever else is answered goes back as any answer does.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from runtime.gateway.api import ApiRequest
from runtime.gateway.headers import sort_response
from runtime.gateway.invocation import Invocation
from runtime.gateway.refusal import Refusal
from runtime.gateway.relay import Relay
from runtime.http.client import ClientConnection, ConnectionFailed
from runtime.http.deadlines import Deadlines
from runtime.http.exchange import Exchange
from runtime.http.framing import CRLF, joined, status_line
from runtime.http.upgrade import SWITCHING, SwitchedClient, UpgradingConnection

# Said anew to either side, whatever the other one wrote (RFC 9110, section 7.8).
_UPGRADE_LINES: Final = b"connection: upgrade\r\nupgrade: websocket\r\n"

# After one side has closed its half, this is how long the other may be silent before the rest is closed too.
HALF_CLOSED_S: Final = 10.0


class Quiet:
    """What ends switched connections on which nothing happens."""

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_s: float) -> None:
        self._open: Deadlines[Upgrading] = Deadlines(loop, idle_s, lambda each: each.end())
        self._half_closed: Deadlines[Upgrading] = Deadlines(loop, HALF_CLOSED_S, lambda each: each.end())

    def heard(self, upgrading: Upgrading) -> None:
        """Something came: its time begins anew."""
        self.forget(upgrading)
        (self._half_closed if upgrading.is_half_closed else self._open).add(upgrading)

    def forget(self, upgrading: Upgrading) -> None:
        self._open.discard(upgrading)
        self._half_closed.discard(upgrading)

    def clear(self) -> None:
        self._open.clear()
        self._half_closed.clear()


def wants_upgrade(exchange: Exchange) -> bool:
    """Whether a request may be answered by a switch to WebSocket: a GET (RFC 6455, section 4.1), after whose head the
    other protocol begins. Any other that offers one is an ordinary request. Pure."""
    request = exchange.request
    return request.upgrade and request.method == b"GET" and not request.content_length and not request.is_chunked


class Upgrading(Relay):
    """A relay whose request asks for a WebSocket. Its two kinds say where to."""

    is_half_closed = False
    _client: SwitchedClient | None = None  # from the switch on

    @property
    @abstractmethod
    def quiet(self) -> Quiet: ...

    @property
    def switched(self) -> bool:
        return self._client is not None

    # -- what a relay is told ------------------------------------------------------------------------------------------

    def send(self, connection: ClientConnection) -> None:
        # What else came with the request is the other protocol's: if that is refused, nobody reads it.
        self.exchange.keep_alive = False
        super().send(UpgradingConnection.over(connection))

    def first_bytes(self) -> bytes:
        self._request_ended = True
        return self.request_head() + _UPGRADE_LINES + CRLF

    def response_arrived(self) -> None:
        connection = self._upgrading
        if not connection.switched:
            super().response_arrived()
            return
        pieces = connection.take_body()
        if self._client is None:
            self._switch(connection, pieces)
        elif pieces:
            self.exchange.write(joined(pieces))
        self._answer_bytes += sum(map(len, pieces))
        self.quiet.heard(self)
        if connection.ended:
            self.end()
        elif connection.at_eof:
            self._half_close(self._switched_client.end_writing)

    def response_failed(self, error: ConnectionFailed) -> None:
        if self.switched:
            self.end()
        else:
            super().response_failed(error)

    def upstream_paused(self) -> None:
        if self._client is not None:
            self._client.pause_reading()

    def upstream_resumed(self) -> None:
        if self._client is not None:
            self._client.resume_reading()

    def client_said(self, data: bytes) -> None:
        self.quiet.heard(self)
        self.exchange.body_bytes += len(data)
        self._upgrading.write([data])

    def client_ended(self) -> None:
        self._half_close(self._upgrading.write_eof)

    def client_gone(self) -> None:
        self.give_up()  # a handshake or a conversation with nobody is worth nothing to the other side

    # -- the end -------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Close both sides of a switched connection, after what is on its way to them, and give back what was held."""
        client = self._switched_client
        client.leave()
        if self.connection is not None:
            self._upgrading.detach()
            self.connection = None
        self._over(None)
        # To close at once would reset the connection of a client that still sends, and take the last words from it.
        self.exchange.complete = client.has_ended
        self.exchange.finish()

    def _over(self, refusal: Refusal | None) -> None:
        self.quiet.forget(self)
        super()._over(refusal)

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _upgrading(self) -> UpgradingConnection:
        assert isinstance(self.connection, UpgradingConnection), "sent over no other kind"
        return self.connection

    @property
    def _switched_client(self) -> SwitchedClient:
        assert self._client is not None, "only after the switch"
        return self._client

    def _switch(self, connection: UpgradingConnection, pieces: list[bytes]) -> None:
        exchange, response = self.exchange, connection.response
        assert response is not None, "a head is answered when it is there"
        self._answered = True
        self._status = SWITCHING
        passed = sort_response(response.fields, self.said_here)
        _, lines = self.answer_head(response)
        exchange.write(joined([status_line(SWITCHING), passed, lines, _UPGRADE_LINES, CRLF, *pieces]))
        self._client = client = SwitchedClient(exchange.connection, self)
        early = exchange.connection.switch_to(client)
        if early:
            self.client_said(early)

    def _half_close(self, tell: Callable[[], None]) -> None:
        """One side sends no more: the other is told so. The second time it is over."""
        if self.is_half_closed:
            self.end()
            return
        self.is_half_closed = True
        tell()
        self.quiet.heard(self)


class InvocationUpgrade(Upgrading, Invocation):
    """To an instance, by an HTTP trigger. The function's timeout bounds handshake and conversation together."""

    @property
    def quiet(self) -> Quiet:
        return self._gateway.patience.with_silence

    def timed_out(self) -> None:
        if self.switched:
            self.end()
        else:
            super().timed_out()


class ApiUpgrade(Upgrading, ApiRequest):
    """To the control plane: a shell in an instance."""

    @property
    def quiet(self) -> Quiet:
        return self._gateway.patience.with_silence

    @property
    def _is_safe(self) -> bool:
        return False  # a GET that starts something: never sent twice
