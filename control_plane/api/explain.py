"""Why a function has as many instances as it has: the last decisions, with what was seen and who wanted what."""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context
from control_plane.api.stoke import asked_for


async def explain(request: Request) -> Response:
    """Newest first. Empty where nothing is provisioned or nothing has been decided yet."""
    target = await asked_for(request)
    return wire.reply({"decisions": [asdict(one) for one in await context(request).fleet.explained(target)]})
