"""What a control plane would have written for a gateway, for benchmarks: a function with its trigger, an instance."""

from __future__ import annotations

from typing import Any, Final

from runtime.contract import (
    LATEST,
    FunctionRoute,
    InstanceRecord,
    InstanceState,
    Kind,
    TriggerRoute,
    function_field,
    trigger_field,
)

SERVICE: Final = "bench"


def routes_of(function: str, **more: Any) -> dict[str, str]:
    """Its route and that of an anonymous trigger, by field."""
    route = FunctionRoute(SERVICE, function, LATEST, "r", **{"timeout_s": 60.0, **more})
    trigger = TriggerRoute(SERVICE, function, LATEST, "http", "anonymous", ["GET", "POST"], "")
    return {
        function_field(SERVICE, LATEST, function): route.to_json(),
        trigger_field(SERVICE, function, "http"): trigger.to_json(),
    }


def instance_of(function: str, instance_id: str, address: str, slots: int, kind: Kind) -> str:
    """A ready one."""
    return InstanceRecord(
        instance_id=instance_id,
        service=SERVICE,
        function=function,
        version=LATEST,
        revision="r",
        kind=kind,
        state=InstanceState.READY,
        slots=slots,
        node="bench",
        address=address,
    ).to_json()
