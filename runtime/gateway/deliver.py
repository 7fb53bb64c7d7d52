"""Takes the result of an asynchronous invocation to its destination. Off the way of every request, bounded in time."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from typing import TYPE_CHECKING, Final

from runtime.async_invocation import destinations
from runtime.async_invocation.destinations import Destination, ToFunction, ToStream, ToUrl
from runtime.async_invocation.records import Invocation, new_invocation
from runtime.async_invocation.retry import delay_s
from runtime.async_invocation.store import Stored
from runtime.gateway.refusal import Refusal
from runtime.gateway.resolve import Names
from runtime.http.framing import header_block

if TYPE_CHECKING:
    from runtime.gateway.gateway import Gateway

log = logging.getLogger(__name__)

TRIES_MAX: Final = 3
HOPS_MAX: Final = 16  # functions that are each other's destination would go on for ever


class Undeliverable(Exception):
    """It did not arrive. `again`: trying once more may help."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


async def deliver(gateway: Gateway, text: str, stored: Stored) -> str:
    """Deliver, trying a few times; gives "" or why it did not arrive. Errors of the store pass through."""
    reason = ""
    for tries in range(1, TRIES_MAX + 1):
        try:
            await _once(gateway, destinations.parse(text), stored)
            return ""
        except ValueError as error:
            return str(error)
        except Undeliverable as error:
            reason = str(error)
            if not error.again:
                break
        if tries < TRIES_MAX:
            await asyncio.sleep(delay_s(tries))
    log.warning("destination-failed request=%s reason=%r", stored.record.request_id, reason)
    return reason


async def _once(gateway: Gateway, to: Destination, stored: Stored) -> None:
    record = stored.record
    names = Names(record.service, record.qualifier, record.function)
    headers = gateway.routes.headers_of(names, record.version)
    event = destinations.event(
        record,
        stored.payload,
        stored.result,
        region=headers.get("x-fc-region", ""),
        account_id=headers.get("x-fc-account-id", ""),
    )
    if isinstance(to, ToFunction):
        await _to_function(gateway, to, record, event)
    elif isinstance(to, ToStream):
        await gateway.async_invocations.store.add_to_stream(to.key, event, gateway.settings.async_stream_length_max)
    else:
        await _to_url(to, event, gateway.settings.async_delivery_timeout_s)


async def _to_function(gateway: Gateway, to: ToFunction, record: Invocation, event: bytes) -> None:
    if record.hops >= HOPS_MAX:
        raise Undeliverable(
            f"{HOPS_MAX} functions have been each other's destination: no more are allowed", again=False
        )
    names = Names(to.service, to.qualifier, to.function)
    try:
        destination = gateway.routes.destination(names, gateway.roll())
    except Refusal as refusal:
        raise Undeliverable(refusal.message, again=False) from None
    if destination.route.is_disabled:
        raise Undeliverable(f"function '{to.function}' is disabled", again=False)
    following = new_invocation(
        time.time(),
        invocation_id=destinations.id_for(record),
        request_id=gateway.request_ids.new(),
        service=to.service,
        function=to.function,
        qualifier=to.qualifier,
        version=destination.route.version,
        hops=record.hops + 1,
        stateful=gateway.routes.async_route(names).stateful,
    )
    await gateway.async_invocations.enqueue(following, event)


async def _to_url(to: ToUrl, event: bytes, timeout_s: float) -> None:
    """POST it; any 2xx is an arrival. What else the server says is not read, so it cannot be long."""
    try:
        async with asyncio.timeout(timeout_s):
            status = await _post(to, event)
    except TimeoutError:
        raise Undeliverable(f"{to.host}: no answer within {timeout_s:g} s", again=True) from None
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise Undeliverable(f"{to.host}: {error}", again=True) from None
    if not 200 <= status < 300:
        raise Undeliverable(f"{to.host}: it answered with status {status}", again=status >= 500 or status == 429)


async def _post(to: ToUrl, event: bytes) -> int:
    context = ssl.create_default_context() if to.scheme == "https" else None
    reader, writer = await asyncio.open_connection(to.host, to.port, ssl=context)
    try:
        host = f"[{to.host}]" if ":" in to.host else to.host
        lines = header_block(
            [
                ("host", f"{host}:{to.port}"),
                ("content-type", "application/json"),
                ("content-length", len(event)),
                ("connection", "close"),
            ]
        )
        writer.write(b"POST %b HTTP/1.1\r\n%b\r\n%b" % (to.target.encode(), lines, event))
        await writer.drain()
        version, _, rest = (await reader.readuntil(b"\n")).partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ValueError("it answered with no HTTP")
        return int(rest[:3])
    finally:
        writer.transport.abort()
