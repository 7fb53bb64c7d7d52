"""Services."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane import nas
from control_plane.api import wire
from control_plane.api.auth import check_service
from control_plane.api.context import context, deleted, updated
from control_plane.listing import filtered
from control_plane.model import Service

READ_ONLY: Final = frozenset({"serviceId", "tags", "vpcIds", "createdTime", "lastModifiedTime"})
TAG_FILTER: Final = "tag_"  # before a tag's key, in a list's query


async def create(request: Request) -> Response:
    at = context(request)
    given = await wire.read_object(request, at.limits.body_bytes_max)
    service = checked(wire.build(Service, given, read_only=READ_ONLY))
    check_service(request, service.service_name)
    return _reply(await at.registry.create_service(service))


async def get(request: Request) -> Response:
    name, qualifier = wire.service_and_qualifier(request)
    return _reply(await context(request).registry.get_service(name, qualifier))


async def update(request: Request) -> Response:
    """Only the keys that are given change."""
    at = context(request)
    given = await wire.read_changes(request, at.limits.body_bytes_max)
    name = wire.service_name(request)

    async def attempt() -> Service:
        stored = await at.registry.get_service(name)
        wire.check_match(request, stored)
        new = checked(wire.merge(stored, given, read_only=READ_ONLY, serviceName=name))
        return await at.registry.update_service(new, based_on=stored)

    return _reply(await updated(attempt))


async def delete(request: Request) -> Response:
    registry, name = context(request).registry, wire.service_name(request)
    return await deleted(
        request,
        lambda: registry.get_service(name),
        lambda stored: registry.delete_service(name, based_on=stored),
    )


async def list_all(request: Request) -> Response:
    """All, or those with every tag that is asked for: `tag_team=vision`."""
    asked = request.query_params.items()
    tags = {key.removeprefix(TAG_FILTER): value for key, value in asked if key.startswith(TAG_FILTER)}
    page = await filtered(
        context(request).registry.list_services,
        wire.list_query(request),
        lambda service: tags.items() <= service.tags.items(),
        lambda service: service.service_name,
    )
    return wire.listing("services", page, [_shown(service) for service in page.items])


def checked(service: Service) -> Service:
    """The service, if what it says of mounts can be read. Raises InvalidArgument."""
    nas.read(nas.given(service))
    return service


def _reply(service: Service) -> Response:
    return wire.reply(_shown(service), of=service)


def _shown(service: Service) -> dict[str, Any]:
    return wire.dumped(service, "tags", "vpc_ids")
