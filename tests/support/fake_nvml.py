"""A written stand-in for NVML's Python library: what `NvidiaDevices` calls of it, over cards that tests describe.

It answers as the real one does where that matters: what a card does not support is an error, a card that is lost raises
at every touch, and success with nothing to tell is an error too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class FakeNvmlError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


@dataclass
class FakeSlice:
    """A MIG slice. `running` are processes on it."""

    uuid: str
    profile: str = "1g.10gb"
    memory_mib: int = 9984
    running: list[Any] = field(default_factory=list)


@dataclass
class FakeCard:
    """`utilization` None = the driver may not tell. `slices` other than None: MIG mode is on, at these numbers."""

    uuid: str
    name: str = "NVIDIA A10"
    memory_mib: int = 24_576
    used_mib: int = 0
    capability: tuple[int, int] | None = (8, 6)
    busy_percent: int | None = 0
    running: list[Any] | None = field(default_factory=list)
    running_by_mps: list[Any] | None = field(default_factory=list)  # these NVML lists apart; None: not in this driver
    utilization: list[Any] | None = field(default_factory=list)
    slices: dict[int, FakeSlice] | None = None
    is_lost: bool = False
    fails_with: int = 0  # at every touch, this error


def running(pid: int, mib: int | None) -> Any:
    """A process on a card's list; None = the driver does not tell its memory."""
    return SimpleNamespace(pid=pid, usedGpuMemory=None if mib is None else mib * 2**20)


def busy(pid: int, sm: int, at_us: float = 9e18, enc: int = 0, dec: int = 0) -> Any:
    """One of the driver's samples of a process, in percent; later than any other if no time is given."""
    return SimpleNamespace(pid=pid, smUtil=sm, encUtil=enc, decUtil=dec, timeStamp=int(at_us))


class FakeNvml:
    """Handles are the cards and slices themselves. `xids` are told once each: (card's index, XID)."""

    NVMLError = FakeNvmlError
    NVML_ERROR_INVALID_ARGUMENT = 2
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_NOT_FOUND = 6
    NVML_ERROR_TIMEOUT = 10
    NVML_ERROR_FUNCTION_NOT_FOUND = 13
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_ERROR_RESET_REQUIRED = 16
    NVML_ERROR_NO_DATA = 21
    NVML_ERROR_GPU_NOT_FOUND = 28
    NVML_ERROR_UNKNOWN = 999
    nvmlEventTypeXidCriticalError = 8  # noqa: N815 - NVML's name

    def __init__(self, *cards: FakeCard, events: bool = True) -> None:
        self.cards = list(cards)
        self.xids: deque[tuple[int, int]] = deque()
        self._events = events
        self.counts = True
        self.tells_slices = True

    def _touch(self, handle: FakeCard | FakeSlice) -> Any:
        card = handle
        if isinstance(handle, FakeSlice):
            card = next(c for c in self.cards if handle in (c.slices or {}).values())
        if isinstance(card, FakeCard) and card.is_lost:
            raise FakeNvmlError(self.NVML_ERROR_GPU_IS_LOST)
        if isinstance(card, FakeCard) and card.fails_with:
            raise FakeNvmlError(card.fails_with)
        return handle

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "550.54.15"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        if not self.counts:
            raise FakeNvmlError(self.NVML_ERROR_UNKNOWN)
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802
        return self._touch(self.cards[index])

    def nvmlDeviceGetUUID(self, handle: Any) -> str:  # noqa: N802
        return str(self._touch(handle).uuid)

    def nvmlDeviceGetName(self, handle: Any) -> bytes:  # noqa: N802
        if isinstance(handle, FakeSlice):
            return f"NVIDIA A100 MIG {handle.profile}".encode()
        return str(self._touch(handle).name).encode()

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: N802
        touched = self._touch(handle)
        return SimpleNamespace(total=touched.memory_mib * 2**20, used=getattr(touched, "used_mib", 0) * 2**20)

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> tuple[int, int]:  # noqa: N802
        found: tuple[int, int] = self._or_unsupported(self._touch(handle).capability)
        return found

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self._or_unsupported(self._touch(handle).busy_percent))

    def nvmlDeviceGetMigMode(self, handle: Any) -> tuple[int, int]:  # noqa: N802
        on = int(self._touch(handle).slices is not None)
        return on, on

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int:  # noqa: N802
        return 0 if self._touch(handle).slices is None else 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, number: int) -> Any:  # noqa: N802
        if not self.tells_slices:
            raise FakeNvmlError(self.NVML_ERROR_UNKNOWN)
        if number not in (self._touch(handle).slices or {}):
            raise FakeNvmlError(self.NVML_ERROR_NOT_FOUND)
        return handle.slices[number]

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]:  # noqa: N802
        found: list[Any] = self._or_unsupported(self._touch(handle).running)
        return found

    def nvmlDeviceGetMPSComputeRunningProcesses(self, handle: Any) -> list[Any]:  # noqa: N802
        found: list[Any] = self._or_unsupported(getattr(self._touch(handle), "running_by_mps", []))
        return found

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any) -> list[Any]:  # noqa: N802
        self._touch(handle)
        return []

    def nvmlDeviceGetProcessUtilization(self, handle: Any, since_us: int) -> list[Any]:  # noqa: N802
        if isinstance(handle, FakeSlice) or handle.slices is not None:
            raise FakeNvmlError(self.NVML_ERROR_NOT_SUPPORTED)
        samples = self._touch(handle).utilization
        if samples is None:
            raise FakeNvmlError(self.NVML_ERROR_NO_PERMISSION)
        if not samples:
            raise FakeNvmlError(self.NVML_ERROR_NOT_FOUND)
        return list(samples)

    def nvmlEventSetCreate(self) -> Any:  # noqa: N802
        if not self._events:
            raise FakeNvmlError(self.NVML_ERROR_NOT_SUPPORTED)
        return self

    def nvmlDeviceRegisterEvents(self, handle: Any, kinds: int, events: Any) -> None:  # noqa: N802
        self._touch(handle)

    def nvmlEventSetWait_v2(self, events: Any, timeout_ms: int) -> Any:  # noqa: N802
        if not self.xids:
            raise FakeNvmlError(self.NVML_ERROR_TIMEOUT)
        index, xid = self.xids.popleft()
        return SimpleNamespace(device=self.cards[index], eventData=xid)

    def _or_unsupported(self, value: Any) -> Any:
        if value is None:
            raise FakeNvmlError(self.NVML_ERROR_NOT_SUPPORTED)
        return value
