"""Aliases of a service."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context, deleted, updated
from control_plane.model import Alias

READ_ONLY: Final = frozenset({"createdTime", "lastModifiedTime"})


async def create(request: Request) -> Response:
    at = context(request)
    given = await wire.read_object(request, at.limits.body_bytes_max)
    alias = wire.build(Alias, given, read_only=READ_ONLY)
    return _reply(await at.registry.create_alias(wire.service_name(request), alias))


async def get(request: Request) -> Response:
    alias = await context(request).registry.get_alias(wire.service_name(request), wire.path_name(request, "alias"))
    return _reply(alias)


async def update(request: Request) -> Response:
    """Only the keys that are given change; `additionalVersionWeight: {}` takes the weights away."""
    at = context(request)
    given = await wire.read_changes(request, at.limits.body_bytes_max)
    service, name = wire.service_name(request), wire.path_name(request, "alias")

    async def attempt() -> Alias:
        stored = await at.registry.get_alias(service, name)
        wire.check_match(request, stored)
        new = wire.merge(stored, given, read_only=READ_ONLY, aliasName=name)
        return await at.registry.update_alias(service, new, based_on=stored)

    return _reply(await updated(attempt))


async def delete(request: Request) -> Response:
    registry = context(request).registry
    service, name = wire.service_name(request), wire.path_name(request, "alias")
    return await deleted(
        request,
        lambda: registry.get_alias(service, name),
        lambda stored: registry.delete_alias(service, name, based_on=stored),
    )


async def list_all(request: Request) -> Response:
    page = await context(request).registry.list_aliases(wire.service_name(request), wire.list_query(request))
    return wire.listing("aliases", page, [wire.dumped(alias) for alias in page.items])


def _reply(alias: Alias) -> Response:
    return wire.reply(wire.dumped(alias), of=alias)
