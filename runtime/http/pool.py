"""Idle keep-alive connections to one address, and the making of new ones."""

from __future__ import annotations

import asyncio
import errno
from typing import Final, cast

from runtime.http.client import ClientConnection
from runtime.http.deadlines import Deadlines
from runtime.http.turns import Turns

# A unix socket whose listener has not got around to accepting refuses with EAGAIN rather than keep the caller waiting.
_BACKLOG_WAIT_S: Final = 0.005

# What fails for want of something on this side says nothing about the other one.
_OURS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Unreachable(Exception):
    """Nothing listens at the address, or it did not answer in time. The message says why."""


class NoResources(Exception):
    """This process has no file descriptor or memory left for another connection."""


class Pool:
    """Connections to "unix:PATH" or "tcp:HOST:PORT". The last one used is taken first, so that the others can go."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: str,
        *,
        connect_timeout_s: float,
        idle: Deadlines[ClientConnection],
        turns: Turns | None = None,
    ) -> None:
        """`idle` closes connections that were unused too long, and large answers take `turns`; both may serve many
        pools.

        Raises:
            ValueError: the address has neither form.
        """
        self._loop = loop
        self.address = address
        self._scheme, self._host, self._port = _parse(address)
        self._connect_timeout_s = connect_timeout_s
        self._idle_deadlines = idle
        self._turns = turns
        self._idle: dict[ClientConnection, None] = {}
        self._closed = False

    def take(self, *, must_be_alive: bool) -> ClientConnection | None:
        """An idle connection; with `must_be_alive` only one that was seen open this instant."""
        while self._idle:
            connection, _ = self._idle.popitem()
            self._idle_deadlines.discard(connection)
            if must_be_alive and not connection.is_quiet():
                connection.close()
                continue
            if not connection.transport.is_closing():
                return connection
        return None

    def put_back(self, connection: ClientConnection) -> None:
        """An unused connection is free for the next request."""
        if self._closed:
            connection.close()
            return
        self._idle[connection] = None
        self._idle_deadlines.add(connection)

    async def connect(self) -> ClientConnection:
        """A new connection, in the caller's hands.

        Raises:
            Unreachable: refused, or not accepted within the connect timeout.
            NoResources: not tried for want of our own.
        """
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                while True:
                    try:
                        return await self._connect_once()
                    except BlockingIOError:
                        await asyncio.sleep(_BACKLOG_WAIT_S)
        except TimeoutError:
            raise Unreachable(f"{self.address}: no connection within {self._connect_timeout_s:g} s") from None
        except OSError as error:
            if error.errno in _OURS:
                raise NoResources(f"{self.address}: {error.strerror}") from error
            raise Unreachable(f"{self.address}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the idle connections now, and those in use when they come back."""
        self._closed = True
        while self._idle:
            connection, _ = self._idle.popitem()
            self._idle_deadlines.discard(connection)
            connection.close()

    async def _connect_once(self) -> ClientConnection:
        connection = ClientConnection(self.put_back, self._lost, self._turns)
        protocol = cast(asyncio.Protocol, connection)
        if self._scheme == "unix":
            await self._loop.create_unix_connection(lambda: protocol, self._host)
        else:
            await self._loop.create_connection(lambda: protocol, self._host, self._port)
        return connection

    def _lost(self, connection: ClientConnection) -> None:
        if connection in self._idle:
            del self._idle[connection]
            self._idle_deadlines.discard(connection)


def close_idle(connection: ClientConnection) -> None:
    """What the `idle` deadlines of a pool do."""
    connection.close()


def _parse(address: str) -> tuple[str, str, int]:
    scheme, _, rest = address.partition(":")
    if scheme == "unix" and rest:
        return scheme, rest, 0
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isdecimal():
        return scheme, host.strip("[]"), int(port)
    raise ValueError(f"address {address!r}: unix:PATH or tcp:HOST:PORT is allowed")
