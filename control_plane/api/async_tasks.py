"""FC 3.0's asynchronous tasks: the same invocations as FC 2.0's stateful ones, in its words."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import async_invocations, fc3, wire
from control_plane.api.context import Context, context
from control_plane.errors import NotFound
from runtime.async_invocation.store import Stored

_SAME = (
    "status",
    "startedTime",
    "endTime",
    "durationMs",
    "requestId",
    "qualifier",
    "instanceId",
    "alreadyRetriedTimes",
    "destinationStatus",
    "events",
)


async def get(request: Request) -> Response:
    at = context(request)
    service, function = await async_invocations.function_of(request)
    task = wire.path_name(request, "task")
    try:
        stored = await at.invocations.get(service, function, task)
    except NotFound as error:
        raise _unknown(task) from error
    return wire.reply(shown(at, stored, with_payload=True))


async def list_all(request: Request) -> Response:
    at = context(request)
    service, function = await async_invocations.function_of(request)
    page = await at.invocations.list(service, function, async_invocations.query_of(request, "prefix"))
    with_payload = async_invocations.wants_payload(request)
    return wire.listing("tasks", page, [shown(at, stored, with_payload=with_payload) for stored in page.items])


async def stop(request: Request) -> Response:
    service, function = await async_invocations.function_of(request)
    task = wire.path_name(request, "task")
    try:
        await context(request).invocations.stop(service, function, task)
    except NotFound as error:
        raise _unknown(task) from error
    return wire.no_content()


def shown(at: Context, stored: Stored, *, with_payload: bool) -> dict[str, Any]:
    invocation = async_invocations.shown(stored, with_payload=with_payload)
    record = stored.record
    value = {name: invocation[name] for name in _SAME} | {
        "taskId": record.invocation_id,
        "functionArn": fc3.function_arn(at.settings, record.service, record.function, record.qualifier),
        "taskErrorMessage": record.error,
    }
    if with_payload:
        value["taskPayload"] = invocation["invocationPayload"]
        value["returnPayload"] = invocation["returnPayload"]
    return value


def _unknown(task: str) -> NotFound:
    return NotFound("AsyncTask", f"async task '{wire.shorten(task)}' does not exist")
