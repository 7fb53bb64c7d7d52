"""What accelerators a machine has and what processes use of them: a port and its three fillings.

* `NvidiaDevices` reads NVML;
* `NoDevices` is a machine without;
* `SimulatedDevices` lets GPU policies be tried without a card. Its rule: a process keeps the simulated SMs as busy as
  it keeps one CPU core, and holds as much of the card's memory as it holds of the machine's. It is off unless asked
  for, and everything it says is marked as simulated.
"""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gpu:
    index: int
    name: str
    memory_mib: int
    simulated: bool = False


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


class Devices(Protocol):
    """The seam. Neither method raises: what cannot be read is left out."""

    @property
    def simulated(self) -> bool: ...

    def inventory(self) -> Sequence[Gpu]:
        """The cards of this machine; empty where there are none."""

    def samples(self, readings: Sequence[ProcessReading]) -> dict[int, GpuUse]:
        """By pid; a process that uses no card may be missing. Covers the time since the last call."""


class NoDevices:
    simulated = False

    def inventory(self) -> Sequence[Gpu]:
        return ()

    def samples(self, readings: Sequence[ProcessReading]) -> dict[int, GpuUse]:  # noqa: ARG002 - the port's
        return {}


class SimulatedDevices:
    simulated = True

    def __init__(self, count: int, memory_mib: int) -> None:
        self._gpus = tuple(Gpu(index, "simulated", memory_mib, simulated=True) for index in range(count))
        self._memory_mib = memory_mib

    def inventory(self) -> Sequence[Gpu]:
        return self._gpus

    def samples(self, readings: Sequence[ProcessReading]) -> dict[int, GpuUse]:
        return {reading.pid: self._use(reading) for reading in readings}

    def _use(self, reading: ProcessReading) -> GpuUse:
        sm = None if reading.cpu_utilization is None else min(1.0, max(0.0, reading.cpu_utilization))
        return GpuUse(sm, 0.0, 0.0, min(float(self._memory_mib), reading.memory_mib))


class NvidiaDevices:
    """NVML. Utilizations are of a whole card; of a process on several cards the busiest one counts."""

    simulated = False

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        self._seen_us = [int(time.time() * 1e6)] * len(self._handles)

    def inventory(self) -> Sequence[Gpu]:
        return tuple(self._gpu(index, handle) for index, handle in enumerate(self._handles))

    def _gpu(self, index: int, handle: Any) -> Gpu:
        name = self._nvml.nvmlDeviceGetName(handle)
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle).total // 2**20
        return Gpu(index, name if isinstance(name, str) else name.decode(), int(memory))

    def samples(self, readings: Sequence[ProcessReading]) -> dict[int, GpuUse]:
        wanted = {reading.pid for reading in readings}
        uses: dict[int, GpuUse] = {}
        for index, handle in enumerate(self._handles):
            memory_mib = self._memory_by_pid(handle)
            busy = self._utilization_by_pid(index, handle)
            for pid in wanted & (memory_mib.keys() | busy.keys()):
                uses[pid] = _merged(uses.get(pid), _use(busy.get(pid), memory_mib.get(pid)))
        return uses

    def _memory_by_pid(self, handle: Any) -> dict[int, float | None]:
        try:
            running = [
                *self._nvml.nvmlDeviceGetComputeRunningProcesses(handle),
                *self._nvml.nvmlDeviceGetGraphicsRunningProcesses(handle),
            ]
        except self._nvml.NVMLError as error:
            log.debug("nvml.no_processes error=%s", error)
            return {}
        return {p.pid: None if p.usedGpuMemory is None else p.usedGpuMemory / 2**20 for p in running}

    def _utilization_by_pid(self, index: int, handle: Any) -> dict[int, tuple[float, float, float]]:
        """SM, encoder and decoder: the mean of the driver's samples since the last call."""
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(handle, self._seen_us[index])
        except self._nvml.NVMLError as error:  # also "not found": no process used the card since then
            log.debug("nvml.no_utilization error=%s", error)
            return {}
        by_pid: dict[int, list[Any]] = {}
        for sample in samples:
            # Drivers have been seen to give back older samples than those asked for.
            if sample.timeStamp > self._seen_us[index]:
                by_pid.setdefault(sample.pid, []).append(sample)
        self._seen_us[index] = max([self._seen_us[index], *(sample.timeStamp for sample in samples)])
        return {
            pid: (_mean(s.smUtil for s in of_pid), _mean(s.encUtil for s in of_pid), _mean(s.decUtil for s in of_pid))
            for pid, of_pid in by_pid.items()
        }


def find_devices(simulated_gpus: int, simulated_gpu_memory_mib: int) -> Devices:
    """The filling for this machine. A driver that is absent or broken is a machine without cards, not an error."""
    if simulated_gpus:
        return SimulatedDevices(simulated_gpus, simulated_gpu_memory_mib)
    try:
        ctypes.CDLL(
            "libnvidia-ml.so.1"
        )  # asked first: importing pynvml costs megabytes that most machines need not pay
    except OSError:
        return NoDevices()
    import pynvml

    try:
        pynvml.nvmlInit()
        return NvidiaDevices(pynvml)
    except pynvml.NVMLError as error:
        log.warning("nvml.unusable error=%s", error)
        return NoDevices()


def _use(busy: tuple[float, float, float] | None, memory_mib: float | None) -> GpuUse:
    # On the card's list of processes, and no sample of it: it did nothing there.
    sm, encoder, decoder = busy or (0.0, 0.0, 0.0)
    return GpuUse(sm, encoder, decoder, memory_mib)


def _merged(one: GpuUse | None, other: GpuUse) -> GpuUse:
    if one is None:
        return other
    return GpuUse(
        _greater(one.sm_utilization, other.sm_utilization),
        _greater(one.encoder_utilization, other.encoder_utilization),
        _greater(one.decoder_utilization, other.decoder_utilization),
        (one.memory_mib or 0.0) + (other.memory_mib or 0.0),
    )


def _greater(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known) if known else None


def _mean(percents: Iterable[int]) -> float:
    values = list(percents)
    return min(1.0, sum(values) / len(values) / 100)
