"""HTTP triggers of a function. `triggerConfig` is an object in 2016-08-15 and a string of JSON in 2021-04-06."""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import fc3, wire
from control_plane.api.context import Context, context, deleted, updated
from control_plane.errors import InvalidArgument
from control_plane.model import Trigger
from runtime.contract import LATEST, PROXY_PREFIX

READ_ONLY: Final = frozenset(
    {
        "triggerId",
        "subdomain",
        "createdTime",
        "lastModifiedTime",
        "domainName",
        "urlInternet",
        "urlIntranet",
        "httpTrigger",
        "targetArn",
        "status",
    }
)


async def create(request: Request) -> Response:
    at = context(request)
    trigger = wire.build(Trigger, await _given(request), read_only=READ_ONLY)
    service, function = _function(request)
    return _reply(request, at, await at.registry.create_trigger(service, function, trigger))


async def get(request: Request) -> Response:
    at = context(request)
    trigger = await at.registry.get_trigger(*_function(request), wire.path_name(request, "trigger"))
    return _reply(request, at, trigger)


async def update(request: Request) -> Response:
    """Only the keys that are given change; `triggerConfig` counts as one key."""
    at = context(request)
    given = await _given(request)
    service, function = _function(request)
    name = wire.path_name(request, "trigger")

    async def attempt() -> Trigger:
        stored = await at.registry.get_trigger(service, function, name)
        wire.check_match(request, stored)
        kind = {"triggerName": name, "triggerType": stored.trigger_type}
        new = wire.merge(stored, given, read_only=READ_ONLY, **kind)
        return await at.registry.update_trigger(service, function, new, based_on=stored)

    return _reply(request, at, await updated(attempt))


async def delete(request: Request) -> Response:
    registry = context(request).registry
    service, function = _function(request)
    name = wire.path_name(request, "trigger")
    return await deleted(
        request,
        lambda: registry.get_trigger(service, function, name),
        lambda stored: registry.delete_trigger(service, function, name, based_on=stored),
    )


async def list_all(request: Request) -> Response:
    at = context(request)
    page = await at.registry.list_triggers(*_function(request), wire.list_query(request))
    return wire.listing("triggers", page, [_shown(request, at, trigger) for trigger in page.items])


def _function(request: Request) -> tuple[str, str]:
    return wire.service_name(request), wire.path_name(request, "function")


async def _given(request: Request) -> dict[str, Any]:
    given = await wire.read_changes(request, context(request).limits.body_bytes_max)
    kind = given.get("triggerType")
    if kind not in (None, "http"):
        raise InvalidArgument(f'triggerType is {json.dumps(kind)}: must be "http", the one type served here')
    config = given.get("triggerConfig")
    if isinstance(config, str):
        try:
            given["triggerConfig"] = wire.parse_json(config)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"triggerConfig is not valid JSON: {error}") from error
    return given


def _reply(request: Request, at: Context, trigger: Trigger) -> Response:
    return wire.reply(_shown(request, at, trigger), of=trigger)


def _shown(request: Request, at: Context, trigger: Trigger) -> dict[str, Any]:
    service, function = _function(request)
    values = wire.dumped(trigger, "subdomain")
    if not wire.version_2016(request):
        values["triggerConfig"] = json.dumps(values["triggerConfig"], separators=(",", ":"))
    # From the settings, never from Host: some FC clients leave the port out of it.
    url = f"{at.settings.public_url.rstrip('/')}{PROXY_PREFIX}{_invoked(service, trigger.qualifier)}/{function}/"
    shown: dict[str, Any] = {"domainName": trigger.subdomain, "urlInternet": url, "urlIntranet": url}
    if fc3.is_asked(request):
        shown["httpTrigger"] = {"urlInternet": url, "urlIntranet": url}
        shown["targetArn"] = fc3.function_arn(at.settings, service, function)
        shown["status"] = "Active"
    return values | shown


def _invoked(service: str, qualifier: str | None) -> str:
    return service if qualifier in (None, "", LATEST) else f"{service}.{qualifier}"
