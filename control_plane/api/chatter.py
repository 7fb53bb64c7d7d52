"""What FC's clients ask on the way and Stoke has no use for: answered so that they go on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context
from control_plane.errors import RequestError


async def account_settings(request: Request) -> Response:
    return wire.reply({"availableAZs": [f"{context(request).settings.region}-a"], "defaultRole": ""})


async def bindings(request: Request) -> Response:
    await context(request).registry.get_service(wire.service_name(request))
    return wire.reply({"vpcIds": []})


async def async_invoke_config(request: Request) -> Response:
    service, qualifier = wire.service_and_qualifier(request)
    function = wire.path_name(request, "function")
    await context(request).registry.get_function(service, function, qualifier)
    raise RequestError(
        f"function '{function}' of service '{service}' has no async invoke config",
        code="AsyncConfigNotExists",
        status=404,
    )


async def async_invoke_configs(request: Request) -> Response:
    service, qualifier = wire.service_and_qualifier(request)
    await context(request).registry.get_function(service, wire.path_name(request, "function"), qualifier)
    return wire.reply({"configs": []})
