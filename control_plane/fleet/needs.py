"""From a function, as FC spells it, to what placing one instance of it has to know. Pure."""

from __future__ import annotations

from control_plane import stoke_fields
from control_plane.fleet.placement import Need
from control_plane.model import Function
from control_plane.registry.launching import gpu_memory_mib


def need_of(function: Function) -> Need:
    asked = stoke_fields.function_traffic(function.model_extra).placement
    return Need(
        memory_mib=function.memory_size,
        gpu_memory_mib=gpu_memory_mib(function),
        cpu=function.cpu or 0.0,
        disk_mib=function.disk_size or 0,
        instance_type=function.instance_type or "",
        labels=tuple(sorted(asked.labels.items())),
        priority=asked.priority,
    )
