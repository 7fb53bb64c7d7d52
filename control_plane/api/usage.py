"""What was used, and what was recorded to be simulated. The metering has it; here it is asked for."""

from __future__ import annotations

import math
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context
from control_plane.api.stoke import asked_for
from control_plane.errors import InvalidArgument
from control_plane.registry.routes import on_demand_instances_max
from runtime.contract import LATEST

BY: Final = {"hour": 86_400.0, "day": 30 * 86_400.0}  # and how far back is shown when nobody says
RECORDED_S: Final = 3600.0


async def usage(request: Request) -> Response:
    """Instance time, memory time and requests by hour or day, what they cost, and what a static peak would have."""
    at, asked = context(request), request.query_params
    by = asked.get("by") or "hour"
    if by not in BY:
        raise InvalidArgument(f"by is '{wire.shorten(by)}': must be one of {', '.join(BY)}")
    since_s, until_s = _span(request, BY[by])
    service, function, qualifier = (asked.get(name, "") for name in ("service", "function", "qualifier"))
    if (function or qualifier) and not service:
        raise InvalidArgument("service is missing: function and qualifier need it")
    # What a version used is kept though the version, or its whole service, may be gone; only an alias is looked up.
    is_name = bool(qualifier) and qualifier != LATEST and not qualifier.isdecimal()
    version = await at.registry.resolve_version(service, qualifier) if is_name else qualifier
    return wire.reply(await at.accounts.usage(by, since_s, until_s, (service, version, function)))


async def recorded(request: Request) -> Response:
    """What a function version lived through, with all that a simulation of it needs to know."""
    at = context(request)
    since_s, until_s = _span(request, RECORDED_S)
    target = await asked_for(request)
    version = await at.registry.resolve_version(target.service_name, target.qualifier)
    key = (target.service_name, version, target.function_name)
    function = await at.registry.get_function(target.service_name, target.function_name, target.qualifier)
    config = await at.registry.get_provision(target)
    found = await at.accounts.recorded(key, since_s, until_s)
    return wire.reply(
        {
            "service": target.service_name,
            "function": target.function_name,
            "version": version,
            "since_s": found.since_s,
            "until_s": found.until_s,
            "instance_concurrency": function.instance_concurrency,
            "on_demand_max": on_demand_instances_max(function, await at.registry.on_demand_max(*key)),
            "launch_s": found.launch_s,
            "config": None if config is None else config.model_dump(mode="json", by_alias=True),
            "columns": list(found.rows[0]._fields) if found.rows else [],
            "rows": [list(row) for row in found.rows],
        }
    )


def _span(request: Request, default_s: float) -> tuple[float, float]:
    """`since` and `until` in UTC seconds; until now, and so far back, when they are not said."""
    until_s = _utc_s(request, "until", time.time())
    since_s = _utc_s(request, "since", until_s - default_s)
    if since_s >= until_s:
        raise InvalidArgument(f"since is {since_s:.15g}: must be before until, which is {until_s:.15g}")
    return since_s, until_s


def _utc_s(request: Request, name: str, default_s: float) -> float:
    text = request.query_params.get(name, "")
    if not text:
        return default_s
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1e11:
        raise InvalidArgument(f"{name} is '{wire.shorten(text)}': must be UTC seconds, from 0 to 1e11")
    return value
