"""On-demand, asynchronous invocation and concurrency configs: small records of a function by a qualifier.

The same records are spelled by FC 2.0 with `service`, `function` and `qualifier`, by FC 3.0 with a `functionArn`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import fc3, wire
from control_plane.api.auth import check_service
from control_plane.api.context import Context, Operation, context
from control_plane.errors import InvalidArgument, RequestError
from control_plane.listing import Query, filtered
from control_plane.model import Noun, QualifiedFunction, Setting
from control_plane.registry.keys import fc3_split, provision_name
from control_plane.settings_nouns import AsyncInvokeConfig, ConcurrencyConfig, DestinationConfig, OnDemandConfig
from runtime.async_invocation import destinations

MODELS: Final[dict[Setting, type[Noun]]] = {
    Setting.ON_DEMAND: OnDemandConfig,
    Setting.CONCURRENCY: ConcurrencyConfig,
    Setting.ASYNC_INVOKE: AsyncInvokeConfig,
}
# Which of its fields only one of the API generations knows.
_READ_ONLY: Final = frozenset(
    {"resource", "service", "function", "qualifier", "functionArn", "createdTime", "lastModifiedTime"}
)
_MISSING: Final = {
    Setting.ON_DEMAND: ("on-demand config", "OnDemandConfigNotFound"),
    Setting.CONCURRENCY: ("concurrency config", "ConcurrencyConfigNotFound"),
    Setting.ASYNC_INVOKE: ("async invoke config", "AsyncConfigNotExists"),
}
Action = Literal["put", "get", "delete"]


def operation(kind: Setting, action: Action) -> Operation:
    """PUT, GET or DELETE of one kind."""

    async def put(request: Request) -> Response:
        at = context(request)
        target = wire.qualified(request)
        given = await wire.read_object(request, at.limits.body_bytes_max)
        config: Noun = wire.build(MODELS[kind], given, read_only=_READ_ONLY)
        if isinstance(config, AsyncInvokeConfig):
            _check_destinations(request, config)
        values = config.model_dump(mode="json", by_alias=True, exclude_none=True)
        return wire.reply(_shown(at, request, kind, target, await at.registry.put_setting(kind, target, values)))

    async def get(request: Request) -> Response:
        at = context(request)
        target = wire.qualified(request)
        await at.registry.get_function(target.service_name, target.function_name, target.qualifier)
        values = await at.registry.get_setting(kind, target)
        if values is not None:
            return wire.reply(_shown(at, request, kind, target, values))
        if kind is Setting.CONCURRENCY:  # deploying tools read it whether or not there is one
            return wire.reply({})
        what, code = _MISSING[kind]
        raise RequestError(f"function '{target}' has no {what}", code=code, status=404)

    async def delete(request: Request) -> Response:
        registry = context(request).registry
        target = wire.qualified(request)
        await registry.get_function(target.service_name, target.function_name, target.qualifier)
        await registry.delete_setting(kind, target)
        return wire.no_content()

    return {"put": put, "get": get, "delete": delete}[action]


def listing(kind: Setting) -> Operation:
    """All of one kind: of everything, of the function in the path, or of the one that the query names."""

    async def list_all(request: Request) -> Response:
        at = context(request)
        service, function = _narrowed(request)
        if function and "function" in request.path_params:
            await at.registry.get_function(service, function)
        page = await filtered(
            lambda query: at.registry.list_settings(kind, query, service),
            wire.list_query(request),
            lambda item: function in ("", item[0].function_name),
            token,
        )
        return wire.listing("configs", page, [_shown(at, request, kind, *item) for item in page.items])

    return list_all


async def list_on_demand(request: Request) -> Response:
    """FC 2.0's list, whose `prefix` and `startKey` are of `services/S.Q/functions/F`."""
    at = context(request)
    query = wire.list_query(request)
    prefix = query.prefix
    if prefix and not "services/".startswith(prefix[:9]):
        raise InvalidArgument(f"prefix is '{wire.shorten(prefix)}': must begin with services/")
    service = prefix.removeprefix("services/").partition("/")[0].partition(".")[0] if len(prefix) > 9 else ""
    page = await filtered(
        lambda query: at.registry.list_settings(Setting.ON_DEMAND, query),
        Query(prefix=service, limit=query.limit, next_token=query.next_token),
        lambda item: (resource := _resource(item[0])).startswith(prefix) and resource >= query.start_key,
        token,
    )
    found = [_shown(at, request, Setting.ON_DEMAND, target, values) for target, values in page.items]
    return wire.listing("configs", page, found)


async def list_stateful(request: Request) -> Response:
    """The functions, by their qualifiers, whose asynchronous invocations are kept with their status."""
    registry = context(request).registry
    page = await filtered(
        lambda query: registry.list_settings(Setting.ASYNC_INVOKE, query),
        wire.list_query(request),
        lambda item: item[1].get("statefulInvocation") is True,
        token,
    )
    names = [
        {"serviceName": of.service_name, "functionName": of.function_name, "qualifier": of.qualifier}
        for of, _ in page.items
    ]
    return wire.listing("data", page, names)


def token(listed: tuple[QualifiedFunction, Any]) -> str:
    """What the next page of configs begins with."""
    return provision_name(listed[0].service_name, listed[0].qualifier, listed[0].function_name)


def _check_destinations(request: Request, config: AsyncInvokeConfig) -> None:
    """A key for some services has no other service's function invoked. What is no destination the registry refuses."""
    given = config.destination_config or DestinationConfig()
    for to in (given.on_success, given.on_failure):
        with suppress(ValueError):
            parsed = destinations.parse(to.destination if to else "")
            if isinstance(parsed, destinations.ToFunction):
                check_service(request, parsed.service)


def _narrowed(request: Request) -> tuple[str, str]:
    if "function" in request.path_params:
        return wire.service_name(request), wire.path_name(request, "function")
    name = request.query_params.get("functionName", "")
    return fc3_split(name) if name else ("", "")


def _resource(target: QualifiedFunction) -> str:
    return f"services/{target.service_name}.{target.qualifier}/functions/{target.function_name}"


def _shown(
    at: Context, request: Request, kind: Setting, target: QualifiedFunction, values: dict[str, Any]
) -> dict[str, Any]:
    timed = values if kind is Setting.ASYNC_INVOKE else _without_times(values)
    if fc3.is_asked(request):
        qualifier = "" if kind is Setting.CONCURRENCY else target.qualifier
        arn = fc3.function_arn(at.settings, target.service_name, target.function_name, qualifier)
        return timed | {"functionArn": arn}
    if kind is Setting.ON_DEMAND:
        return timed | {"resource": _resource(target)}
    names = {"service": target.service_name, "function": target.function_name, "qualifier": target.qualifier}
    return timed | names


def _without_times(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ("createdTime", "lastModifiedTime")}
