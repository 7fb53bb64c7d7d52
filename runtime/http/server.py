"""The server's side of HTTP/1.1: what all clients of one listening socket share.

`runtime.http.connection` reads what each of them sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, cast

from runtime.http.connection import ServerConnection
from runtime.http.deadlines import Deadlines
from runtime.http.exchange import Exchange

# After an answer that did not wait for the whole request, this many seconds are left to the client to read it: closing
# at once would reset the connection and take the answer away from under it.
LINGER_S: Final = 2.0

# Idle connections are looked for so often in an idle timeout: they are closed at most this part of it too late.
_LOOKS_PER_TIMEOUT: Final = 8


@dataclass(frozen=True, slots=True)
class ServerLimits:
    head_bytes_max: int = 65_536
    head_timeout_s: float = 10.0  # from a head's first byte to its last
    body_timeout_s: float = math.inf  # between two pieces of a request's body
    write_timeout_s: float = math.inf  # that a client may leave what is written to it unread
    idle_timeout_s: float = 75.0  # between two requests of a connection
    connections_max: int = 10_000
    remembers_beginnings: bool = False  # of heads: for servers behind our own gateway (`beginnings.py`)


class Server:
    """What all connections of one listening socket share. `handle` is called with each exchange when its turn comes."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, handle: Callable[[Exchange], None], limits: ServerLimits | None = None
    ) -> None:
        self.handle = handle
        self.limits = limits or ServerLimits()
        self.connections: set[ServerConnection] = set()
        self.closing = False
        self._loop = loop
        self._empty = asyncio.Event()
        self._look: asyncio.TimerHandle | None = None
        limits = self.limits
        connection = ServerConnection
        self.in_head: Deadlines[ServerConnection] = Deadlines(loop, limits.head_timeout_s, connection.head_is_late)
        self.in_body: Deadlines[ServerConnection] = Deadlines(loop, limits.body_timeout_s, connection.body_is_late)
        self.unread: Deadlines[ServerConnection] = Deadlines(loop, limits.write_timeout_s, connection.reset)
        self.lingering: Deadlines[ServerConnection] = Deadlines(loop, LINGER_S, connection.close)
        self._deadlines = (self.in_head, self.in_body, self.unread, self.lingering)

    def connection(self) -> asyncio.Protocol:
        """A protocol for one more client; give this method to `create_server`."""
        return cast(asyncio.Protocol, ServerConnection(self))

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
        for deadlines in self._deadlines:
            deadlines.clear()
        return cut

    def remember(self, connection: ServerConnection) -> None:
        """A client has come."""
        self.connections.add(connection)
        if self._look is None:
            self._look_later()

    def forget(self, connection: ServerConnection) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        for deadlines in self._deadlines:
            deadlines.discard(connection)
        if not self.connections:
            if self._look is not None:
                self._look.cancel()
                self._look = None
            if self.closing:
                self._empty.set()

    def _look_later(self) -> None:
        if self.limits.idle_timeout_s != math.inf:
            self._look = self._loop.call_later(self.limits.idle_timeout_s / _LOOKS_PER_TIMEOUT, self._close_idle)

    def _close_idle(self) -> None:
        """A look at all connections now and then costs a request nothing; a timer for each would."""
        latest_s = monotonic() - self.limits.idle_timeout_s
        for connection in list(self.connections):
            if connection.idle_since_s <= latest_s:
                connection.close()
        self._look_later()
