"""The machines that instances run on, with their devices: what each has, what is promised, what is on it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from control_plane.api import wire
from control_plane.api.context import context
from control_plane.fleet_views import NodeView


async def nodes(request: Request) -> Response:
    fleet = context(request).fleet
    pools = [asdict(pool) for pool in fleet.pools()]
    return wire.reply({"nodes": [shown(view) for view in fleet.nodes()], "pools": pools})


def shown(view: NodeView) -> dict[str, Any]:
    node = asdict(view.node)
    del node["gpus"]
    devices = [
        {**d.gpu, "family": d.family, "promised_mib": d.promised_mib, "instances": list(d.instances)}
        for d in view.devices
    ]
    promised = {
        "memory_promised_mib": view.memory_promised_mib,
        "cpu_promised": view.cpu_promised,
        "disk_promised_mib": view.disk_promised_mib,
    }
    return {**node, **promised, "instances": view.instances, "devices": devices}
