"""VPC bindings: kept and given back. Instances run in the machine's own network, so they bind nothing."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context, updated
from control_plane.errors import InvalidArgument
from control_plane.model import Service

VPCS_MAX = 20  # of one service, as FC has it


async def create(request: Request) -> Response:
    given = await wire.read_object(request, context(request).limits.body_bytes_max)
    vpc = given.get("vpcId")
    if not isinstance(vpc, str) or not vpc:
        raise InvalidArgument(f"vpcId is {wire.shorten(repr(vpc))}: must be a string")
    await _change(request, lambda vpcs: vpcs if vpc in vpcs else (*vpcs, vpc))
    return wire.reply({})


async def delete(request: Request) -> Response:
    gone = wire.path_name(request, "vpc")
    await _change(request, lambda vpcs: tuple(vpc for vpc in vpcs if vpc != gone))
    return wire.no_content()


async def list_all(request: Request) -> Response:
    service = await context(request).registry.get_service(wire.service_name(request))
    return wire.reply({"vpcIds": list(service.vpc_ids)})


async def _change(request: Request, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
    registry, name = context(request).registry, wire.service_name(request)

    async def attempt() -> Service:
        stored = await registry.get_service(name)
        vpcs = change(stored.vpc_ids)
        if len(vpcs) > VPCS_MAX:
            raise InvalidArgument(f"service '{name}' would have {len(vpcs)} VPCs: at most {VPCS_MAX} are allowed")
        return await registry.update_service(stored.model_copy(update={"vpc_ids": vpcs}), based_on=stored)

    await updated(attempt)
