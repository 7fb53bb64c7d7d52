"""Services."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.auth import check_service
from control_plane.api.context import context, updated
from control_plane.model import Service

READ_ONLY: Final = frozenset({"serviceId", "createdTime", "lastModifiedTime"})


async def create(request: Request) -> Response:
    at = context(request)
    given = await wire.read_object(request, at.limits.body_bytes_max)
    service = wire.build(Service, given, read_only=READ_ONLY)
    check_service(request, service.service_name)
    return wire.reply(_shown(await at.registry.create_service(service)))


async def get(request: Request) -> Response:
    name, qualifier = wire.service_and_qualifier(request)
    return wire.reply(_shown(await context(request).registry.get_service(name, qualifier)))


async def update(request: Request) -> Response:
    """Only the keys that are given change."""
    at = context(request)
    given = await wire.read_object(request, at.limits.body_bytes_max)
    name = wire.service_name(request)

    async def attempt() -> Service:
        stored = await at.registry.get_service(name)
        new = wire.merge(stored, given, read_only=READ_ONLY, serviceName=name)
        return await at.registry.update_service(new, based_on=stored)

    return wire.reply(_shown(await updated(attempt)))


async def delete(request: Request) -> Response:
    await context(request).registry.delete_service(wire.service_name(request))
    return wire.no_content()


async def list_all(request: Request) -> Response:
    page = await context(request).registry.list_services(wire.list_query(request))
    return wire.listing("services", page, [_shown(service) for service in page.items])


def _shown(service: Service) -> dict[str, Any]:
    return wire.dumped(service)
