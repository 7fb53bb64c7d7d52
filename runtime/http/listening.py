"""A listening socket whose burst of connects is taken in a few rounds of the loop.

uvloop accepts one connection of a socket in each round. A round of a busy server takes milliseconds, so the last of
four hundred clients that come together would wait for seconds, and so would whoever comes after them. So with each
connection that the loop accepts the next ones are asked for, which costs one that comes alone a refused call.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final

ACCEPTED_IN_A_ROUND: Final = 16

UNSENT_BYTES_MAX: Final = 256 << 10
"""What the kernel takes for a client beyond what is on its way. Left alone it takes up to 4 MiB of an answer whether or
not the client reads (tcp(7), TCP_NOTSENT_LOWAT): hundreds of slow readers hold gigabytes then, and freeing what one of
them holds stops the loop for over a millisecond."""


def bound_unsent(sock: socket.socket) -> None:
    """Have the kernel take no more than that for each client that is accepted from now on: they inherit it."""
    with contextlib.suppress(OSError):  # a unix socket has none
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)


class Listener:
    """Serves at one listening socket from `begin` to `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
    ) -> None:
        """`connection` makes a protocol for each client."""
        self._loop = loop
        self._connection = connection
        self._sock = sock
        self._server: asyncio.Server | None = None
        self._opening: set[asyncio.Task[Any]] = set()

    async def begin(self, backlog: int) -> None:
        self._sock.setblocking(False)
        bound_unsent(self._sock)
        self._server = await self._loop.create_server(self._accepted, sock=self._sock, backlog=backlog)

    def close(self) -> None:
        """Nobody is let in any more. Those who are stay, and close themselves."""
        if self._server is not None:
            self._server.close()

    async def shut(self) -> None:
        """Let in who waits at this instant, and then nobody any more. Who waited would be refused otherwise, where
        this process alone has the socket."""
        while self._accept():
            pass
        self.close()
        await asyncio.sleep(0)  # what the loop itself has accepted is made a connection in its next round
        while self._opening:
            await asyncio.wait(self._opening)

    def _accepted(self) -> asyncio.BaseProtocol:
        for _ in range(ACCEPTED_IN_A_ROUND - 1):
            if not self._accept():
                break
        return self._connection()

    def _accept(self) -> bool:
        """One client that waits, if there is one."""
        try:
            client, _ = self._sock.accept()
        except OSError:  # nobody waits; or there are no descriptors left, which the loop finds out by itself
            return False
        task = self._loop.create_task(self._open(client))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return True

    async def _open(self, client: socket.socket) -> None:
        client.setblocking(False)
        with contextlib.suppress(OSError):  # a unix socket has none
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._loop.connect_accepted_socket(self._connection, client)
        except OSError:  # it has gone
            client.close()
        except asyncio.CancelledError:  # the process ends
            client.close()
            raise
