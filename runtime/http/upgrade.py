"""Both ends of a connection that switches from HTTP to another protocol, whose bytes are passed as they come."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, Self, cast

from runtime.http.client import ClientConnection
from runtime.http.connection import ServerConnection
from runtime.http.fields import find
from runtime.http.head import HeadMalformed, Response

SWITCHING: Final = 101


class Listener(Protocol):
    """Whoever passes a client's bytes on."""

    def client_said(self, data: bytes) -> None: ...

    def client_ended(self) -> None:
        """The client has closed its side; it may go on reading."""


class SwitchedClient(asyncio.Protocol):
    """A client that HTTP is over with. Its connection is told of all but what it sends, as before."""

    def __init__(self, connection: ServerConnection, listener: Listener) -> None:
        self._connection = connection
        self._listener: Listener | None = listener
        self.has_ended = False

    def leave(self) -> None:
        """Tell the listener nothing more."""
        self._listener = None

    def pause_reading(self) -> None:
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        self._connection.resume_reading()

    def end_writing(self) -> None:
        """Close our side; the client's stays as it is."""
        transport = self._connection.transport
        if not transport.is_closing() and transport.can_write_eof():
            transport.write_eof()

    def data_received(self, data: bytes) -> None:
        if self._listener is not None:
            self._listener.client_said(data)

    def eof_received(self) -> bool:
        self.has_ended = True
        if self._listener is None or not self._connection.transport.can_write_eof():
            return False
        self._listener.client_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()


class UpgradingConnection(ClientConnection):
    """As its base until the answer's head is there. Once that says 101, `take_body` gives the other protocol's bytes,
    `write` sends such, and `at_eof` says that the other side sends no more. It is never used for a second request."""

    __slots__ = ("at_eof", "switched")

    def __init__(self) -> None:
        super().__init__(_close, _forget)
        self.switched = False
        self.at_eof = False

    @classmethod
    def over(cls, connection: ClientConnection) -> Self:
        """Take an unused connection over from its pool, which hears of it no more."""
        made = cls()
        made.connection_made(connection.transport)
        connection.transport.set_protocol(cast(asyncio.Protocol, made))
        return made

    def detach(self) -> None:
        """Close it, after what is on its way, and tell the asker nothing more. One that does not read is cut."""
        self._asker = None
        if self._writing_paused:
            self.transport.abort()
        else:
            self.transport.close()

    def write_eof(self) -> None:
        if not self.transport.is_closing():
            self.transport.write_eof()

    # -- the transport's side ------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if not self.switched:
            super().data_received(data)
        elif self._asker is not None:
            self._pieces.append(data)
            self._asker.response_arrived()

    def eof_received(self) -> bool:
        if not self.switched or self._asker is None:
            return False
        self.at_eof = True
        self._asker.response_arrived()
        return True

    # -- inside --------------------------------------------------------------------------------------------------------

    def _switch(self, response: Response, data: bytes) -> None:
        """The head says that HTTP is over. Only what was asked for is taken for it."""
        offered = (find(response.fields, b"upgrade") or b"").lower()
        options = [option.strip() for option in (find(response.fields, b"connection") or b"").lower().split(b",")]
        if offered != b"websocket" or b"upgrade" not in options:
            raise HeadMalformed("status 101 needs the headers Upgrade 'websocket' and Connection 'upgrade'")
        self.response = response
        self.switched = True
        if data:
            self._pieces.append(data)


def _close(connection: ClientConnection) -> None:
    connection.close()


def _forget(connection: ClientConnection) -> None:
    """No pool has it."""
