"""Async invoke configs: put, get, delete, list."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context
from control_plane.api.provision import qualified
from control_plane.model import AsyncInvokeConfig, QualifiedFunction

_OURS = frozenset({"createdTime", "lastModifiedTime", "service", "function", "qualifier"})


async def put(request: Request) -> Response:
    at = context(request)
    target = qualified(request)
    given = await wire.read_object(request, at.limits.body_bytes_max)
    config = wire.build(AsyncInvokeConfig, given, read_only=_OURS)
    return wire.reply(shown(target, await at.registry.put_async_config(target, config)))


async def get(request: Request) -> Response:
    target = qualified(request)
    return wire.reply(shown(target, await context(request).registry.get_async_config(target)))


async def delete(request: Request) -> Response:
    await context(request).registry.delete_async_config(qualified(request))
    return wire.no_content()


async def list_all(request: Request) -> Response:
    registry = context(request).registry
    target = qualified(request)
    await registry.get_function(target.service_name, target.function_name, target.qualifier)
    page = await registry.list_async_configs(wire.list_query(request), target.service_name, target.function_name)
    return wire.listing("configs", page, [shown(of, config) for of, config in page.items])


def shown(target: QualifiedFunction, config: AsyncInvokeConfig) -> dict[str, Any]:
    written: dict[str, Any] = config.model_dump(mode="json", by_alias=True, exclude_none=True)
    return written | {
        "service": target.service_name,
        "function": target.function_name,
        "qualifier": target.qualifier,
    }
