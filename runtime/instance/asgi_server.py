"""The built-in server of ASGI and WSGI apps: uvicorn, on a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

# All that uvicorn would import by name later, when a function's own `uvicorn.py` may be what has that name.
import uvicorn.lifespan.off
import uvicorn.lifespan.on
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from uvicorn.server import ServerState

from runtime.instance.app import InstanceApp
from runtime.instance.config import InstanceConfig
from runtime.instance.handler import HandlerKind
from runtime.instance.ready_pipe import ReadyPipe

DRAIN_S: Final = 3600  # after SIGTERM requests may run to their end; the node's grace ends this, not we
_KEEP_ALIVE_S: Final = 24 * 3600  # the gateway keeps its connections, and closes them when it wants to


def settings(app: InstanceApp, kind: HandlerKind, path: str) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        uds=path,
        http=HttpToolsProtocol,
        ws=WSProtocol if kind is HandlerKind.ASGI else "none",
        # The gateway ends what is silent for too long. A pong is not read while a function works on a message: to ask
        # for one in time would end the conversations of slow functions.
        ws_ping_interval=None,
        lifespan="auto" if kind is HandlerKind.ASGI else "off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )


def connection(app: InstanceApp, kind: HandlerKind) -> asyncio.Protocol:
    """What serves one connection, without a server around it."""
    config = settings(app, kind, "")
    config.load()
    return HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop())


class Server(uvicorn.Server):
    """uvicorn on the instance's unix socket, without its ticks: an idle instance does not wake up."""

    def __init__(self, app: InstanceApp, kind: HandlerKind, config: InstanceConfig, pipe: ReadyPipe) -> None:
        super().__init__(settings(app, kind, config.socket))
        self._pipe = pipe
        self._stop_asked = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            self._pipe.say(failed="the app's lifespan startup failed; its log says why")
            raise
        self._pipe.say(ready=True)

    async def main_loop(self) -> None:
        await self._stop_asked.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True
        self._stop_asked.set()
