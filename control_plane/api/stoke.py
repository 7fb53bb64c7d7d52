"""Stoke's own questions under /stoke/v1, for its CLI, its dashboard and Prometheus. Spelled in snake_case."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from control_plane.api import wire
from control_plane.api.auth import access_of, check_service
from control_plane.api.context import Context, context
from control_plane.api.functions import stored_code
from control_plane.api.presigned import is_good
from control_plane.errors import AccessDenied, InvalidArgument
from control_plane.listing import Query
from control_plane.model import QualifiedFunction
from runtime.contract import LATEST, InstanceState

_ENVIRONMENT_WAIT_S_MAX = 60


async def status(request: Request) -> Response:
    """Which Stoke this is, how many instances it has in each state, its machine, and whether its store answers.

    Whoever has not signed is told the version, and that Stoke serves.
    """
    at = context(request)
    await at.registry.list_services(Query(limit=1))  # raises Unavailable while the store is away
    if access_of(request) is None:
        return wire.reply({"version": version("stoke")})
    views = at.fleet.all_instances()
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
    _check_instance(request, at)
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


def _check_instance(request: Request, at: Context) -> None:
    """Whether a key that is for some services may see this instance. Nobody knows whose a forgotten one was."""
    instance_id = wire.path_name(request, "instance")
    owners = [view.service for view in at.fleet.all_instances() if view.instance_id == instance_id]
    check_service(request, owners[0] if owners else "")


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
    at, asked = context(request), request.query_params
    if access_of(request) is None:
        expires, signature = asked.get("expires", ""), asked.get("signature", "")
        if not is_good(request.url.path, expires, signature, at.url_key, time.time()):
            message = "the URL is not signed, or was good until earlier: ask for the function's code again"
            raise AccessDenied(message)
    zip_bytes = await at.code.get(wire.path_name(request, "sha256"))
    return Response(zip_bytes, media_type="application/zip")


async def prepare_environment(request: Request) -> Response:
    """Have made what the requirements.txt of `code` asks for, ahead of deploying it; deploys nothing."""
    at = context(request)
    given = await wire.read_object(request, at.limits.code_body_bytes_max)
    stored = await stored_code(at, given)
    if not stored:
        raise InvalidArgument("code is missing: it is required")
    return wire.reply(asdict(await at.environments.prepare(stored["codeSha256"])))


async def environment(request: Request) -> Response:
    """How far an environment is; `wait_seconds` waits until that has changed."""
    wait_s = wire.whole_number(request, "wait_seconds", 0, 0, _ENVIRONMENT_WAIT_S_MAX)
    return wire.reply(asdict(await context(request).environments.look(wire.path_name(request, "sha256"), wait_s)))


async def metrics(request: Request) -> Response:
    from control_plane.api import metrics as rendering  # with its library, which nobody else needs

    at = context(request)
    return Response(await rendering.render(at.registry, at.fleet), media_type=rendering.CONTENT_TYPE)
