"""FC 3.0's tags: of functions, as a list of keys and values in the function itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context, updated
from control_plane.api.tags import Tags, check, check_count, without
from control_plane.errors import InvalidArgument, NotFound
from control_plane.model import Function
from control_plane.ports import Registry
from control_plane.registry.keys import fc3_split

RESOURCES_MAX = 50  # in one request, as FC has it


async def tag(request: Request) -> Response:
    given = await wire.read_object(request, context(request).limits.body_bytes_max)
    new: Tags = {}
    for item in _list(given, "tag"):
        if not isinstance(item, dict):
            raise InvalidArgument(f"tag has {wire.shorten(repr(item))}: must be a list of objects with key and value")
        key, value = _value(item, "key"), _value(item, "value") or ""
        check(key, value)
        new[key] = value
    if not new:
        raise InvalidArgument("tag is missing: it is required")
    await _change_all(request, _names(given), lambda tags: check_count(tags | new))
    return wire.reply({"RequestId": request.state.request_id})


async def untag(request: Request) -> Response:
    """Takes `TagKey` away, or with `All=true` every tag. Everything is in the query."""
    asked = _asked(request)
    keys, everything = _list(asked, "tagKey"), asked["all"]
    await _change_all(request, _names(asked), lambda tags: without(tags, keys, everything=everything))
    return wire.reply({"RequestId": request.state.request_id})


async def list_all(request: Request) -> Response:
    """The tags of the functions that are asked for."""
    at = context(request)
    asked = _asked(request)
    found = []
    for arn, name in zip(_list(asked, "resourceId"), _names(asked), strict=True):
        function = await _function(at.registry, name)
        found += [
            {"ResourceId": arn, "ResourceType": "function", "TagKey": key, "TagValue": value}
            for key, value in of_function(function).items()
        ]
    return wire.reply({"RequestId": request.state.request_id, "NextToken": "", "TagResources": found})


async def _change_all(request: Request, names: list[str], change: Callable[[Tags], Tags]) -> None:
    """None is changed if one of them does not exist, or would get what it may not have."""
    registry = context(request).registry
    for name in names:
        change(of_function(await _function(registry, name)))
    for name in names:
        await _change(registry, name, change)


async def _change(registry: Registry, name: str, change: Callable[[Tags], Tags]) -> None:
    async def attempt() -> Function:
        stored = await _function(registry, name)
        tags = [{"Key": key, "Value": value} for key, value in change(of_function(stored)).items()]
        return await registry.update_function(stored.model_copy(update={"tags": tags}), based_on=stored)

    await updated(attempt)


async def _function(registry: Registry, name: str) -> Function:
    try:
        return await registry.get_function(*fc3_split(name))
    except NotFound as error:
        raise NotFound("Function", f"function '{name}' does not exist") from error


def of_function(function: Function) -> Tags:
    """What CreateFunction or TagResources has put there: `[{"Key", "Value"}]`, in small letters too."""
    kept = (function.model_extra or {}).get("tags")
    if not isinstance(kept, list):
        return {}
    items = [item for item in kept if isinstance(item, dict) and _value(item, "key")]
    return {str(_value(item, "key")): str(_value(item, "value") or "") for item in items}


def _asked(request: Request) -> dict[str, Any]:
    """The query, whose lists are JSON in one text or keys with numbers."""
    asked = request.query_params
    found: dict[str, Any] = {"all": asked.get("All", "").lower() == "true"}
    found["resourceType"] = asked.get("ResourceType") or None
    for name, key in (("ResourceId", "resourceId"), ("TagKey", "tagKey")):
        try:
            found[key] = wire.parse_json(asked[name]) if name in asked else []
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"{name} is {wire.shorten(repr(asked[name]))}: must be a JSON list") from error
        found[key] = found[key] or [value for part, value in asked.multi_items() if part.startswith(f"{name}.")]
    return found


def _names(given: dict[str, Any]) -> list[str]:
    kind = _value(given, "resourceType")
    if kind is not None and str(kind).lower() not in ("function", "aliyun::fc::function"):
        raise InvalidArgument(f"ResourceType is {wire.shorten(repr(kind))}: must be function or ALIYUN::FC::FUNCTION")
    arns = _list(given, "resourceId")
    if not 1 <= len(arns) <= RESOURCES_MAX:
        raise InvalidArgument(f"ResourceId has {len(arns)} entries: 1 to {RESOURCES_MAX} are allowed")
    return [_name(arn) for arn in arns]


def _name(arn: Any) -> str:
    """`acs:fc:REGION:ACCOUNT:functions/NAME`, or NAME alone."""
    if isinstance(arn, str):
        name = arn.rpartition(":")[2].removeprefix("functions/")
        if name and "/" not in name:
            return name
    raise InvalidArgument(f"ResourceId has {wire.shorten(repr(arn))}: must be acs:fc:REGION:ACCOUNT:functions/NAME")


def _value(given: dict[str, Any], key: str) -> Any:
    return next((value for name, value in given.items() if name.lower() == key.lower()), None)


def _list(given: dict[str, Any], key: str) -> list[Any]:
    value = _value(given, key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidArgument(f"{key[:1].upper()}{key[1:]} is {wire.shorten(repr(value))}: must be a list")
    return value
