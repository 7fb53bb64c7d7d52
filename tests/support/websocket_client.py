"""A WebSocket to an instance at an address of the node's, or to a port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from control_plane.cli.websocket import Closed, Refused, WebSocket

__all__ = ["Closed", "Refused", "websocket"]
TIMEOUT_S = 20.0


@asynccontextmanager
async def websocket(
    address: str, target: str, headers: Mapping[str, str] | None = None, subprotocols: list[str] | None = None
) -> AsyncIterator[WebSocket]:
    kind, _, place = address.partition(":")
    if kind == "unix":
        reader, writer = await asyncio.open_unix_connection(place)
    else:
        host, _, port = place.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    talk = WebSocket(reader, writer, host="stoke", target=target, headers=headers or {}, subprotocols=subprotocols)
    async with asyncio.timeout(TIMEOUT_S), talk:
        yield talk
