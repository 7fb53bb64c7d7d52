"""What a built-in server of a function needs that is not any one instance's own: it can be set up ahead of its order.

Nothing of the function runs for it but what its import has run already.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import uvloop

from runtime.contract import HEADER_CONTROL_PATH, PATH_INITIALIZE, PATH_PRE_STOP
from runtime.instance import asgi_server
from runtime.instance.app import InstanceApp
from runtime.instance.asgi import Receive, Scope, Send, answer
from runtime.instance.config import InstanceConfig
from runtime.instance.handler import HandlerKind, is_name, kind_of, load
from runtime.instance.plain import Hook, PlainInstance
from runtime.instance.plain_server import PlainServer

_REHEARSED: Final = (
    f"POST {PATH_INITIALIZE} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: 0\r\n"
    f"{HEADER_CONTROL_PATH}: {PATH_INITIALIZE}\r\n\r\n"
).encode()
_REHEARSAL_S_MAX: Final = 1.0  # an order may have come by then


@dataclass(frozen=True, slots=True)
class Stage:
    """The app of a function."""

    config: InstanceConfig
    app: InstanceApp | PlainInstance
    kind: HandlerKind

    @classmethod
    def set_up(cls, config: InstanceConfig) -> Self:
        """Raises HandlerError, or what the function's module raises if it is imported by this."""
        code = Path(config.code)
        handler = load(code, config.handler, "handler")
        kind = kind_of(handler, config.handler)
        hooks: dict[str, Hook] = {}
        for path, field, name in (
            (PATH_INITIALIZE, "initializer", config.initializer),
            (PATH_PRE_STOP, "preStop", config.pre_stop),
        ):
            # "module.function" is called. Anything else ("true", "/initialize") says that the app has such a path.
            if name and (kind is HandlerKind.PLAIN or is_name(name)):
                hooks[path] = load(code, name, field)
        if kind is HandlerKind.PLAIN:
            return cls(config, PlainInstance(handler, config.instance_concurrency, hooks), kind)
        return cls(config, InstanceApp(handler, kind, config.instance_concurrency, hooks), kind)

    def is_for(self, config: InstanceConfig) -> bool:
        """Whether an instance of `config` is served by this: its socket is the only thing that may differ."""
        return replace(self.config, socket=config.socket) == config


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a process has ahead of its order. `stage` None = nothing of a function: a model has none."""

    stage: Stage | None = None
    event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop

    @classmethod
    def rehearsed(cls, stage: Stage | None) -> Self:
        """With an event loop that is there already and has served a request of an app that is not the function's: what
        that touches is a page of this process's own after it. For one process: it is not forked after this."""
        loop = uvloop.new_event_loop()
        loop.run_until_complete(_rehearse(HandlerKind.PLAIN if stage is None else stage.kind))
        return cls(stage, lambda: loop)


async def _rehearse(kind: HandlerKind) -> None:
    if kind is HandlerKind.PLAIN:
        protocol = PlainServer(PlainInstance(_no_event, 1, {}), "", 0.0, lambda: None).connection()
    else:
        protocol = asgi_server.connection(InstanceApp(_no_request, HandlerKind.ASGI, 1, {}), kind)
    here, there = socket.socketpair()
    async with asyncio.timeout(_REHEARSAL_S_MAX):
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, here)
        reader, writer = await asyncio.open_connection(sock=there)
        writer.write(_REHEARSED)
        await reader.read()
        writer.close()
        await writer.wait_closed()


async def _no_event(event: object, context: object) -> bytes:  # noqa: ARG001 - a handler's
    return b""


async def _no_request(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an app's
    await answer(send, 200, [], b"")
