"""Access keys under /stoke/v1/keys, for admins. A secret is told once, when its key is made."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import Context, context
from control_plane.errors import NotFound
from control_plane.model import Noun, ServiceName
from control_plane.ports import AccessKeys, NewAccessKey
from runtime.access.records import KeyRecord
from runtime.access.roles import Role

SERVICES_MAX: Final = 100


class AskedKey(Noun):
    """The body of a request for a new key."""

    role: Role
    services: list[ServiceName] = Field(default_factory=list, max_length=SERVICES_MAX)
    description: str = Field(default="", max_length=256)
    with_token: bool = False


async def create(request: Request) -> Response:
    at = context(request)
    asked = wire.build(AskedKey, await wire.read_object(request, at.limits.body_bytes_max))
    new = NewAccessKey(asked.role, tuple(dict.fromkeys(asked.services)), asked.description, asked.with_token)
    record, secret, token = await _keys(at).create(new)
    told = {"access_key_secret": secret, **({"security_token": token} if token else {})}
    return wire.reply(_shown(record) | told)


async def list_all(request: Request) -> Response:
    page = await _keys(context(request)).list(wire.list_query(request))
    return wire.listing("keys", page, [_shown(record) for record in page.items])


async def enable(request: Request) -> Response:
    return await _set_enabled(request, enabled=True)


async def disable(request: Request) -> Response:
    return await _set_enabled(request, enabled=False)


async def remove(request: Request) -> Response:
    await _keys(context(request)).remove(wire.path_name(request, "key"))
    return wire.no_content()


async def _set_enabled(request: Request, *, enabled: bool) -> Response:
    record = await _keys(context(request)).set_enabled(wire.path_name(request, "key"), enabled=enabled)
    return wire.reply(_shown(record))


def _keys(at: Context) -> AccessKeys:
    if at.keys is None:
        raise NotFound("Path", "this control plane was started without access keys")
    return at.keys


def _shown(record: KeyRecord) -> dict[str, Any]:
    return {
        "access_key_id": record.access_key_id,
        "role": record.role,
        "services": list(record.services),
        "enabled": record.enabled,
        "description": record.description,
        "created_time": record.created_time,
    }
