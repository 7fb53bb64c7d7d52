"""A listening socket whose burst of connects is taken in a few rounds of the loop.

uvloop accepts one connection of a socket in each round. A round of a busy server takes milliseconds, so the last of
four hundred clients that come together would wait for seconds, and so would whoever comes after them. The same socket
under several descriptors is accepted from once for each.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

# Each costs a refused accept (about half a microsecond) for a connection that comes alone.
ACCEPTED_IN_A_ROUND: Final = 16


class Listener:
    """One listening socket. `close` ends it for new connections; those that are there stay."""

    def __init__(self, servers: list[asyncio.Server]) -> None:
        self._servers = servers

    def close(self) -> None:
        for server in self._servers:
            server.close()


async def listen(
    loop: asyncio.AbstractEventLoop,
    connection: Callable[[], asyncio.BaseProtocol],
    sock: socket.socket,
    backlog: int,
    **options: Any,
) -> Listener:
    """Serve at the socket, which belongs to the listener from now on. `options` are `create_server`'s."""
    sockets = [sock, *(sock.dup() for _ in range(ACCEPTED_IN_A_ROUND - 1))]
    return Listener([await loop.create_server(connection, sock=each, backlog=backlog, **options) for each in sockets])
