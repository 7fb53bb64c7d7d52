"""FC 3.0's provision configs, and scaling configs, which say the same in other words: a function has one of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import fc3, provision, settings, wire
from control_plane.api.context import Context, context
from control_plane.errors import InvalidArgument
from control_plane.listing import Page, Query, filtered
from control_plane.model import QualifiedFunction, Setting
from control_plane.registry.keys import fc3_split
from provision.config import ProvisionConfig

T = TypeVar("T")

# What a scaling config calls otherwise than a provision config does.
_POLICY_NAMES: Final = {"minInstances": "minCapacity", "maxInstances": "maxCapacity"}
_SCALING_LISTS: Final = {
    "targetTrackingPolicies": "horizontalScalingPolicies",
    "scheduledActions": "scheduledPolicies",
}


async def put(request: Request) -> Response:
    at = context(request)
    target = wire.qualified(request)
    config = await provision.stored(request, target)
    return wire.reply(_shown(at, target, config), of=config)


async def get(request: Request) -> Response:
    """With nothing configured: zeros and an empty `functionArn`, by which FC 3.0's tools know it."""
    at = context(request)
    target = wire.qualified(request)
    await at.registry.get_function(target.service_name, target.function_name, target.qualifier)
    config = await at.registry.get_provision(target)
    return wire.reply(_shown(at, target, config), of=config or ProvisionConfig())


async def delete(request: Request) -> Response:
    """Of either spelling."""
    target = wire.qualified(request)
    registry = context(request).registry
    await registry.get_function(target.service_name, target.function_name, target.qualifier)
    await registry.delete_provision(target)
    return wire.no_content()


async def list_all(request: Request) -> Response:
    at = context(request)
    page = await _page(request, at.registry.list_provision)
    return wire.listing("provisionConfigs", page, [_shown(at, target, config) for target, config in page.items])


async def put_scaling(request: Request) -> Response:
    at = context(request)
    target = wire.qualified(request)
    given = await wire.read_object(request, at.limits.body_bytes_max)
    config = as_provision(given)
    provision.check_urls(at, config)
    await at.registry.put_scaling(target, given, config)
    return wire.reply(_scaling_shown(at, target, given, config))


async def get_scaling(request: Request) -> Response:
    """With nothing configured: zeros and an empty `functionArn`."""
    at = context(request)
    target = wire.qualified(request)
    await at.registry.get_function(target.service_name, target.function_name, target.qualifier)
    given = await at.registry.get_setting(Setting.SCALING, target)
    config = await at.registry.get_provision(target) if given is not None else None
    return wire.reply(_scaling_shown(at, target, given, config))


async def list_scaling(request: Request) -> Response:
    at = context(request)
    page = await _page(request, partial(at.registry.list_settings, Setting.SCALING))
    items = [_scaling_shown(at, target, given, await at.registry.get_provision(target)) for target, given in page.items]
    return wire.listing("scalingConfigs", page, items)


def as_provision(given: dict[str, Any]) -> ProvisionConfig:
    """What a scaling config asks for. Pure; wrong values are told of under the names that the client knows.

    Raises:
        InvalidArgument
    """
    for key in _SCALING_LISTS.values():
        items = given.get(key, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise InvalidArgument(f"{key} is {wire.shorten(repr(items))}: must be a list of objects")
    config = {
        "target": given.get("minInstances", 0),
        "targetTrackingPolicies": [
            {_POLICY_NAMES.get(key, key): value for key, value in item.items()}
            for item in given.get("horizontalScalingPolicies", [])
        ],
        "scheduledActions": given.get("scheduledPolicies", []),
    }
    try:
        return provision.parsed(config)
    except InvalidArgument as error:
        raise InvalidArgument(_in_scaling_words(error.message)) from error


def _in_scaling_words(message: str) -> str:
    for ours, theirs in (*_SCALING_LISTS.items(), ("minCapacity", "minInstances"), ("maxCapacity", "maxInstances")):
        message = message.replace(ours, theirs)
    return "minInstances" + message.removeprefix("target") if message.startswith("target is") else message


async def _page(
    request: Request, list_page: Callable[[Query, str], Awaitable[Page[tuple[QualifiedFunction, T]]]]
) -> Page[tuple[QualifiedFunction, T]]:
    """Of all configs, or of those of the function that `functionName` in the query names."""
    name = request.query_params.get("functionName", "")
    service, function = fc3_split(name) if name else ("", "")
    return await filtered(
        lambda query: list_page(query, service),
        wire.list_query(request),
        lambda item: function in ("", item[0].function_name),
        settings.token,
    )


def _arn(at: Context, target: QualifiedFunction) -> str:
    return fc3.function_arn(at.settings, target.service_name, target.function_name, target.qualifier)


def _shown(at: Context, target: QualifiedFunction, config: ProvisionConfig | None) -> dict[str, Any]:
    status = at.fleet.provision_status(target, config)
    wanted = config or ProvisionConfig()
    return wanted.model_dump(mode="json", by_alias=True) | {
        "functionArn": "" if config is None else _arn(at, target),
        "defaultTarget": wanted.static_target,
        "target": status.target,
        "current": status.current,
        "currentError": status.current_error,
    }


def _scaling_shown(
    at: Context, target: QualifiedFunction, given: dict[str, Any] | None, config: ProvisionConfig | None
) -> dict[str, Any]:
    status = at.fleet.provision_status(target, config)
    return (
        {"minInstances": 0, "horizontalScalingPolicies": [], "scheduledPolicies": []}
        | (given or {})
        | {
            "functionArn": "" if given is None else _arn(at, target),
            "targetInstances": status.target,
            "currentInstances": status.current,
            "currentError": status.current_error,
        }
    )
