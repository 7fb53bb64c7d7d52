"""The socket on which an instance serves its gateways, from its beginning to the last answer after SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
from collections.abc import Callable
from typing import Final

from runtime.http.exchange import Exchange
from runtime.http.server import Server, ServerLimits

BACKLOG: Final = 1024
# A gateway keeps its connections, and closes them when it wants to.
LIMITS: Final = ServerLimits(idle_timeout_s=math.inf, remembers_beginnings=True)


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT, which from now on do nothing else."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def serve(
    take: Callable[[Exchange], None], path: str, drain_s: float, stop: asyncio.Event, listens: Callable[[], None]
) -> None:
    """Serve at `path`, in the place of whoever did, until `stop`; then until what is inside is answered, `drain_s` at
    the most. `listens` is called once. Raises OSError: nothing can listen there."""
    loop = asyncio.get_running_loop()
    server = Server(loop, take, LIMITS)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = await loop.create_unix_server(server.connection, path, backlog=BACKLOG)
    os.chmod(path, 0o600)
    listens()
    await stop.wait()
    listener.close()
    await server.drain(drain_s)
