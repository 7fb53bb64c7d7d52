"""What a built-in server of a function needs that is not any one instance's own: it can be set up ahead of its order.

Nothing of the function runs for it but what its import has run already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import uvloop

from runtime.contract import PATH_INITIALIZE, PATH_PRE_STOP
from runtime.instance.app import Hook, InstanceApp
from runtime.instance.config import InstanceConfig
from runtime.instance.handler import HandlerKind, is_name, kind_of, load


@dataclass(frozen=True, slots=True)
class Stage:
    """The app of a function, and how its event loop is had."""

    config: InstanceConfig
    app: InstanceApp
    kind: HandlerKind
    event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop

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
        return cls(config, InstanceApp(handler, kind, config.instance_concurrency, hooks), kind)

    def with_loop(self) -> Self:
        """With an event loop that is there already, and has run once. For one process: it is not forked after this."""
        loop = uvloop.new_event_loop()
        loop.run_until_complete(asyncio.sleep(0))
        return replace(self, event_loop=lambda: loop)

    def is_for(self, config: InstanceConfig) -> bool:
        """Whether an instance of `config` is served by this: its socket is the only thing that may differ."""
        return replace(self.config, socket=config.socket) == config
