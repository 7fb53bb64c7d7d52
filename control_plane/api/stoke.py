"""Stoke's own questions under /stoke/v1, for its CLI, its dashboard and Prometheus. Spelled in snake_case."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from control_plane.api import wire
from control_plane.api.context import context
from control_plane.errors import InvalidArgument
from control_plane.model import QualifiedFunction
from control_plane.ports import Query
from runtime.contract import LATEST, InstanceState


async def status(request: Request) -> Response:
    """Which Stoke this is, how many instances it has in each state, its machine, and whether its store answers."""
    at = context(request)
    views = at.fleet.all_instances()
    await at.registry.list_services(Query(limit=1))  # raises Unavailable while the store is away
    counted = Counter(view.state for view in views)
    return wire.reply(
        {
            "version": version("stoke"),
            "region": at.settings.region,
            "account_id": at.settings.account_id,
            "public_url": at.settings.public_url,
            "instances": {state.value: counted[state.value] for state in InstanceState},
            "in_flight": sum(view.in_flight for view in views),
            "node": None if (node := at.fleet.node()) is None else asdict(node),
        }
    )


async def instances(request: Request) -> Response:
    service, function = request.query_params.get("service", ""), request.query_params.get("function", "")
    shown = [
        asdict(view)
        for view in context(request).fleet.all_instances()
        if service in ("", view.service) and function in ("", view.function)
    ]
    return wire.reply({"instances": shown})


async def provision(request: Request) -> Response:
    """What holds of one provision config now, and why."""
    at = context(request)
    target = await asked_for(request)
    now = asdict(at.fleet.provision_status(target, await at.registry.get_provision(target)))
    now["currentError"] = now.pop("current_error")  # the name under which FC's users know it
    return wire.reply(now)


async def asked_for(request: Request) -> QualifiedFunction:
    """The function that `service`, `qualifier` and `function` name. Raises NotFound, InvalidArgument."""
    asked = request.query_params
    for name in ("service", "function"):
        if not asked.get(name):
            raise InvalidArgument(f"{name} is missing: it is required")
    target = wire.build(
        QualifiedFunction,
        {},
        serviceName=asked["service"],
        qualifier=asked.get("qualifier") or LATEST,
        functionName=asked["function"],
    )
    await context(request).registry.get_function(target.service_name, target.function_name, target.qualifier)
    return target


async def logs(request: Request) -> Response:
    """The end of an instance's output as text; with `follow=true` also what it adds, until it ends."""
    at = context(request)
    tail_bytes = wire.whole_number(request, "tail_bytes", 64 * 1024, 0, at.limits.log_tail_bytes_max)
    follow = request.query_params.get("follow", "").lower() in ("1", "true")
    pieces = at.fleet.logs(wire.path_name(request, "instance"), tail_bytes=tail_bytes, follow=follow)
    first = asyncio.ensure_future(anext(pieces, None))
    # That there is no such log comes with the first piece, and can only be answered before the body begins.
    try:
        await asyncio.wait([first], timeout=at.limits.log_first_piece_s)
    except asyncio.CancelledError:
        first.cancel()
        raise
    if first.done():
        first.result()
    return StreamingResponse(_from_first(first, pieces), media_type="text/plain; charset=utf-8")


async def _from_first(first: asyncio.Future[bytes | None], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        piece = await first
        if piece is None:
            return
        yield piece
        async for piece in rest:
            yield piece
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        if isinstance(rest, AsyncGenerator):
            await rest.aclose()  # what it reads from is let go now, not when it is collected


async def code(request: Request) -> Response:
    """A function's zip by its SHA-256: where GetFunctionCode's url points."""
    zip_bytes = await context(request).code.get(wire.path_name(request, "sha256"))
    return Response(zip_bytes, media_type="application/zip")


async def metrics(request: Request) -> Response:
    from control_plane.api import metrics as rendering  # with its library, which nobody else needs

    at = context(request)
    return Response(await rendering.render(at.registry, at.fleet), media_type=rendering.CONTENT_TYPE)
