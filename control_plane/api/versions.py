"""Published versions of a service."""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context, updated
from control_plane.errors import InvalidArgument
from control_plane.model import Version

_VERSION: Final = re.compile(r"\d{1,12}", re.ASCII)


async def publish(request: Request) -> Response:
    at = context(request)
    given = await wire.read_object(request, at.limits.body_bytes_max)
    description = given.get("description")
    if description is not None and not isinstance(description, str):
        raise InvalidArgument(f"description is {description!r}: must be a string")
    service = wire.service_name(request)

    async def attempt() -> Version:
        stored = await at.registry.get_service(service)
        wire.check_match(request, stored)
        based_on = stored if "if-match" in request.headers else None
        return await at.registry.publish_version(service, description, based_on=based_on)

    version = await updated(attempt)
    return wire.reply(wire.dumped(version), of=version)


async def delete(request: Request) -> Response:
    await context(request).registry.delete_version(wire.service_name(request), wire.path_name(request, "version"))
    return wire.no_content()


async def list_all(request: Request) -> Response:
    """Newest first, unless `direction=FORWARD`."""
    direction = request.query_params.get("direction") or "BACKWARD"
    if direction not in ("FORWARD", "BACKWARD"):
        raise InvalidArgument(f"direction is '{direction}': must be FORWARD or BACKWARD")
    query = wire.list_query(request)
    for key, start in (("startKey", query.start_key), ("nextToken", query.next_token)):
        if start and not _VERSION.fullmatch(start):
            raise InvalidArgument(f"{key} is '{wire.shorten(start)}': must be a version's number, as 1")
    page = await context(request).registry.list_versions(
        wire.service_name(request), query, backward=direction == "BACKWARD"
    )
    return wire.listing("versions", page, [wire.dumped(version) for version in page.items], direction=direction)
