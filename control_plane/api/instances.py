"""ListInstances: the running instances of a function by its qualifier."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import fc3, wire
from control_plane.api.context import context
from control_plane.fleet_views import InstanceView
from runtime.contract import LATEST, InstanceState


async def list_all(request: Request) -> Response:
    at = context(request)
    service, qualifier = wire.service_and_qualifier(request)
    function = wire.path_name(request, "function")
    await at.registry.get_function(service, function, qualifier)
    version = await at.registry.resolve_version(service, qualifier)
    limit = wire.whole_number(request, "limit", 1000, 0, 1000)
    only, statuses = set(wire.texts(request, "instanceIds")), set(wire.texts(request, "instanceStatus"))
    running = [
        view
        for view in at.fleet.instances(service, function, version)
        if not InstanceState(view.state).is_final
        and (not only or view.instance_id in only)
        and (not statuses or _status(view) in statuses)
    ]
    version_id = "0" if version == LATEST else version  # FC's spelling of LATEST here
    shown = [{"instanceId": view.instance_id, "versionId": version_id} for view in running[:limit]]
    if not fc3.is_asked(request):
        return wire.reply({"instances": shown})
    more = [_more(view, qualifier) for view in running[:limit]]
    items = [short | long for short, long in zip(shown, more, strict=True)]
    return wire.reply({"requestId": request.state.request_id, "instances": items})


def _more(view: InstanceView, qualifier: str) -> dict[str, Any]:
    """What FC 3.0 says besides. Only running instances are listed, so none was destroyed."""
    return {
        "qualifier": qualifier,
        "status": _status(view),
        "resourceType": view.kind,
        "createdTimeMs": round(view.launched_at_s * 1000),
        "destroyedTimeMs": 0,
    }


def _status(view: InstanceView) -> str:
    return "Running" if view.state == InstanceState.READY else "Creating"
