"""What is written down of an instance when it is to be launched, and when it is to leave. Pure."""

from __future__ import annotations

from dataclasses import replace

from control_plane.fleet.placement import Placed
from control_plane.fleet.plan import Want
from runtime.contract import InstanceRecord, InstanceState, Kind, VersionKey


def new_record(
    instance_id: str, key: VersionKey, want: Want, kind: Kind, place: Placed, pool: str = ""
) -> InstanceRecord:
    """Of an instance that no backend has heard of yet."""
    service, version, function = key
    return InstanceRecord(
        instance_id=instance_id,
        service=service,
        function=function,
        version=version,
        revision=want.revision,
        kind=kind,
        state=InstanceState.LAUNCHING,
        slots=want.slots,
        node=place.node,
        launched_at_s=want.now,
        device=place.device,
        gpu_memory_mib=place.gpu_memory_mib,
        pool=pool,
    )


def drained(record: InstanceRecord, now: float, why: str) -> InstanceRecord:
    """The same, from now on DRAINING."""
    return replace(record, state=InstanceState.DRAINING, draining_since_s=now, reason=why)
