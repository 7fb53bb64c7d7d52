"""The life of a built-in server: load the function, listen, say so on the ready pipe, serve until SIGTERM.

The process is already what it is to be (environment, output, folder) when `main` is called.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import io
import logging
import os
import sys
import time
import traceback
from typing import Any

from runtime.contract import MODEL_HANDLER
from runtime.instance import failure, isolation, log_tail, printed
from runtime.instance.asgi_server import DRAIN_S, Server
from runtime.instance.config import InstanceConfig
from runtime.instance.context import REQUEST_ID
from runtime.instance.handler import HandlerError
from runtime.instance.plain import PlainInstance
from runtime.instance.plain_server import PlainServer
from runtime.instance.ready_pipe import ReadyPipe
from runtime.instance.stage import Prepared, Stage


def main(values: dict[str, Any], ready: int, prepared: Prepared) -> int:
    """Serve; returns the exit status. `ready` is the descriptor of the ready pipe, closed by this. `prepared` is what
    it has ahead of its order.

    The caller ends the process by os._exit: libraries that were imported before the fork may have threads that live in
    the zygote only, and the usual way out would wait for them.
    """
    config = InstanceConfig.from_dict(values)
    pipe = ReadyPipe(ready)
    _set_up_output(config.instance_concurrency)
    if MODEL_HANDLER.fullmatch(config.handler):
        return _serve_model(config, pipe, prepared)
    isolation.enter(config.code, os.environ.get("PYTHONPATH", ""), config.site)
    try:
        stage = prepared.stage
        if stage is None or not stage.is_for(config):
            stage = Stage.set_up(config)
    except BaseException as error:
        traceback.print_exc()
        pipe.say(failed=_reason(config, error))
        return _leave(1)
    server: Server | PlainServer
    if isinstance(stage.app, PlainInstance):
        server = PlainServer(stage.app, config.socket, DRAIN_S, lambda: pipe.say(ready=True))
    else:
        server = Server(stage.app, stage.kind, config, pipe)
    try:
        with asyncio.Runner(loop_factory=prepared.event_loop) as runner:
            runner.run(server.serve())
    except OSError as error:
        pipe.say(failed=f"the instance could not listen on {config.socket}: {error}")
        return _leave(1)
    except SystemExit as error:
        return _leave(error.code if isinstance(error.code, int) else 1)
    return _leave(0 if server.started else 1)


def _serve_model(config: InstanceConfig, pipe: ReadyPipe, prepared: Prepared) -> int:
    """A model instead of code: nothing of the function's own runs in this process."""
    from runtime.instance import models

    try:
        models.serve(config, DRAIN_S, lambda: pipe.say(ready=True), prepared.event_loop)
    except OSError as error:
        pipe.say(failed=f"the instance could not listen on {config.socket}: {error}")
        return _leave(1)
    except Exception as error:
        traceback.print_exc()
        pipe.say(failed=f"Function instance could not be started: {error}")
        return _leave(1)
    return _leave(0)


def _set_up_output(concurrency: int) -> None:
    kind = log_tail.Tapped if concurrency > 1 else io.TextIOWrapper
    sys.stdout, sys.stderr = printed.stream(1, kind), printed.stream(2, kind)
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
    why = failure.told(error, config.code)
    return f"Function instance could not be started: importing handler '{config.handler}' failed: {why}"


def _leave(status: int) -> int:
    """What a process does at its end, but for waiting on threads."""
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status
