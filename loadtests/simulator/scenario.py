"""What is simulated: how long things take, what may fail, what there is room for. Limits are a running Stoke's."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

AT_LEAST_0: Final = "0 or more"
ABOVE_0: Final = "above 0"
SHARE: Final = "from 0 to 1"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One function on one machine, with one gateway."""

    service_s: float = 1.0  # of a request that the trace has no service time for
    launch_s: float = 8.0  # from the decision until READY, `/initialize` included
    slots: int = 1  # instanceConcurrency
    wait_limit_s: float = 4.0  # a request within it is within the SLO
    history_s: float = 0.0  # from the start, lived through but not judged
    seed: int = 1
    # what may go wrong
    launch_failure_share: float = 0.0  # of launches that fail when they should be ready
    crashes_per_instance_hour: float = 0.0  # of ready instances; their requests begin again on another one
    device_share: float = 0.0  # of a GPU that an instance holds: its gpuMemorySize ÷ the card's memory
    capacity: int | None = None  # instances that the devices hold; None = more than anyone asks for
    devices_mib: tuple[int, ...] = ()  # the memory of each device; () = none that anybody asks for
    gpu_memory_mib: int = 0  # what an instance takes of one of them, until it has ended
    # as in the settings of the gateway and the control plane
    queue_length_max: int = 1000
    queue_wait_max_s: float = 60.0
    on_demand_max: int = 100
    on_demand_idle_s: float = 180.0
    launches_at_once_max: int = 16
    drain_timeout_s: float = 30.0
    stop_grace_s: float = 10.0
    tick_s: float = 1.0
    # From a report to the next tick. They know nothing of each other, so it is half a tick on average.
    tick_phase_s: float = 0.5
    report_every_s: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError, naming the field, its value and what is allowed."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or isinstance(value, tuple):
                continue
            allowed = _ALLOWED.get(field.name, AT_LEAST_0)
            fits = value > 0 if allowed is ABOVE_0 else 0 <= value <= (1 if allowed is SHARE else math.inf)
            if not (math.isfinite(value) and fits):
                raise ValueError(f"{field.name}: {value}; a finite number {allowed} is allowed")
        if bool(self.devices_mib) != (self.gpu_memory_mib > 0):
            raise ValueError("devices_mib and gpu_memory_mib: both are needed, or none")
        if any(memory_mib <= 0 for memory_mib in self.devices_mib):
            raise ValueError(f"devices_mib: {self.devices_mib}; numbers above 0 are allowed")


_ALLOWED: Final = {
    "service_s": ABOVE_0,
    "slots": ABOVE_0,
    "launch_failure_share": SHARE,
    "device_share": SHARE,
    "launches_at_once_max": ABOVE_0,
    "tick_s": ABOVE_0,
    "report_every_s": ABOVE_0,
}
