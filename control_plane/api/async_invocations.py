"""Stateful asynchronous invocations: get, list, stop."""

from __future__ import annotations

import base64
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context
from control_plane.errors import InvalidArgument
from control_plane.listing import InvocationQuery
from runtime.async_invocation.records import Status
from runtime.async_invocation.store import Stored

_MS_MAX: Final = 10**12 * 9


async def get(request: Request) -> Response:
    service, function = await function_of(request)
    stored = await context(request).invocations.get(service, function, wire.path_name(request, "invocation"))
    return wire.reply(shown(stored, with_payload=True))


async def list_all(request: Request) -> Response:
    service, function = await function_of(request)
    query = query_of(request, "invocationIdPrefix")
    page = await context(request).invocations.list(service, function, query)
    with_payload = wants_payload(request)
    return wire.listing("invocations", page, [shown(stored, with_payload=with_payload) for stored in page.items])


async def stop(request: Request) -> Response:
    service, function = await function_of(request)
    await context(request).invocations.stop(service, function, wire.path_name(request, "invocation"))
    return wire.no_content()


def shown(stored: Stored, *, with_payload: bool) -> dict[str, Any]:
    """As FC spells it. What has not come yet is 0 or an empty string; a payload that is no UTF-8 is in base64."""
    record = stored.record
    duration_s = record.ended_at_s - record.started_at_s if record.ended_at_s and record.started_at_s else 0.0
    value: dict[str, Any] = {
        "invocationId": record.invocation_id,
        "status": record.status.value,
        "startedTime": _ms(record.enqueued_at_s),
        "endTime": _ms(record.ended_at_s),
        "durationMs": _ms(duration_s),
        "requestId": record.request_id,
        "serviceName": record.service,
        "functionName": record.function,
        "qualifier": record.qualifier,
        "instanceId": record.instance_id,
        "alreadyRetriedTimes": max(0, record.attempts - 1),
        "destinationStatus": record.delivery.value,
        "invocationErrorMessage": record.error,
        "events": [
            {
                "eventId": number,
                "status": event["status"],
                "eventDetail": event["detail"],
                "timestamp": _ms(event["at_s"]),
            }
            for number, event in enumerate(record.events, start=1)
        ],
    }
    if with_payload:
        value["invocationPayload"] = _text(stored.payload)
        value["returnPayload"] = _text(stored.result)
    return value


async def function_of(request: Request) -> tuple[str, str]:
    target = wire.qualified(request)
    await context(request).registry.get_function(target.service_name, target.function_name, target.qualifier)
    return target.service_name, target.function_name


def wants_payload(request: Request) -> bool:
    return request.query_params.get("includePayload", "").lower() == "true"


def query_of(request: Request, prefix_name: str) -> InvocationQuery:
    """What a listing is narrowed by; the parameter `prefix_name` is how the ids begin."""
    asked = request.query_params
    status, order = asked.get("status", ""), asked.get("sortOrderByTime", "desc")
    if status and status not in {each.value for each in Status}:
        allowed = ", ".join(each.value for each in Status)
        raise InvalidArgument(f"status is '{status[:80]}': must be one of {allowed}")
    if order.lower() not in ("asc", "desc"):
        raise InvalidArgument(f"sortOrderByTime is '{order[:80]}': must be asc or desc")
    path_has_qualifier = "." in wire.path_name(request, "service")  # FC 2.0
    return InvocationQuery(
        prefix=asked.get(prefix_name, ""),
        status=status,
        qualifier=wire.service_and_qualifier(request)[1] if path_has_qualifier or asked.get("qualifier") else "",
        begin_ms=wire.whole_number(request, "startedTimeBegin", 0, 0, _MS_MAX),
        end_ms=wire.whole_number(request, "startedTimeEnd", 0, 0, _MS_MAX) or None,
        newest_first=order.lower() == "desc",
        limit=wire.whole_number(request, "limit", wire.LIST_LIMIT, 1, wire.LIST_LIMIT_MAX),
        next_token=asked.get("nextToken", ""),
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()
