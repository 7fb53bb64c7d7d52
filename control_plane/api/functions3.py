"""Functions as FC 3.0 has them: no services in sight, one made and removed with its function."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from control_plane import registry_auth
from control_plane.api import fc3, functions, services, shapes3, tags_v2, wire
from control_plane.api.auth import check_service
from control_plane.api.context import Context, context, deleted, updated
from control_plane.errors import AlreadyExists, InvalidArgument
from control_plane.listing import filtered
from control_plane.model import Function, Service
from control_plane.registry.keys import fc3_name, fc3_split


async def create(request: Request) -> Response:
    """Its service comes with it, unless it is there already."""
    at = context(request)
    given = await wire.read_object(request, at.limits.code_body_bytes_max)
    name = given.get("functionName")
    if name is None:
        raise InvalidArgument("functionName is missing: it is required")
    if not isinstance(name, str) or not name:
        shown = wire.shorten(json.dumps(name, ensure_ascii=False))
        raise InvalidArgument(f"functionName is {shown}: must be a string with at least one character")
    service, function = fc3_split(name)
    check_service(request, service)
    code = await functions.stored_code(at, given)
    body, of_service = shapes3.to_records(given)
    known = {"serviceName": service, "functionName": function}
    with _own_words(given):
        new = wire.build(Function, body, read_only=functions.READ_ONLY, **known, **code)
        functions.check(new)
    new = registry_auth.taken(new, None, at.box.seal)
    await functions.equip(at, new)
    try:
        made = await at.registry.create_function_with_service(new, _service_change(service, of_service))
        return await _reply(at, made)
    except AlreadyExists as error:
        raise AlreadyExists("Function", f"function '{name}' already exists") from error


async def get(request: Request) -> Response:
    return await _reply(context(request), await functions.asked_for(request))


async def update(request: Request) -> Response:
    """Only the keys that are given change; a group such as `gpuConfig` counts as one key."""
    at = context(request)
    given = await wire.read_changes(request, at.limits.code_body_bytes_max)
    service, name = wire.service_name(request), wire.path_name(request, "function")
    await at.registry.get_function(service, name)
    code = await functions.stored_code(at, given)
    body, of_service = shapes3.to_records(given)

    async def attempt() -> Function:
        stored = await at.registry.get_function(service, name)
        wire.check_match(request, stored)
        known = {"serviceName": service, "functionName": name}
        with _own_words(given):
            new = wire.merge(stored, body, read_only=functions.READ_ONLY, **known, **code)
            functions.check(new)
        new = registry_auth.taken(new, stored, at.box.seal)
        if code:
            await functions.equip(at, new)
        if not of_service:
            return await at.registry.update_function(new, based_on=stored)
        change = _service_change(service, of_service)
        return await at.registry.update_function_with_service(new, change, based_on=stored)

    return await _reply(at, await updated(attempt))


async def delete(request: Request) -> Response:
    """A function that has its service to itself takes its aliases, its versions and the service along."""
    registry = context(request).registry
    service, name = wire.service_name(request), wire.path_name(request, "function")
    remove = registry.delete_function_with_service if service == name else registry.delete_function
    return await deleted(
        request, lambda: registry.get_function(service, name), lambda stored: remove(service, name, based_on=stored)
    )


async def list_all(request: Request) -> Response:
    at = context(request)
    page = await filtered(at.registry.list_every_function, wire.list_query(request), _filter(request), _name)
    owners = await at.registry.get_services({function.service_name for function in page.items})
    shown = [
        await _shown_with(
            at, function, owners.get(function.service_name) or Service(service_name=function.service_name)
        )
        for function in page.items  # a service that went away between the reads shows as one where nothing is set
    ]
    return wire.listing("functions", page, shown)


async def disable(request: Request) -> Response:
    """No request enters any more. Those that are inside go on: aborting them is not offered."""
    at = context(request)
    given = await wire.read_object(request, at.limits.body_bytes_max)
    reason = given.get("reason", "")
    if not isinstance(reason, str):
        raise InvalidArgument(f"reason is {wire.shorten(repr(reason))}: must be a string")
    if given.get("abortOngoingRequest") is True:
        raise InvalidArgument("abortOngoingRequest is true: must be false, as requests inside are let finish")
    return await _restricted(request, {"disable": True, "reason": reason})


async def enable(request: Request) -> Response:
    return await _restricted(request, None)


async def _restricted(request: Request, restriction: dict[str, Any] | None) -> Response:
    at = context(request)
    service, name = wire.service_name(request), wire.path_name(request, "function")
    function = await at.registry.restrict_function(service, name, restriction)
    return wire.reply(await _shown(at, function) | {"success": True}, of=function)


async def _reply(at: Context, function: Function) -> Response:
    return wire.reply(await _shown(at, function), of=function)


async def _shown(at: Context, function: Function) -> dict[str, Any]:
    return await _shown_with(at, function, await at.registry.get_service(function.service_name))


async def _shown_with(at: Context, function: Function, owner: Service) -> dict[str, Any]:
    arn = fc3.function_arn(at.settings, function.service_name, function.function_name)
    return shapes3.shown(function, owner, _name(function), arn) | shapes3.progress(
        function, await at.environments.of(function)
    )


@contextmanager
def _own_words(given: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except InvalidArgument as error:
        error.message = shapes3.in_own_words(error.message, given)
        raise


def _name(function: Function) -> str:
    return fc3_name(function.service_name, function.function_name)


def _filter(request: Request) -> Any:
    """What a list is narrowed by, beside the prefix of the name."""
    asked = request.query_params
    version = asked.get("fcVersion", "")

    def keep(function: Function) -> bool:
        is_fc2 = function.service_name != function.function_name
        gpu = "" if function.instance_type in (None, *shapes3.PLAIN_TYPES) else function.instance_type
        return (
            (not version or version.lower() == ("v2" if is_fc2 else "v3"))
            and asked.get("runtime", function.runtime) in ("", function.runtime)
            and asked.get("functionName", "") in _name(function)
            and asked.get("description", "") in (function.description or "")
            and asked.get("gpuType", gpu) in ("", gpu)
            and _tags(asked.get("tags", "")).items() <= tags_v2.of_function(function).items()
        )

    return keep


def _tags(text: str) -> dict[str, str]:
    """`[{"Key": …, "Value": …}]` in one text."""

    if not text:
        return {}
    try:
        items = [{key.lower(): value for key, value in item.items()} for item in json.loads(text)]
        return {str(item["key"]): str(item.get("value", "")) for item in items}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidArgument(f"tags is '{wire.shorten(text)}': must be a JSON list of key and value") from error


def _service_change(name: str, given: dict[str, Any]) -> Callable[[Service | None], Service]:
    """What a body says of the function's service: of a new one, or of the one that is there."""

    def change(stored: Service | None) -> Service:
        if stored is None:
            return services.checked(wire.build(Service, given, serviceName=name))
        return services.checked(wire.merge(stored, given, serviceName=name))

    return change
