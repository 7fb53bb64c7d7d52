"""What FC's clients ask on the way and Stoke has no use for: answered so that they go on."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context


async def account_settings(request: Request) -> Response:
    return wire.reply({"availableAZs": [f"{context(request).settings.region}-a"], "defaultRole": ""})


async def no_layers(request: Request) -> Response:
    """There are none, and code carries what it needs."""
    del request
    return wire.reply({"layers": []})


async def no_reserved_capacities(request: Request) -> Response:
    """Nothing is billed here, so nothing is paid for in advance."""
    del request
    return wire.reply({"reservedCapacities": []})
