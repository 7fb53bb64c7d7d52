"""The device port: one suite over every filling, NVML by a written stand-in for its library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.node.devices import Devices, GpuUse, NoDevices, ProcessReading, SimulatedDevices
from runtime.node.nvidia import NvidiaDevices
from runtime.node.samples import together
from tests.support.fake_nvml import FakeCard, FakeNvml, FakeSlice, busy, running


def card(number: int = 0, **values: Any) -> FakeCard:
    return FakeCard(f"GPU-{number}", **values)


def divided(number: int = 0, *numbers: int) -> FakeCard:
    slices = {n: FakeSlice(f"MIG-{number}-{n}", running=[running(70 + n, 500)]) for n in numbers}
    return card(number, name="NVIDIA A100", memory_mib=81_920, capability=(8, 0), slices=slices)


def reading(pid: int) -> ProcessReading:
    return ProcessReading(pid, None, 0.0)


FILLINGS: dict[str, Callable[[], Devices]] = {
    "none": NoDevices,
    "simulated": lambda: SimulatedDevices(2, 1024),
    "nvidia": lambda: NvidiaDevices(FakeNvml(card(running=[running(1, 100)], utilization=[busy(1, 40)]), card(1))),
    "nvidia without permissions": lambda: NvidiaDevices(FakeNvml(card(running=None, utilization=None), events=False)),
    "nvidia with slices": lambda: NvidiaDevices(FakeNvml(card(), divided(1, 0, 2))),
    "nvidia with a lost card": lambda: with_lost_card(),
    "nvidia that tells little": lambda: NvidiaDevices(FakeNvml(card(capability=None, busy_percent=None))),
}


def with_lost_card() -> NvidiaDevices:
    nvml = FakeNvml(card(0, running=[running(1, 100)]), card(1))
    devices = NvidiaDevices(nvml)
    nvml.cards[0].is_lost = True
    return devices


@pytest.fixture(params=FILLINGS)
def devices(request: pytest.FixtureRequest) -> Devices:
    return FILLINGS[request.param]()


def test_every_device_has_an_index_a_uuid_a_name_and_memory(devices: Devices) -> None:
    gpus = devices.inventory()
    cards = [gpu for gpu in gpus if gpu.kind == "card"]
    assert [gpu.index for gpu in cards] == list(range(len(cards)))
    assert len({gpu.uuid for gpu in gpus}) == len(gpus)
    assert all(gpu.uuid and gpu.name and gpu.memory_mib > 0 for gpu in gpus)


def test_slices_follow_the_card_that_they_are_of(devices: Devices) -> None:
    newest = ""
    for gpu in devices.inventory():
        if gpu.kind == "card":
            newest = gpu.uuid
        else:
            assert gpu.card == newest


def test_a_device_that_is_not_healthy_says_why(devices: Devices) -> None:
    assert all(gpu.is_healthy == (gpu.reason == "") for gpu in devices.inventory())


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
    assert all(value >= 0.0 for value in devices.held_mib().values())


def test_the_simulated_card_is_as_busy_as_one_core_and_as_full_as_the_process() -> None:
    devices = SimulatedDevices(1, 1000)
    assert devices.samples([ProcessReading(1, 0.25, 100.0)]) == {1: GpuUse(0.25, 0.0, 0.0, 100.0)}
    assert devices.samples([ProcessReading(1, None, 5000.0)]) == {1: GpuUse(None, 0.0, 0.0, 1000.0)}


def test_a_simulated_card_is_lost_while_a_file_says_so(tmp_path: Path) -> None:
    devices = SimulatedDevices(2, 1000, tmp_path)
    fault = tmp_path / "simulated-gpu-1.lost"
    fault.touch()
    assert [gpu.is_healthy for gpu in devices.inventory()] == [True, False]
    assert devices.inventory()[1].reason == "it has fallen off the bus (simulated)"
    fault.unlink()
    assert all(gpu.is_healthy for gpu in devices.inventory())


# -- what NVML tells of cards -----------------------------------------------------------------------------------------


def test_a_card_is_told_with_its_driver_its_capability_and_what_is_used_of_it() -> None:
    (gpu,) = NvidiaDevices(FakeNvml(card(used_mib=1024, busy_percent=35))).inventory()
    assert (gpu.name, gpu.driver, gpu.compute_capability) == ("NVIDIA A10", "550.54.15", "8.6")
    assert (gpu.memory_mib, gpu.memory_used_mib, gpu.utilization) == (24_576, 1024, 0.35)


def test_what_a_card_does_not_support_is_unknown() -> None:
    (gpu,) = NvidiaDevices(FakeNvml(card(capability=None, busy_percent=None))).inventory()
    assert (gpu.compute_capability, gpu.utilization, gpu.is_healthy) == ("", None, True)


def test_a_divided_card_is_followed_by_its_slices_and_tells_no_utilization_for_them() -> None:
    whole, first, third = NvidiaDevices(FakeNvml(divided(0, 0, 2))).inventory()
    assert (whole.is_divided, whole.utilization) == (True, None)
    assert [(s.uuid, s.kind, s.profile, s.memory_mib) for s in (first, third)] == [
        ("MIG-0-0", "slice", "1g.10gb", 9984), ("MIG-0-2", "slice", "1g.10gb", 9984),
    ]  # fmt: skip
    assert (first.is_divided, first.utilization, first.compute_capability) == (False, None, "8.0")


def test_a_process_on_a_slice_has_memory_there_and_no_utilization_of_the_card() -> None:
    nvml = FakeNvml(divided(0, 0, 2))
    nvml.cards[0].running = [running(70, 9999)]  # as the whole card lists it too
    assert NvidiaDevices(nvml).samples([reading(70)]) == {70: GpuUse(None, None, None, 500.0)}


def test_slices_that_are_made_and_taken_away_later_are_found_by_the_next_look() -> None:
    nvml = FakeNvml(card(0))
    devices = NvidiaDevices(nvml)
    nvml.cards[0] = divided(0, 1)
    assert [gpu.uuid for gpu in devices.inventory()] == ["GPU-0", "MIG-0-1"]
    nvml.cards[0] = card(0)
    assert [gpu.uuid for gpu in devices.inventory()] == ["GPU-0"]


# -- cards that fail --------------------------------------------------------------------------------------------------


def test_a_card_that_falls_off_the_bus_stays_listed_as_lost_with_its_slices_and_comes_back() -> None:
    nvml = FakeNvml(card(0), divided(1, 0))
    devices = NvidiaDevices(nvml)
    nvml.cards[1].is_lost = True
    for _ in range(2):
        first, second, part = devices.inventory()
        assert (first.is_healthy, second.is_healthy, part.is_healthy) == (True, False, False)
        assert second.reason == "it has fallen off the bus (NVML: NVML error 15)"
        assert (second.memory_used_mib, part.memory_mib) == (None, 9984)
    nvml.cards[1].is_lost = False
    assert all(gpu.is_healthy for gpu in devices.inventory())


def test_a_driver_that_fails_for_a_moment_makes_no_card_a_lost_one() -> None:
    nvml = FakeNvml(card(0), divided(1, 0))
    devices = NvidiaDevices(nvml)
    before = devices.inventory()
    nvml.cards[1].fails_with = nvml.NVML_ERROR_UNKNOWN
    assert [gpu.uuid for gpu in devices.inventory() if gpu.is_healthy] == [gpu.uuid for gpu in before]
    nvml.cards[1].fails_with = 0
    nvml.tells_slices = False
    assert [gpu.uuid for gpu in devices.inventory() if gpu.is_healthy] == [gpu.uuid for gpu in before]
    nvml.counts = False
    assert [gpu.uuid for gpu in devices.inventory() if gpu.is_healthy] == [gpu.uuid for gpu in before]


@pytest.mark.parametrize("error", [15, 16, 28])
def test_a_card_that_is_lost_needs_a_reset_or_is_not_found_holds_nothing(error: int) -> None:
    nvml = FakeNvml(card(0))
    devices = NvidiaDevices(nvml)
    nvml.cards[0].fails_with = error
    (gpu,) = devices.inventory()
    assert (gpu.is_healthy, gpu.reason) == (False, f"it has fallen off the bus (NVML: NVML error {error})")


def test_a_card_that_nvml_counts_no_more_is_lost() -> None:
    nvml = FakeNvml(card(0), card(1))
    devices = NvidiaDevices(nvml)
    nvml.cards.pop()
    assert [(gpu.uuid, gpu.is_healthy) for gpu in devices.inventory()] == [("GPU-0", True), ("GPU-1", False)]


def test_a_card_that_takes_the_index_of_a_lost_one_is_a_card_of_its_own() -> None:
    nvml = FakeNvml(card(0), card(1))
    devices = NvidiaDevices(nvml)
    nvml.cards.pop(0)
    assert {gpu.uuid: gpu.is_healthy for gpu in devices.inventory()} == {"GPU-0": False, "GPU-1": True}


def test_an_xid_of_the_card_makes_it_unhealthy_for_good_and_its_slices_with_it() -> None:
    nvml = FakeNvml(divided(0, 0), card(1))
    devices = NvidiaDevices(nvml)
    nvml.xids.extend([(0, 79), (0, 48)])
    for _ in range(2):
        whole, part, other = devices.inventory()
        assert whole.reason == part.reason == "XID 79: the driver says that the card has failed"
        assert other.is_healthy


@pytest.mark.parametrize("xid", [13, 31, 43, 45, 68, 109])
def test_an_xid_that_a_program_caused_says_nothing_of_the_card(xid: int) -> None:
    nvml = FakeNvml(card())
    devices = NvidiaDevices(nvml)
    nvml.xids.append((0, xid))
    assert devices.inventory()[0].is_healthy


def test_a_lost_card_is_asked_for_no_samples() -> None:
    devices = with_lost_card()
    devices.inventory()
    assert devices.samples([reading(1)]) == {}
    assert devices.held_mib() == {}


# -- what NVML tells of processes -------------------------------------------------------------------------------------


def of_card(**values: Any) -> NvidiaDevices:
    return NvidiaDevices(FakeNvml(card(**values)))


def test_nvml_samples_of_one_process_are_averaged_and_old_ones_left_out() -> None:
    samples = [busy(1, 40, enc=10), busy(1, 60, dec=20), busy(1, 99, at_us=5)]
    devices = of_card(running=[running(1, 100)], utilization=samples)
    assert devices.samples([reading(1)]) == {1: GpuUse(0.5, 0.05, 0.1, 100.0)}


def test_a_use_is_as_old_as_the_newest_of_its_samples() -> None:
    samples = [busy(1, 40, at_us=4.0e18), busy(1, 60, at_us=5.0e18)]
    assert of_card(running=[running(1, 9)], utilization=samples).samples([reading(1)])[1].at_s == 5.0e12


def test_nvml_samples_are_counted_once() -> None:
    devices = of_card(running=[running(1, 100)], utilization=[busy(1, 40)])
    assert devices.samples([reading(1)])[1].sm_utilization == 0.4
    assert devices.samples([reading(1)])[1].sm_utilization == 0.0


def test_a_process_that_did_nothing_on_its_card_is_idle() -> None:
    assert of_card(running=[running(1, 100)]).samples([reading(1)]) == {1: GpuUse(0.0, 0.0, 0.0, 100.0)}


def test_utilization_that_the_driver_may_not_tell_is_unknown_and_not_nothing() -> None:
    devices = of_card(running=[running(1, 100)], utilization=None)
    assert devices.samples([reading(1)]) == {1: GpuUse(None, None, None, 100.0)}


def test_a_process_on_two_cards_is_as_busy_as_on_the_busier_one_and_holds_memory_of_both() -> None:
    first = card(0, running=[running(1, 100)], utilization=[busy(1, 40)])
    second = card(1, running=[running(1, 50)], utilization=[busy(1, 70)])
    devices = NvidiaDevices(FakeNvml(first, second))
    assert devices.samples([reading(1)]) == {1: GpuUse(0.7, 0.0, 0.0, 150.0)}
    assert devices.held_mib() == {1: 150.0}


def test_memory_that_the_driver_does_not_tell_is_unknown() -> None:
    devices = of_card(running=[running(1, None)], utilization=[busy(1, 40)])
    assert devices.samples([reading(1)]) == {1: GpuUse(0.4, 0.0, 0.0, None)}


def test_looking_at_what_processes_hold_takes_no_sample_away() -> None:
    devices = of_card(running=[running(1, 100)], utilization=[busy(1, 40)])
    assert devices.held_mib() == {1: 100.0}
    assert devices.samples([reading(1)])[1].sm_utilization == 0.4


def test_the_processes_of_one_instance_add_up_to_the_whole_card_at_most() -> None:
    both = together([GpuUse(0.7, 0.1, None, 100.0, 8.0), GpuUse(0.6, 0.1, None, None, 7.0)])
    assert both == GpuUse(1.0, 0.2, None, 100.0)
    assert both.at_s == 7.0


def test_an_instance_without_a_process_on_a_card_uses_nothing_of_it() -> None:
    assert together([]) == GpuUse(0.0, 0.0, 0.0, 0.0)


def test_the_stand_in_has_no_name_and_no_number_that_the_library_has_not() -> None:
    pynvml = pytest.importorskip("pynvml")
    names = [name for name in dir(FakeNvml) if name.lower().startswith("nvml")]
    assert [name for name in names if not hasattr(pynvml, name)] == []
    numbers = [name for name in names if isinstance(getattr(FakeNvml, name), int)]
    assert {name: getattr(FakeNvml, name) for name in numbers} == {name: getattr(pynvml, name) for name in numbers}


def test_what_clients_of_mps_hold_is_theirs() -> None:
    nvml = FakeNvml(card(running=[running(9, 30)], running_by_mps=[running(1, 500), running(9, 20)]))
    devices = NvidiaDevices(nvml)
    assert devices.held_mib() == {1: 500.0, 9: 30.0}
    assert devices.samples([reading(1)])[1].memory_mib == 500.0
    nvml.cards[0].running_by_mps = None
    assert devices.held_mib() == {9: 30.0}
