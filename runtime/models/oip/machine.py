"""Triton's gauges of the machine: its CPU and memory, and the cards that the instance sees."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from runtime.models.oip.metrics import Gauge

log = logging.getLogger(__name__)

_STAT: Final = Path("/proc/stat")
_MEMORY: Final = Path("/proc/meminfo")


class Machine:
    """Reads them when asked. The CPU's utilization is of the time since it was asked before (at first: since boot)."""

    def __init__(self, gpu_uuids: tuple[str, ...] = (), stat: Path = _STAT, memory: Path = _MEMORY) -> None:
        """`gpu_uuids`: of the cards to tell of, as NVML has them."""
        self._gpu_uuids = gpu_uuids
        self._stat = stat
        self._memory = memory
        self._before = (0, 0)  # busy, and all, in ticks

    def gauges(self) -> list[Gauge]:
        return [*self._cpu(), *self._cards()]

    def _cpu(self) -> list[Gauge]:
        try:
            ticks = [int(value) for value in self._stat.read_text().split("\n", 1)[0].split()[1:9]]
            memory = dict(line.split(":", 1) for line in self._memory.read_text().splitlines())
            total, free = (int(memory[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
        except (OSError, KeyError, ValueError):  # not Linux, or a /proc that is hidden
            return []
        everything, idle = sum(ticks), ticks[3] + ticks[4]
        busy_before, all_before = self._before
        self._before = everything - idle, everything
        spent = everything - all_before
        utilization = (everything - idle - busy_before) / spent if spent else 0.0
        return [
            Gauge("nv_cpu_utilization", "CPU utilization rate [0.0 - 1.0]", {}, min(1.0, max(0.0, utilization))),
            Gauge("nv_cpu_memory_total_bytes", "CPU total memory (RAM), in bytes", {}, total),
            Gauge("nv_cpu_memory_used_bytes", "CPU used memory (RAM), in bytes", {}, total - free),
        ]

    def _cards(self) -> list[Gauge]:
        """A card that NVML cannot tell of now is left out; so is what it does not count."""
        if not self._gpu_uuids:
            return []
        import pynvml

        read: dict[str, list[tuple[str, float]]] = {name: [] for name in _OF_CARDS}
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            log.debug("oip.no_nvml error=%s", error)
            return []
        try:
            for uuid in self._gpu_uuids:
                for name, (_, of) in _OF_CARDS.items():
                    try:
                        read[name].append((uuid, of(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid))))
                    except pynvml.NVMLError as error:
                        log.debug("oip.no_gauge card=%s gauge=%s error=%s", uuid, name, error)
        finally:
            pynvml.nvmlShutdown()
        return [
            Gauge(name, _OF_CARDS[name][0], {"gpu_uuid": uuid}, value)
            for name, values in read.items()
            for uuid, value in values
        ]


_OF_CARDS: Final[dict[str, tuple[str, Any]]] = {
    "nv_gpu_utilization": (
        "GPU utilization rate [0.0 - 1.0)",
        lambda nvml, card: nvml.nvmlDeviceGetUtilizationRates(card).gpu / 100,
    ),
    "nv_gpu_memory_total_bytes": (
        "GPU total memory, in bytes",
        lambda nvml, card: nvml.nvmlDeviceGetMemoryInfo(card).total,
    ),
    "nv_gpu_memory_used_bytes": (
        "GPU used memory, in bytes",
        lambda nvml, card: nvml.nvmlDeviceGetMemoryInfo(card).used,
    ),
    "nv_gpu_power_usage": ("GPU power usage in watts", lambda nvml, card: nvml.nvmlDeviceGetPowerUsage(card) / 1000),
    "nv_gpu_power_limit": (
        "GPU power management limit in watts",
        lambda nvml, card: nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1000,
    ),
}
