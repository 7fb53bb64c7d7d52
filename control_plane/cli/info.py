"""`stoke info`: what the server has of each function of the file, and of what leads to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from control_plane.cli.choosing import Chosen, FunctionName, ServiceName, choose
from control_plane.cli.context import Session, command
from control_plane.cli.domains import leading_to_any
from control_plane.cli.failures import Failed
from control_plane.cli.provision import described

if TYPE_CHECKING:
    from control_plane.cli.client import Client


@command
def info(session: Session, service_name: ServiceName = None, function_name: FunctionName = None) -> None:
    """Show what is deployed. A function that is not is named on stderr, with exit code 1."""
    chosen = choose(session, service_name, function_name)
    found: dict[str, Any] = {}
    missing: list[str] = []
    with session.client() as client:
        for one in chosen:
            deployed = _deployed(client, one)
            if deployed is None:
                missing.append(str(one))
            else:
                found[one.key] = deployed
    session.output.result(found)
    if missing:
        raise Failed(f"not deployed: {', '.join(missing)}")


def _deployed(client: Client, chosen: Chosen) -> dict[str, Any] | None:
    from control_plane.cli.client import API, function_path, service_path

    service = client.get_or_none(service_path(chosen.service))
    function = client.get_or_none(function_path(chosen.service, chosen.function)) if service is not None else None
    if service is None or function is None:
        return None
    path = function_path(chosen.service, chosen.function)
    triggers = client.pages(f"{path}/triggers", "triggers")
    provisions = client.pages(f"{API}/provision-configs", "provisionConfigs", {"serviceName": chosen.service})
    configs = [described(item) for item in provisions]
    return {
        "service": service,
        "function": function,
        "triggers": list(triggers),
        "provision": [item for item in configs if item["functionName"] == chosen.function],
        "asyncInvokeConfigs": list(client.pages(f"{path}/async-invoke-configs", "configs")),
        "customDomains": leading_to_any(client, [(chosen.service, chosen.function)]),
    }
