"""NVIDIA's cards and MIG slices by NVML: what there is, whether it is well, and what each process uses of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from runtime.node.devices import LOST, Gpu, GpuUse, ProcessReading
from runtime.node.xids import Xids

log = logging.getLogger(__name__)

# Clients of MPS have a list of their own: NVML does not count them among those of compute.
_RUNNING: Final = (
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetMPSComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
)
_UNKNOWN: Final = GpuUse(None, None, None, None)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A device as last read, and NVML's handle of it."""

    gpu: Gpu
    handle: Any


class NvidiaDevices:
    """Utilizations are of a whole card; of a process on several cards the busiest one counts. The driver tells none of
    processes on MIG slices: there they are unknown, and only memory is told."""

    simulated = False

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}  # by uuid, in the order of the inventory
        self._sampled_us: dict[str, int] = {}
        self._began_us = int(time.time() * 1e6)
        self._of_lost = (
            nvml.NVML_ERROR_GPU_IS_LOST,
            nvml.NVML_ERROR_RESET_REQUIRED,
            nvml.NVML_ERROR_GPU_NOT_FOUND,
        )
        self._xids = Xids(nvml)
        self.inventory()

    # -- what there is ------------------------------------------------------------------------------------------------

    def inventory(self) -> Sequence[Gpu]:
        with self._lock:
            now_s = time.time()
            found = {seen.gpu.uuid: seen for seen in self._cards(now_s)}
            for uuid, known in self._seen.items():
                if uuid not in found and known.gpu.kind == "card":
                    found[uuid] = _lost(known, LOST, now_s)
            self._xids.read()
            marked = [replace(seen, gpu=self._with_xid(seen.gpu)) for seen in found.values()]
            self._seen = {seen.gpu.uuid: seen for seen in sorted(marked, key=_order)}
            return tuple(seen.gpu for seen in self._seen.values())

    def _cards(self, now_s: float) -> Iterator[_Seen]:
        try:
            count = self._nvml.nvmlDeviceGetCount()
        except self._nvml.NVMLError as error:
            log.warning("nvml.no_count error=%s", error)
            yield from self._seen.values()
            return
        for index in range(count):
            try:
                yield from self._card(index, now_s)
            except self._nvml.NVMLError as error:
                log.debug("nvml.unreadable index=%d error=%s", index, error)
                known = [s for s in self._seen.values() if s.gpu.index == index]
                # Any other error is the driver's of a moment: instances are not ended over it, and the time tells.
                is_lost = error.value in self._of_lost
                yield from (_lost(seen, f"{LOST} (NVML: {error})", now_s) if is_lost else seen for seen in known)

    def _card(self, index: int, now_s: float) -> list[_Seen]:
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = _text(nvml.nvmlDeviceGetUUID(handle))
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        is_divided = bool(self._ask_slices("nvmlDeviceGetMigMode", handle, default=(0, 0))[0])
        rates = None if is_divided else self._ask("nvmlDeviceGetUtilizationRates", handle)
        major, minor = self._ask("nvmlDeviceGetCudaComputeCapability", handle, default=("", ""))
        card = Gpu(
            index=index,
            name=_text(nvml.nvmlDeviceGetName(handle)),
            memory_mib=int(memory.total // 2**20),
            uuid=uuid,
            is_divided=is_divided,
            compute_capability=f"{major}.{minor}" if major != "" else "",
            driver=_text(self._ask("nvmlSystemGetDriverVersion", default="")),
            memory_used_mib=int(memory.used // 2**20),
            utilization=None if rates is None else min(1.0, rates.gpu / 100),
            at_s=now_s,
        )
        self._xids.watch(uuid, handle)
        return [_Seen(card, handle), *(self._slices(card, handle) if is_divided else ())]

    def _slices(self, card: Gpu, handle: Any) -> Iterator[_Seen]:
        for number in range(self._ask_slices("nvmlDeviceGetMaxMigDeviceCount", handle, default=0)):
            part = self._ask_slices("nvmlDeviceGetMigDeviceHandleByIndex", handle, number)
            if part is None:  # no slice has that number
                continue
            memory = self._nvml.nvmlDeviceGetMemoryInfo(part)
            name = _text(self._nvml.nvmlDeviceGetName(part))
            gpu = replace(
                card,
                name=name,
                memory_mib=int(memory.total // 2**20),
                uuid=_text(self._nvml.nvmlDeviceGetUUID(part)),
                kind="slice",
                card=card.uuid,
                profile=name.rpartition("MIG ")[2] if "MIG " in name else "",
                is_divided=False,
                memory_used_mib=int(memory.used // 2**20),
            )
            yield _Seen(gpu, part)

    def _with_xid(self, gpu: Gpu) -> Gpu:
        xid = self._xids.of(gpu.card or gpu.uuid)
        if xid is None or not gpu.is_healthy:
            return gpu
        return replace(gpu, is_healthy=False, reason=f"XID {xid}: the driver says that the card has failed")

    def _ask(self, name: str, *arguments: Any, default: Any = None) -> Any:
        """What a driver or a card may not support. That the card is lost is raised."""
        try:
            return getattr(self._nvml, name)(*arguments)
        except self._nvml.NVMLError as error:
            if error.value in self._of_lost:
                raise
            return default

    def _ask_slices(self, name: str, *arguments: Any, default: Any = None) -> Any:
        """As `_ask`, but what is no clear no is raised: instances end with a slice that is not there any more."""
        nvml = self._nvml
        try:
            return getattr(nvml, name)(*arguments)
        except nvml.NVMLError as error:
            if error.value in (
                nvml.NVML_ERROR_INVALID_ARGUMENT,
                nvml.NVML_ERROR_NOT_SUPPORTED,
                nvml.NVML_ERROR_NOT_FOUND,
                nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
            ):
                return default
            raise

    # -- what processes use -------------------------------------------------------------------------------------------

    def samples(self, readings: Sequence[ProcessReading]) -> dict[int, GpuUse]:
        wanted = {reading.pid for reading in readings}
        uses: dict[int, GpuUse] = {}
        with self._lock:
            for uuid, seen in self._seen.items():
                if seen.gpu.is_divided or not seen.gpu.is_healthy:
                    continue
                memory_mib = self._memory_by_pid(seen.handle)
                busy = self._utilization_by_pid(uuid, seen)
                for pid in wanted & (memory_mib.keys() | (busy or {}).keys()):
                    uses[pid] = _merged(uses.get(pid), _use(pid, busy, memory_mib.get(pid)))
        return uses

    def held_mib(self) -> dict[int, float]:
        with self._lock:
            held: dict[int, float] = {}
            for seen in self._seen.values():
                if seen.gpu.is_divided or not seen.gpu.is_healthy:
                    continue
                for pid, memory_mib in self._memory_by_pid(seen.handle).items():
                    held[pid] = held.get(pid, 0.0) + (memory_mib or 0.0)
            return held

    def _memory_by_pid(self, handle: Any) -> dict[int, float | None]:
        """Of each process what the list says that has most of it."""
        held: dict[int, float | None] = {}
        for name in _RUNNING:
            try:
                running = getattr(self._nvml, name)(handle)
            except self._nvml.NVMLError as error:
                log.debug("nvml.no_processes list=%s error=%s", name, error)
                continue
            for process in running:
                used = process.usedGpuMemory
                known = held.get(process.pid)
                held[process.pid] = known if used is None else max(used / 2**20, known or 0.0)
        return held

    def _utilization_by_pid(self, uuid: str, seen: _Seen) -> dict[int, GpuUse] | None:
        """SM, encoder and decoder: the mean of the driver's samples since the last call. None = it tells none."""
        if seen.gpu.kind == "slice":
            return None
        since_us = self._sampled_us.get(uuid, self._began_us)
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(seen.handle, since_us)
        except self._nvml.NVMLError as error:
            # The library makes an error even of success with nothing to tell: no process used the card since then.
            nothing = (0, self._nvml.NVML_ERROR_NOT_FOUND, self._nvml.NVML_ERROR_NO_DATA)
            return {} if error.value in nothing else None
        by_pid: dict[int, list[Any]] = {}
        for sample in samples:
            # Drivers have been seen to give back older samples than those asked for.
            if sample.timeStamp > since_us:
                by_pid.setdefault(sample.pid, []).append(sample)
        self._sampled_us[uuid] = max([since_us, *(sample.timeStamp for sample in samples)])
        return {pid: _mean_of(of_pid) for pid, of_pid in by_pid.items()}


def _order(seen: _Seen) -> tuple[int, bool, str]:
    return (seen.gpu.index, seen.gpu.kind == "slice", seen.gpu.uuid)


def _lost(seen: _Seen, reason: str, now_s: float) -> _Seen:
    gpu = replace(seen.gpu, is_healthy=False, reason=reason, memory_used_mib=None, utilization=None, at_s=now_s)
    return replace(seen, gpu=gpu)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


def _mean_of(samples: Sequence[Any]) -> GpuUse:
    return GpuUse(
        _mean(s.smUtil for s in samples),
        _mean(s.encUtil for s in samples),
        _mean(s.decUtil for s in samples),
        None,
        max(s.timeStamp for s in samples) / 1e6,
    )


def _use(pid: int, busy: Mapping[int, GpuUse] | None, memory_mib: float | None) -> GpuUse:
    if busy is None:
        return replace(_UNKNOWN, memory_mib=memory_mib)
    # On the card's list of processes, and no sample of it: it did nothing there.
    return replace(busy.get(pid, GpuUse(0.0, 0.0, 0.0, None)), memory_mib=memory_mib)


def _merged(one: GpuUse | None, other: GpuUse) -> GpuUse:
    if one is None:
        return other
    return GpuUse(
        _greater(one.sm_utilization, other.sm_utilization),
        _greater(one.encoder_utilization, other.encoder_utilization),
        _greater(one.decoder_utilization, other.decoder_utilization),
        (one.memory_mib or 0.0) + (other.memory_mib or 0.0),
        _greater(one.at_s, other.at_s),
    )


def _greater(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known) if known else None


def _mean(percents: Iterable[int]) -> float:
    values = list(percents)
    return min(1.0, sum(values) / len(values) / 100)
