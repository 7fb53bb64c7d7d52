"""Who hears of each request to a function that is over: the access log and the collector of spans, where they are asked
for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from runtime.gateway.access_log import AccessLog, Record
from runtime.gateway.settings import GatewaySettings


class Finished:
    """`record` takes the record of a request; it is None where nobody wants any, so that none is made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: GatewaySettings) -> None:
        """Raises OSError: the access log's file cannot be opened."""
        add: list[Callable[[Record], None]] = []
        self._close: list[Callable[[], Awaitable[None]]] = []
        if settings.access_log:
            access_log = AccessLog(loop, settings.access_log)
            add.append(access_log.add)
            self._close.append(access_log.close)
        if settings.otlp_endpoint:
            from runtime.gateway.tracing import Tracing  # which costs memory where nobody wants it

            tracing = Tracing(loop, settings)
            add.append(tracing.add)
            self._close.append(tracing.close)
        self.record: Final = _to_each(add)

    async def close(self) -> None:
        """Write and send what is left."""
        for close in self._close:
            await close()


def _to_each(add: list[Callable[[Record], None]]) -> Callable[[Record], None] | None:
    if len(add) < 2:
        return add[0] if add else None

    def tell(record: Record) -> None:
        for each in add:
            each(record)

    return tell
