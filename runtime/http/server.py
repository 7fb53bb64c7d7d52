"""The server's side of HTTP/1.1: what all clients of one listening socket share.

`runtime.http.connection` reads what each of them sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
from collections.abc import Awaitable, Callable
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
# With this many seconds between two looks at the least.
_LOOK_S_MIN: Final = 0.01


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
        self.closing = False  # each answer says that it is the last one of its connection
        self.closes_idle = False  # and a connection that said nothing of it ends behind its answer
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

    async def drain(
        self, timeout_s: float, grace_s: float = 0.0, shut: Callable[[], Awaitable[None]] | None = None
    ) -> int:
        """Let what is being answered finish, and clients learn that they have to connect anew.

        From now on each answer is the last one of its connection, and says so. A connection on which that was not said
        is open for `grace_s` yet, counted from now or from its last answer: its client may have sent the next request
        already. `shut` lets nobody in any more; it is called when the grace is over, or when nobody is there. Gives the
        number of connections that are cut when `timeout_s` is over.
        """
        self.closing = True
        self.closes_idle = not grace_s
        for connection in list(self.connections):
            connection.say_last()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._emptied(grace_s)
                if shut is not None:
                    await shut()
                while self.connections:
                    self._close_idle_for(grace_s)
                    await self._emptied(max(grace_s / _LOOKS_PER_TIMEOUT, _LOOK_S_MIN) if grace_s else math.inf)
        self.closes_idle = True
        cut = len(self.connections)
        for connection in list(self.connections):
            connection.transport.abort()
        for deadlines in self._deadlines:
            deadlines.clear()
        return cut

    async def _emptied(self, at_most_s: float) -> None:
        """Until nobody is there, `at_most_s` at most."""
        if not self.connections or not at_most_s:
            return
        self._empty.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if at_most_s == math.inf else at_most_s):
                await self._empty.wait()

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
        self._close_idle_for(self.limits.idle_timeout_s)
        self._look_later()

    def _close_idle_for(self, idle_s: float) -> None:
        """Close what has been idle for so long, but for connections on which the next request has come this instant."""
        latest_s = monotonic() - idle_s
        for connection in list(self.connections):
            if connection.idle_since_s <= latest_s and not _has_more(connection):
                connection.close()


def _has_more(connection: ServerConnection) -> bool:
    """Whether the client has sent something, or its end, that the loop has yet to read."""
    sock = connection.transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))
