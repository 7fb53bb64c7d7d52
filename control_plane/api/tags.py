"""Tags of services: texts by key, which lists can be narrowed by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import Context, context, updated
from control_plane.errors import InvalidArgument
from control_plane.listing import filtered
from control_plane.model import Service

TAGS_MAX = 20  # of one resource, as FC has it
KEY_CHARS_MAX = 64
VALUE_CHARS_MAX = 128

Tags = dict[str, str]


async def tag(request: Request) -> Response:
    given = await wire.read_object(request, context(request).limits.body_bytes_max)
    new = given.get("tags")
    if not isinstance(new, dict) or not new:
        raise InvalidArgument(f"tags is {wire.shorten(repr(new))}: must be an object with at least one key")
    for key, value in new.items():
        check(key, value)
    await _change(request, _name(given), lambda tags: tags | new)
    return wire.reply({"requestId": request.state.request_id})


async def untag(request: Request) -> Response:
    """Takes `tagKeys` away, or with `all` every tag."""
    given = await wire.read_object(request, context(request).limits.body_bytes_max)
    keys = given.get("tagKeys", [])
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise InvalidArgument(f"tagKeys is {wire.shorten(repr(keys))}: must be a list of strings")
    everything = given.get("all", False)
    if not isinstance(everything, bool):
        raise InvalidArgument(f"all is {wire.shorten(repr(everything))}: must be true or false")
    await _change(request, _name(given), lambda tags: without(tags, keys, everything=everything))
    return wire.reply({"requestId": request.state.request_id})


async def get(request: Request) -> Response:
    """The tags of `resourceArn`; without it, a page of all services that have any."""
    at = context(request)
    arn = request.query_params.get("resourceArn", "")
    if arn:
        return wire.reply(_shown(at, await at.registry.get_service(_name({"resourceArn": arn}))))
    page = await filtered(
        at.registry.list_services,
        wire.list_query(request),
        lambda service: bool(service.tags),
        lambda service: service.service_name,
    )
    return wire.listing("resources", page, [_shown(at, service) for service in page.items])


def _shown(at: Context, service: Service) -> dict[str, Any]:
    arn = f"acs:fc:{at.settings.region}:{at.settings.account_id}:services/{service.service_name}"
    return {"resourceArn": arn, "tags": service.tags}


def check(key: Any, value: Any) -> None:
    if not isinstance(key, str) or not 1 <= len(key) <= KEY_CHARS_MAX:
        raise InvalidArgument(f"tag key {wire.shorten(repr(key))}: must have 1 to {KEY_CHARS_MAX} characters")
    if not isinstance(value, str) or len(value) > VALUE_CHARS_MAX:
        raise InvalidArgument(
            f"tag '{key}' is {wire.shorten(repr(value))}: must be a string of at most {VALUE_CHARS_MAX} characters"
        )


def check_count(tags: Tags) -> Tags:
    if len(tags) > TAGS_MAX:
        raise InvalidArgument(f"there would be {len(tags)} tags: at most {TAGS_MAX} are allowed")
    return tags


def without(tags: Tags, keys: list[str], *, everything: bool) -> Tags:
    return {} if everything else {key: value for key, value in tags.items() if key not in keys}


async def _change(request: Request, name: str, change: Callable[[Tags], Tags]) -> None:
    registry = context(request).registry

    async def attempt() -> Service:
        stored = await registry.get_service(name)
        new = stored.model_copy(update={"tags": check_count(change(stored.tags))})
        return await registry.update_service(new, based_on=stored)

    await updated(attempt)


def _name(given: dict[str, Any]) -> str:
    """`acs:fc:REGION:ACCOUNT:services/NAME`, or what of it follows the last colon."""
    arn = given.get("resourceArn")
    kind, slash, name = str(arn or "").rpartition(":")[2].partition("/")
    if kind != "services" or not slash or not name or "/" in name:
        raise InvalidArgument(f"resourceArn is {wire.shorten(repr(arn))}: must be acs:fc:REGION:ACCOUNT:services/NAME")
    return name
