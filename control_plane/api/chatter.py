"""What FC's clients ask on the way and Stoke has no use for: answered so that they go on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context
from control_plane.errors import NotFound


async def account_settings(request: Request) -> Response:
    return wire.reply({"availableAZs": [f"{context(request).settings.region}-a"], "defaultRole": ""})


async def no_layers(request: Request) -> Response:
    """There are none, and code carries what it needs."""
    del request
    return wire.reply({"layers": []})


async def no_layer(request: Request) -> Response:
    name = wire.shorten(wire.path_name(request, "layer"))
    raise NotFound("Layer", f"layer '{name}' does not exist: there are no layers")


async def regions(request: Request) -> Response:
    """The one region there is."""
    region = context(request).settings.region
    return wire.reply({"Regions": {"Region": [{"RegionId": region, "LocalName": region}]}})


async def no_sessions(request: Request) -> Response:
    """Requests go to whichever instance is free, so none has a session of its own."""
    target = wire.qualified(request)
    await context(request).registry.get_function(target.service_name, target.function_name, target.qualifier)
    return wire.reply({"sessions": []})


async def no_snapshots(request: Request) -> Response:
    """Instances are started anew, never from a snapshot."""
    del request
    return wire.reply({"snapshots": []})


async def no_reserved_capacities(request: Request) -> Response:
    """Nothing is billed here, so nothing is paid for in advance."""
    del request
    return wire.reply({"reservedCapacities": []})
