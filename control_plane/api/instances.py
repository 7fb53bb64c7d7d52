"""ListInstances: the running instances of a function by its qualifier."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context
from runtime.contract import LATEST, InstanceState


async def list_all(request: Request) -> Response:
    at = context(request)
    service, qualifier = wire.service_and_qualifier(request)
    function = wire.path_name(request, "function")
    await at.registry.get_function(service, function, qualifier)
    version = await at.registry.resolve_version(service, qualifier)
    limit = wire.whole_number(request, "limit", 1000, 0, 1000)
    only = set(request.query_params.getlist("instanceIds"))
    running = [
        view
        for view in at.fleet.instances(service, function, version)
        if not InstanceState(view.state).is_final and (not only or view.instance_id in only)
    ]
    version_id = "0" if version == LATEST else version  # FC's spelling of LATEST here
    shown = [{"instanceId": view.instance_id, "versionId": version_id} for view in running[:limit]]
    return wire.reply({"instances": shown})
