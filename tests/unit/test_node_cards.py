"""What an instance gets of a device: its share, the variables that hold it there, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.node.cards import Cards
from runtime.node.devices import Gpu, NoDevices, SimulatedDevices
from runtime.node.errors import LaunchRefused
from runtime.node.gpu_share import GpuShare, allocation_limit_bytes, gpu_environment, is_over, share_of
from runtime.node.mps import Mps, MpsError
from runtime.node.nvidia import NvidiaDevices
from tests.support.fake_nvml import FakeCard, FakeNvml, FakeSlice

MIB = 2**20
A10 = Gpu(0, "NVIDIA A10", 24_576, uuid="GPU-0", compute_capability="8.6")


class FakeMps(Mps):
    """Serves every card, but for a reason."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(Path("/nowhere"), "")
        self.reason = reason
        self.served: list[str] = []
        self.dead: set[str] = set()

    def serve(self, uuid: str) -> str:
        if self.reason:
            raise MpsError(self.reason)
        self.served.append(uuid)
        self.dead.discard(uuid)
        return f"/mps/{uuid}"

    def lives(self, uuid: str) -> bool:
        return uuid in self.served and uuid not in self.dead

    def stop(self, uuid: str) -> None:
        self.dead.add(uuid)


# -- shares -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked_mib", "memory_mib", "percent"),
    [(6144, 6144, 25), (24_576, 24_576, 100), (1, 1, 1), (8192, 8192, 34), (26_000, 24_576, 100)],
)
def test_compute_is_in_proportion_to_memory(asked_mib: int, memory_mib: int, percent: int) -> None:
    share = share_of(A10, asked_mib)
    assert (share.memory_mib, share.compute_percent) == (memory_mib, percent)


def test_shares_that_fill_a_card_are_never_promised_more_memory_than_it_has() -> None:
    for parts in range(1, 40):
        asked = A10.memory_mib // parts
        assert sum(share_of(A10, asked).memory_mib for _ in range(parts)) <= A10.memory_mib


@pytest.mark.parametrize("memory_mib", [1, 2, 100, 1023, 1024, 4096, 81_920])
def test_what_may_be_allocated_leaves_room_for_the_context(memory_mib: int) -> None:
    limit = allocation_limit_bytes(memory_mib)
    assert 0 < limit <= memory_mib * MIB
    assert memory_mib * MIB - limit in (512 * MIB, memory_mib // 2 * MIB)


def test_an_instance_sees_its_device_alone_and_knows_its_limit() -> None:
    assert gpu_environment(share_of(A10, 6144)) == {
        "CUDA_VISIBLE_DEVICES": "GPU-0",
        "STOKE_GPU_DEVICE": "GPU-0",
        "STOKE_GPU_MEMORY_LIMIT_BYTES": str(5632 * MIB),
    }


def test_under_mps_the_driver_is_told_to_hold_memory_and_compute() -> None:
    values = gpu_environment(share_of(A10, 6144, "/mps/pipe"))
    assert values["CUDA_MPS_PIPE_DIRECTORY"] == "/mps/pipe"
    assert values["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "25"
    assert values["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=6144M"


def test_two_functions_on_one_card_are_each_limited_to_their_own_gpu_memory_size() -> None:
    first, second = (gpu_environment(share_of(A10, mib, "/mps/pipe")) for mib in (16_384, 8192))
    assert first["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=16384M"
    assert second["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=8192M"
    limits = [int(values["STOKE_GPU_MEMORY_LIMIT_BYTES"]) for values in (first, second)]
    assert limits == [15_872 * MIB, 7680 * MIB]
    assert sum(limits) + 2 * 512 * MIB == A10.memory_mib * MIB


def test_a_simulated_card_is_none_that_cuda_could_find() -> None:
    values = gpu_environment(share_of(replace(A10, simulated=True), 1024))
    assert values["CUDA_VISIBLE_DEVICES"] == ""
    assert values["STOKE_GPU_DEVICE"] == "GPU-0"


def test_an_instance_that_holds_more_than_it_asked_for_is_over_and_rounding_is_not() -> None:
    share = GpuShare("GPU-0", 1000, 5)
    assert [is_over(used_mib, share) for used_mib in (0.0, 1000.0, 1019.0, 1021.0)] == [False, False, False, True]


# -- what is on this machine ------------------------------------------------------------------------------------------


def nvidia(*cards: FakeCard) -> tuple[FakeNvml, NvidiaDevices]:
    nvml = FakeNvml(*cards)
    return nvml, NvidiaDevices(nvml)


def sharing(cards: Cards) -> list[tuple[str, str, str]]:
    return [(gpu["uuid"], gpu["sharing"], gpu["sharing_reason"]) for gpu in cards.described()]


def test_cards_are_shared_by_mps_where_it_can_be_started_and_slices_take_turns() -> None:
    divided = FakeCard("GPU-1", slices={0: FakeSlice("MIG-0")})
    old = FakeCard("GPU-2", capability=(6, 1))
    cards = Cards(nvidia(FakeCard("GPU-0"), divided, old)[1], "auto", FakeMps())
    assert sharing(cards) == [
        ("GPU-0", "mps", ""),
        ("GPU-1", "slices", ""),
        ("MIG-0", "time-slicing", "a slice has compute of its own; its instances take turns"),
        ("GPU-2", "time-slicing", "compute capability 6.1: MPS limits need 7.0 or more"),
    ]
    assert cards.share("GPU-0", 1024).mps_pipe == "/mps/GPU-0"
    assert cards.share("MIG-0", 1024).mps_pipe == ""


def test_why_mps_is_not_used_is_said() -> None:
    _, devices = nvidia(FakeCard("GPU-0"))
    missing = "nvidia-cuda-mps-control is not in PATH"
    assert sharing(Cards(devices, "auto", FakeMps(missing))) == [("GPU-0", "time-slicing", missing)]
    said = "the setting gpu_sharing says so"
    assert sharing(Cards(devices, "time-slicing", FakeMps())) == [("GPU-0", "time-slicing", said)]
    simulated = Cards(SimulatedDevices(1, 1000), "auto", FakeMps())
    assert sharing(simulated) == [("simulated-0", "time-slicing", "a simulated card has no compute to share")]


def test_a_daemon_that_died_is_started_again_by_the_next_look() -> None:
    mps = FakeMps()
    cards = Cards(nvidia(FakeCard("GPU-0"))[1], "auto", mps)
    cards.look()
    assert mps.served == ["GPU-0"]
    mps.dead.add("GPU-0")
    cards.look()
    assert mps.served == ["GPU-0", "GPU-0"]
    cards.stop()
    assert not mps.lives("GPU-0")


def test_nothing_is_launched_on_a_device_that_is_lost_divided_or_unknown() -> None:
    nvml, devices = nvidia(FakeCard("GPU-0"), FakeCard("GPU-1", slices={0: FakeSlice("MIG-0")}))
    cards = Cards(devices, "auto", FakeMps())
    with pytest.raises(LaunchRefused, match="gpu_device 'GPU-1' is divided into slices"):
        cards.share("GPU-1", 1024)
    with pytest.raises(LaunchRefused, match="gpu_device 'GPU-9' is not on this node; there: GPU-0, GPU-1, MIG-0"):
        cards.share("GPU-9", 1024)
    with pytest.raises(LaunchRefused, match="is not on this node; there: none"):
        Cards(NoDevices(), "auto", FakeMps()).share("GPU-0", 1024)
    nvml.cards[0].is_lost = True
    cards.look()
    with pytest.raises(LaunchRefused, match="gpu_device 'GPU-0' is not healthy: it has fallen off the bus"):
        cards.share("GPU-0", 1024)


def test_instances_of_a_lost_card_and_of_a_slice_that_was_taken_away_are_told_apart_from_the_others() -> None:
    nvml, devices = nvidia(FakeCard("GPU-0"), FakeCard("GPU-1", slices={0: FakeSlice("MIG-0"), 1: FakeSlice("MIG-1")}))
    cards = Cards(devices, "auto", FakeMps())
    placed = ["GPU-0", "MIG-0", "MIG-1"]
    assert cards.gone(placed) == {}
    nvml.cards[0].is_lost = True
    nvml.cards[1].slices = {1: FakeSlice("MIG-1")}
    cards.look()
    gone = cards.gone(placed)
    assert gone["GPU-0"].startswith("it has fallen off the bus")
    assert gone["MIG-0"] == "it is not there any more"
    assert set(gone) == {"GPU-0", "MIG-0"}
