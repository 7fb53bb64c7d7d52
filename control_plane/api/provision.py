"""Provision configs: put, get, list."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import fc3, wire
from control_plane.api.context import Context, context, updated
from control_plane.errors import InvalidArgument
from control_plane.model import QualifiedFunction
from control_plane.prometheus import refused_urls
from provision.config import ProvisionConfig, parse
from provision.problems import ConfigError

# FC 2.0 requires the target. Where a list says how many it is taken as 0; a body that says nothing, as it may have a
# slip of the pen where the target should be, must not end all instances.
SAYS_HOW_MANY: Final = frozenset({"target", "defaultTarget", "scheduledActions", "targetTrackingPolicies"})


async def put(request: Request) -> Response:
    at = context(request)
    target = wire.qualified(request)
    config = await stored(request, target)
    return wire.reply(_shown(at, target, config), of=config)


async def get(request: Request) -> Response:
    """With nothing configured: zeros, as clients that wait for instances to go poll this."""
    at = context(request)
    target = wire.qualified(request)
    await at.registry.get_function(target.service_name, target.function_name, target.qualifier)
    config = await at.registry.get_provision(target)
    return wire.reply(_shown(at, target, config), of=config or ProvisionConfig())


async def list_all(request: Request) -> Response:
    at = context(request)
    asked = request.query_params
    page = await at.registry.list_provision(
        wire.list_query(request), asked.get("serviceName", ""), asked.get("qualifier", "")
    )
    return wire.listing("provisionConfigs", page, [_shown(at, target, config) for target, config in page.items])


async def stored(request: Request, target: QualifiedFunction) -> ProvisionConfig:
    """The config in the body, put in the place of the one there if that is the one the client has read.

    Raises:
        PreconditionFailed: `If-Match` names another.
        InvalidArgument: it says nothing of how many, or something wrong.
    """
    at = context(request)
    given = await wire.read_object(request, at.limits.body_bytes_max)
    if not fc3.is_asked(request) and not SAYS_HOW_MANY & given.keys():
        raise InvalidArgument("target is missing: it is required")
    config = parsed(given)
    check_urls(at, config)

    async def attempt() -> ProvisionConfig:
        there = None
        if request.headers.get("if-match"):
            await at.registry.get_function(target.service_name, target.function_name, target.qualifier)
            there = await at.registry.get_provision(target) or ProvisionConfig()
            wire.check_match(request, there)
        await at.registry.put_provision(target, config, based_on=there)
        return config

    return await updated(attempt)


def parsed(given: dict[str, Any]) -> ProvisionConfig:
    try:
        return parse(given)
    except ConfigError as error:
        raise InvalidArgument(str(error)) from error


def check_urls(at: Context, config: ProvisionConfig) -> None:
    """Raises InvalidArgument for a URL that the settings do not allow to be asked."""
    if wrong := refused_urls(config, at.settings.prometheus_allowed):
        raise InvalidArgument("\n".join(wrong))


def _shown(at: Context, target: QualifiedFunction, config: ProvisionConfig | None) -> dict[str, Any]:
    status = at.fleet.provision_status(target, config)
    written: dict[str, Any] = (config or ProvisionConfig()).model_dump(mode="json", by_alias=True)
    resource = (at.settings.account_id, target.service_name, target.qualifier, target.function_name)
    return written | {
        "resource": "#".join(resource),
        "target": status.target,
        "current": status.current,
        "currentError": status.current_error,
    }
