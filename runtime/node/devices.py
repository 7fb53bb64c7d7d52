"""What accelerators a machine has and what processes use of them: a port and its fillings.

* `NvidiaDevices` (nvidia.py) reads NVML;
* `NoDevices` is a machine without;
* `SimulatedDevices` lets GPU policies be tried without a card. Its rule: a process keeps the simulated SMs as busy as
  it keeps one CPU core, and holds as much of the card's memory as it holds of the machine's. It is off unless asked
  for, and everything it says is marked as simulated.
"""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

log = logging.getLogger(__name__)

LOST: Final = "it has fallen off the bus"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A card, or a MIG slice of one. What is not told is "" or None.

    A card that is divided into slices holds no instances itself; its slices follow it in an inventory.
    """

    index: int  # of the card
    name: str
    memory_mib: int
    simulated: bool = False
    uuid: str = ""
    kind: Literal["card", "slice"] = "card"
    card: str = ""  # of a slice: the uuid of its card
    profile: str = ""  # of a slice, such as "1g.10gb"
    is_divided: bool = False
    compute_capability: str = ""  # "8.6"
    driver: str = ""
    is_healthy: bool = True
    reason: str = ""  # why it is not
    memory_used_mib: int | None = None  # by anybody
    utilization: float | None = None  # of the whole card; a divided card and its slices tell none
    at_s: float = 0.0  # UTC seconds at which it was read


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """What the node itself has read of a process of a GPU function."""

    pid: int
    cpu_utilization: float | None  # of one core
    memory_mib: float


@dataclass(frozen=True, slots=True)
class GpuUse:
    """Of one process, over all cards. Utilizations in [0, 1]; None = not known."""

    sm_utilization: float | None
    encoder_utilization: float | None
    decoder_utilization: float | None
    memory_mib: float | None
    at_s: float | None = field(default=None, compare=False)  # of the device's own newest sample; None = of this call


class Devices(Protocol):
    """The seam. No method raises: what cannot be read is left out. Each may be called from any thread."""

    @property
    def simulated(self) -> bool: ...

    def inventory(self) -> Sequence[Gpu]:
        """The cards and slices as they are now, by index. A card that was there and is lost stays, as not healthy."""

    def samples(self, readings: Sequence[ProcessReading]) -> dict[int, GpuUse]:
        """By pid; a process that uses no card may be missing. Covers the time since the last call."""

    def held_mib(self) -> dict[int, float]:
        """What each process holds of the devices' memory, by pid; nothing where that is not told."""


class NoDevices:
    simulated = False

    def inventory(self) -> Sequence[Gpu]:
        return ()

    def samples(self, readings: Sequence[ProcessReading]) -> dict[int, GpuUse]:  # noqa: ARG002 - the port's
        return {}

    def held_mib(self) -> dict[int, float]:
        return {}


class SimulatedDevices:
    """A file `simulated-gpu-<index>.lost` in `faults` has that card fall off its simulated bus for as long as it is
    there."""

    simulated = True

    def __init__(self, count: int, memory_mib: int, faults: Path | None = None) -> None:
        self._count = count
        self._memory_mib = memory_mib
        self._faults = faults

    def inventory(self) -> Sequence[Gpu]:
        return tuple(self._gpu(index) for index in range(self._count))

    def _gpu(self, index: int) -> Gpu:
        lost = self._faults is not None and (self._faults / f"simulated-gpu-{index}.lost").exists()
        return Gpu(
            index,
            "simulated",
            self._memory_mib,
            simulated=True,
            uuid=f"simulated-{index}",
            is_healthy=not lost,
            reason=f"{LOST} (simulated)" if lost else "",
            at_s=time.time(),
        )

    def samples(self, readings: Sequence[ProcessReading]) -> dict[int, GpuUse]:
        return {reading.pid: self._use(reading) for reading in readings}

    def held_mib(self) -> dict[int, float]:
        return {}  # a process holds memory of the machine, and has a limit there

    def _use(self, reading: ProcessReading) -> GpuUse:
        sm = None if reading.cpu_utilization is None else min(1.0, max(0.0, reading.cpu_utilization))
        return GpuUse(sm, 0.0, 0.0, min(float(self._memory_mib), reading.memory_mib))


def find_devices(simulated_gpus: int, simulated_gpu_memory_mib: int, faults: Path | None = None) -> Devices:
    """The filling for this machine. A driver that is absent or broken is a machine without cards, not an error."""
    if simulated_gpus:
        return SimulatedDevices(simulated_gpus, simulated_gpu_memory_mib, faults)
    try:
        ctypes.CDLL(
            "libnvidia-ml.so.1"
        )  # asked first: importing pynvml costs megabytes that most machines need not pay
    except OSError:
        return NoDevices()
    import pynvml

    from runtime.node.nvidia import NvidiaDevices

    try:
        pynvml.nvmlInit()
        return NvidiaDevices(pynvml)
    except pynvml.NVMLError as error:
        log.warning("nvml.unusable error=%s", error)
        return NoDevices()
