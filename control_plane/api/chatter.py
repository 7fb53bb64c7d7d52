"""What FC's clients ask on the way and Stoke has no use for: answered so that they go on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context


async def account_settings(request: Request) -> Response:
    return wire.reply({"availableAZs": [f"{context(request).settings.region}-a"], "defaultRole": ""})


async def bindings(request: Request) -> Response:
    await context(request).registry.get_service(wire.service_name(request))
    return wire.reply({"vpcIds": []})
