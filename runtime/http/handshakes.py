"""A listening socket that speaks TLS. A client is one of those that are allowed at once from its connect on.

`asyncio` shows a TLS connection when its handshake is done, and one that fails before not at all; so clients are
accepted here, and each has a task until its handshake is done or its time is over. When there are as many clients as
are allowed, a handshake that has taken longer than an honest one makes room, so those who connect and say nothing keep
others out for a moment only; what is younger stays, or a rush of newcomers would end each other's.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from ssl import SSLContext
from time import monotonic
from typing import Final

from runtime.http.listening import ACCEPTED_IN_A_ROUND, bound_unsent

log = logging.getLogger(__name__)

# Without descriptors a socket stays ready, and would be asked in every round of the loop.
_NO_DESCRIPTORS_S: Final = 1.0
# So much of a handshake's time it has to itself, by default a second; the rest only while there is room.
_OWN_SHARE: Final = 0.1


class TlsListener:
    """Serves at one listening socket from `begin` to `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        context: SSLContext,
        *,
        handshake_timeout_s: float,
        connections: Callable[[], int],
        connections_max: int,
    ) -> None:
        """`connection` makes a protocol for each client whose handshake is done; `connections` counts those that are
        there. A client is in both counts for one round of the loop."""
        self._loop = loop
        self._connection = connection
        self._sock = sock
        self._context = context
        self._handshake_timeout_s = handshake_timeout_s
        self._connections = connections
        self._connections_max = connections_max
        self._shaking: dict[asyncio.Task[None], float] = {}  # when each began, the first one first
        self._later: asyncio.TimerHandle | None = None

    async def begin(self, backlog: int) -> None:
        self._sock.setblocking(False)
        bound_unsent(self._sock)
        self._sock.listen(backlog)
        self._listen()

    def close(self) -> None:
        """Nobody is let in any more. Those who are stay, and close themselves; a handshake is given up."""
        self._stop_listening()
        for task in self._shaking:
            task.cancel()

    async def shut(self) -> None:
        """Let in who waits at this instant, and then nobody any more. Handshakes have their own share of time yet."""
        self._accept()
        self._stop_listening()
        if self._shaking:
            _, late = await asyncio.wait(self._shaking, timeout=self._handshake_timeout_s * _OWN_SHARE)
            for task in late:
                task.cancel()

    def _stop_listening(self) -> None:
        if self._later is not None:
            self._later.cancel()
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_IN_A_ROUND):
            try:
                client, _ = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                log.error("accept-failed reason=%r", str(error))
                self._loop.remove_reader(self._sock)
                self._later = self._loop.call_later(_NO_DESCRIPTORS_S, self._listen)
                return
            if self._has_room():
                task = self._loop.create_task(self._shake_hands(client))
                self._shaking[task] = monotonic()
                task.add_done_callback(self._done)
            else:
                client.close()

    def _has_room(self) -> bool:
        """Room for one more, made if need be."""
        if self._connections() + len(self._shaking) < self._connections_max:
            return True
        longest, began_s = next(iter(self._shaking.items()), (None, 0.0))
        if longest is None or monotonic() - began_s < self._handshake_timeout_s * _OWN_SHARE:
            return False
        del self._shaking[longest]
        longest.cancel()
        return True

    def _done(self, task: asyncio.Task[None]) -> None:
        self._shaking.pop(task, None)

    async def _shake_hands(self, client: socket.socket) -> None:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        timeout_s = self._handshake_timeout_s
        try:
            await self._loop.connect_accepted_socket(
                self._connection, client, ssl=self._context, ssl_handshake_timeout=timeout_s
            )
        except OSError as error:  # as a TLS error is, and a handshake that takes too long
            client.close()
            log.debug("handshake-failed reason=%r", str(error))
        except asyncio.CancelledError:  # there is no room, or the process ends
            client.close()
            raise
