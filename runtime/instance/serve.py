"""The life of a built-in server: load the function, listen, say so on the ready pipe, serve until SIGTERM.

The process is already what it is to be (environment, output, folder) when `main` is called.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

# All that uvicorn would import by name later, when a function's own `uvicorn.py` may be what has that name.
import uvicorn.lifespan.off
import uvicorn.lifespan.on
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from runtime.contract import MODEL_HANDLER
from runtime.instance import isolation, log_tail
from runtime.instance.app import InstanceApp
from runtime.instance.config import InstanceConfig
from runtime.instance.context import REQUEST_ID
from runtime.instance.handler import HandlerError, HandlerKind
from runtime.instance.plain_server import PlainServer
from runtime.instance.stage import Stage

_REASON_LINES_MAX: Final = 8
_KEEP_ALIVE_S: Final = 24 * 3600  # the gateway keeps its connections, and closes them when it wants to
_DRAIN_S: Final = 3600  # after SIGTERM requests may run to their end; the node's grace ends this, not we


def main(values: dict[str, Any], ready: int, stage: Stage | None = None) -> int:
    """Serve; returns the exit status. `ready` is the descriptor of the ready pipe, closed by this. `stage` is what was
    set up ahead of the order.

    The caller ends the process by os._exit: libraries that were imported before the fork may have threads that live in
    the zygote only, and the usual way out would wait for them.
    """
    config = InstanceConfig.from_dict(values)
    pipe = ReadyPipe(ready)
    _set_up_output(config.instance_concurrency)
    if MODEL_HANDLER.fullmatch(config.handler):
        return _serve_model(config, pipe)
    isolation.enter(config.code, os.environ.get("PYTHONPATH", ""), config.site)
    try:
        if stage is None or not stage.is_for(config):
            stage = Stage.set_up(config)
    except BaseException as error:
        traceback.print_exc()
        pipe.say(failed=_reason(config, error))
        return _leave(1)
    server: Server | PlainServer
    if stage.kind is HandlerKind.PLAIN:
        server = PlainServer(stage.app, config.socket, _DRAIN_S, lambda: pipe.say(ready=True))
    else:
        server = Server(stage.app, stage.kind, config, pipe)
    try:
        with asyncio.Runner(loop_factory=stage.event_loop) as runner:
            runner.run(server.serve())
    except OSError as error:
        pipe.say(failed=f"the instance could not listen on {config.socket}: {error}")
        return _leave(1)
    except SystemExit as error:
        return _leave(error.code if isinstance(error.code, int) else 1)
    return _leave(0 if server.started else 1)


def _serve_model(config: InstanceConfig, pipe: ReadyPipe) -> int:
    """A model instead of code: nothing of the function's own runs in this process."""
    from runtime.instance import models

    try:
        models.serve(config, _DRAIN_S, lambda: pipe.say(ready=True))
    except OSError as error:
        pipe.say(failed=f"the instance could not listen on {config.socket}: {error}")
        return _leave(1)
    except Exception as error:
        traceback.print_exc()
        pipe.say(failed=f"Function instance could not be started: {error}")
        return _leave(1)
    return _leave(0)


class ReadyPipe:
    """Tells the node one thing, once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, **message: Any) -> None:
        if self._descriptor < 0:
            return
        with contextlib.suppress(BrokenPipeError):  # that node is gone; the next one finds us by our socket
            os.write(self._descriptor, json.dumps(message).encode() + b"\n")
        os.close(self._descriptor)
        self._descriptor = -1


class Server(uvicorn.Server):
    """uvicorn on the instance's unix socket, without its ticks: an idle instance does not wake up."""

    def __init__(self, app: InstanceApp, kind: HandlerKind, config: InstanceConfig, pipe: ReadyPipe) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                uds=config.socket,
                http=HttpToolsProtocol,
                ws=WSProtocol if kind is HandlerKind.ASGI else "none",
                # The gateway ends what is silent for too long. A pong is not read while a function works on a message:
                # to ask for one in time would end the conversations of slow functions.
                ws_ping_interval=None,
                lifespan="auto" if kind is HandlerKind.ASGI else "off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_DRAIN_S,
            )
        )
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


def _set_up_output(concurrency: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    if concurrency > 1:
        sys.stdout, sys.stderr = log_tail.tap(sys.stdout), log_tail.tap(sys.stderr)
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(_add_request_id)
    line = logging.Formatter("%(asctime)s.%(msecs)03dZ %(request_id)s [%(levelname)s] %(message)s", "%Y-%m-%dT%H:%M:%S")
    line.converter = time.gmtime
    handler.setFormatter(line)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = REQUEST_ID.get()
    return True


def _reason(config: InstanceConfig, error: BaseException) -> str:
    if isinstance(error, HandlerError):
        return f"Function instance could not be started: {error}"
    lines = "".join(traceback.format_exception(error)).strip().splitlines()
    return f"Function instance could not be started: importing handler '{config.handler}' failed. " + "\n".join(
        lines[-_REASON_LINES_MAX:]
    )


def _leave(status: int) -> int:
    """What a process does at its end, but for waiting on threads."""
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status
