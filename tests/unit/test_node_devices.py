"""The device port: one suite over every filling, NVML by a written stand-in for its library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.node.devices import Devices, GpuUse, NoDevices, NvidiaDevices, ProcessReading, SimulatedDevices
from runtime.node.samples import together


class FakeNvmlError(Exception):
    pass


@dataclass
class FakeNvml:
    """Two cards. `running` and `utilization` are by card; a missing one answers with NVML's error, as the real does."""

    running: dict[int, list[Any]] = field(default_factory=dict)
    utilization: dict[int, list[Any]] = field(default_factory=dict)
    NVMLError = FakeNvmlError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:  # noqa: N802
        return f"Card {handle}".encode()

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(total=(handle + 1) * 1024 * 2**20)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        return _or_error(self.running, handle)

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        return []

    def nvmlDeviceGetProcessUtilization(self, handle: int, since_us: int) -> list[Any]:  # noqa: N802
        return _or_error(self.utilization, handle)


def _or_error(table: dict[int, list[Any]], handle: int) -> list[Any]:
    if handle not in table:
        raise FakeNvmlError("Not Found")
    return table[handle]


def running(pid: int, mib: int | None) -> Any:
    return SimpleNamespace(pid=pid, usedGpuMemory=None if mib is None else mib * 2**20)


def busy(pid: int, sm: int, at_us: float = 9e18, enc: int = 0, dec: int = 0) -> Any:
    return SimpleNamespace(pid=pid, smUtil=sm, encUtil=enc, decUtil=dec, timeStamp=int(at_us))


FILLINGS: dict[str, Callable[[], Devices]] = {
    "none": NoDevices,
    "simulated": lambda: SimulatedDevices(2, 1024),
    "nvidia": lambda: NvidiaDevices(FakeNvml({0: [running(1, 100)]}, {0: [busy(1, 40)]})),
    "nvidia without permissions": lambda: NvidiaDevices(FakeNvml()),
}


@pytest.fixture(params=FILLINGS)
def devices(request: pytest.FixtureRequest) -> Devices:
    return FILLINGS[request.param]()


def test_every_card_has_an_index_a_name_and_memory(devices: Devices) -> None:
    gpus = devices.inventory()
    assert [gpu.index for gpu in gpus] == list(range(len(gpus)))
    assert all(gpu.name and gpu.memory_mib > 0 for gpu in gpus)


def test_simulated_cards_say_so_and_real_ones_do_not(devices: Devices) -> None:
    assert {gpu.simulated for gpu in devices.inventory()} <= {devices.simulated}


def test_samples_speak_only_of_the_processes_asked_for(devices: Devices) -> None:
    assert set(devices.samples([ProcessReading(1, 0.5, 64.0)])) <= {1}
    assert devices.samples([]) == {}


def test_utilizations_lie_between_nothing_and_all_of_it(devices: Devices) -> None:
    for use in devices.samples([ProcessReading(1, 3.5, 9999.0), ProcessReading(2, None, 0.0)]).values():
        for value in (use.sm_utilization, use.encoder_utilization, use.decoder_utilization):
            assert value is None or 0.0 <= value <= 1.0
        assert use.memory_mib is None or use.memory_mib >= 0.0


def test_the_simulated_card_is_as_busy_as_one_core_and_as_full_as_the_process() -> None:
    devices = SimulatedDevices(1, 1000)
    assert devices.samples([ProcessReading(1, 0.25, 100.0)]) == {1: GpuUse(0.25, 0.0, 0.0, 100.0)}
    assert devices.samples([ProcessReading(1, None, 5000.0)]) == {1: GpuUse(None, 0.0, 0.0, 1000.0)}


def test_nvml_samples_of_one_process_are_averaged_and_old_ones_left_out() -> None:
    nvml = FakeNvml({0: [running(1, 100)]}, {0: [busy(1, 40, enc=10), busy(1, 60, dec=20), busy(1, 99, at_us=5)]})
    assert NvidiaDevices(nvml).samples([ProcessReading(1, None, 0.0)]) == {1: GpuUse(0.5, 0.05, 0.1, 100.0)}


def test_nvml_samples_are_counted_once() -> None:
    nvml = FakeNvml({0: [running(1, 100)]}, {0: [busy(1, 40)]})
    devices = NvidiaDevices(nvml)
    assert devices.samples([ProcessReading(1, None, 0.0)])[1].sm_utilization == 0.4
    assert devices.samples([ProcessReading(1, None, 0.0)])[1].sm_utilization == 0.0


def test_a_process_on_two_cards_is_as_busy_as_on_the_busier_one_and_holds_memory_of_both() -> None:
    nvml = FakeNvml({0: [running(1, 100)], 1: [running(1, 50)]}, {0: [busy(1, 40)], 1: [busy(1, 70)]})
    assert NvidiaDevices(nvml).samples([ProcessReading(1, None, 0.0)]) == {1: GpuUse(0.7, 0.0, 0.0, 150.0)}


def test_memory_that_the_driver_does_not_tell_is_unknown() -> None:
    nvml = FakeNvml({0: [running(1, None)]}, {0: [busy(1, 40)]})
    assert NvidiaDevices(nvml).samples([ProcessReading(1, None, 0.0)]) == {1: GpuUse(0.4, 0.0, 0.0, None)}


def test_the_processes_of_one_instance_add_up_to_the_whole_card_at_most() -> None:
    both = together([GpuUse(0.7, 0.1, None, 100.0), GpuUse(0.6, 0.1, None, None)])
    assert both == GpuUse(1.0, 0.2, None, 100.0)


def test_an_instance_without_a_process_on_a_card_uses_nothing_of_it() -> None:
    assert together([]) == GpuUse(0.0, 0.0, 0.0, 0.0)
