"""Where an instance goes, how many more fit, and the words in which a refusal says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from control_plane.fleet.backoff import WAIT_MAX_S, Backoff
from control_plane.fleet.families import capability, family, family_asked
from control_plane.fleet.placement import (
    Device,
    Need,
    Node,
    Placed,
    Refused,
    Rule,
    State,
    Taken,
    fits,
    node_of,
    place,
    refusal,
    stranded_mib,
)
from runtime.node_contract import NodeInfo

RULE = Rule()
T4 = Device("T4", 0, "Tesla T4", 15_360, (7, 5))
A10 = Device("A10", 1, "NVIDIA A10", 23_028, (8, 6))
H100 = Device("H100", 2, "NVIDIA H100", 81_559, (9, 0))
SLICE = Device("MIG", 2, "NVIDIA H100 MIG 1g.10gb", 9_984, (9, 0), is_slice=True)


def node(*devices: Device, **values: Any) -> Node:
    return Node(**{"name": "n", "memory_mib": 65_536, "devices": devices, **values})


def state(*devices: Device, **gpu_mib: int) -> State:
    return ((node(*devices), Taken(gpu_mib=gpu_mib)),)


def device_of(given: State, need: Need, rule: Rule = RULE, sizes: tuple[int, ...] = ()) -> str:
    placed = place(given, need, rule, sizes)
    assert isinstance(placed, Placed), placed
    return placed.device


# -- feasible ---------------------------------------------------------------------------------------------------------


def test_memory_is_promised_in_full() -> None:
    machine = ((node(memory_mib=4096), Taken(memory_mib=1024)),)
    assert fits(machine, Need(1024), RULE) == 3
    assert refusal(machine, Need(4096), RULE) == "4096 MiB of memory asked for, 3072 of 4096 MiB left"


def test_gpu_memory_counts_device_by_device() -> None:
    # 12 GiB are free in all, and on no card more than 8.
    machine = state(T4, A10, T4=11_264, A10=15_028)
    assert fits(machine, Need(512, 10_240), RULE) == 0
    assert fits(machine, Need(512, 4_000), RULE) == 3


def test_gpu_memory_is_not_asked_of_machines_without_devices() -> None:
    assert place(state(), Need(1024, 8192), RULE) == Placed("n")


def test_a_machine_whose_only_card_is_lost_does_not_run_gpu_functions_on_its_cpu() -> None:
    lost = replace(T4, is_healthy=False, reason="it has fallen off the bus")
    assert isinstance(place(state(lost), Need(512, 1024), RULE), Refused)


def test_the_size_that_a_card_is_sold_by_is_the_whole_card() -> None:
    placed = place(state(T4), Need(512, 16_384, instance_type="fc.gpu.tesla.1"), RULE)
    assert placed == Placed("n", "T4", 15_360)
    assert isinstance(place(state(T4), Need(512, 24_576), RULE), Refused)
    assert isinstance(place(state(T4, T4=1), Need(512, 16_384), RULE), Refused)


def test_cpu_counts_only_where_the_rule_says_how_much_of_it_may_be_promised() -> None:
    machine = ((node(cpu=2.0), Taken(cpu=1.95)),)
    assert isinstance(place(machine, Need(512, cpu=8.0), RULE), Placed)
    assert isinstance(place(machine, Need(512, cpu=0.05), Rule(cpu_overcommit=1.0)), Placed)
    assert refusal(machine, Need(512, cpu=0.1), Rule(cpu_overcommit=1.0)) == "0.1 vCPU asked for, 0.05 of 2 left"
    assert fits(machine, Need(512, cpu=0.05), Rule(cpu_overcommit=2.0)) == 41


def test_disk_counts_where_the_node_tells_of_it() -> None:
    machine = ((node(disk_mib=1000), Taken(disk_mib=600)),)
    assert refusal(machine, Need(64, disk_mib=512), RULE) == "512 MiB of disk asked for, 400 of 1000 MiB left"
    assert isinstance(place(state(), Need(64, disk_mib=512), RULE), Placed)


def test_a_node_must_have_every_label_asked_for() -> None:
    here, there = node(name="a", labels={"zone": "1"}), node(name="b", labels={"zone": "1", "disk": "ssd"})
    need = Need(64, labels=(("disk", "ssd"), ("zone", "1")))
    assert place(((here, Taken()), (there, Taken())), need, RULE) == Placed("b")
    assert refusal(((here, Taken()),), need, RULE) == "label disk=ssd asked for, it has zone=1"


@pytest.mark.parametrize(
    ("instance_type", "rule", "fitting"),
    [
        ("fc.gpu.tesla.1", "at-least", {"T4", "A10", "H100"}),
        ("fc.gpu.ampere.1", "at-least", {"A10", "H100"}),
        ("fc.gpu.ada.1", "at-least", {"H100"}),
        ("fc.gpu.ampere.1", "exact", {"A10"}),
        ("fc.gpu.ada.1", "any", {"T4", "A10", "H100"}),
        ("e1", "exact", {"T4", "A10", "H100"}),
        ("fc.gpu.xpu.1", "exact", {"T4", "A10", "H100"}),
    ],
)
def test_a_card_is_of_the_family_asked_for_or_newer_as_the_rule_says(
    instance_type: str, rule: Any, fitting: set[str]
) -> None:
    need = Need(512, 1024, instance_type=instance_type)
    cards = (T4, A10, H100)
    assert {c.uuid for c in cards if isinstance(place(state(c), need, Rule(family=rule)), Placed)} == fitting


def test_a_card_whose_family_is_not_told_may_be_any() -> None:
    unknown = replace(T4, capability=None)
    assert device_of(state(unknown), Need(512, 1024, instance_type="fc.gpu.ada.1"), Rule(family="exact")) == "T4"


@pytest.mark.parametrize(
    ("text", "name"),
    [("10.0", "blackwell"), ("9.0", "hopper"), ("8.9", "ada"), ("8.6", "ampere"), ("7.5", "turing"), ("3.5", "")],
)
def test_families_by_compute_capability(text: str, name: str) -> None:
    assert family(capability(text)) == name


def test_families_by_instance_type() -> None:
    asked = [family_asked(name) for name in ("g1", "fc.gpu.tesla.1", "fc.gpu.ada.3", "fc.gpu.hopper.2", "e1", "")]
    assert asked == ["turing", "turing", "ada", "hopper", "", ""]
    assert (capability(""), capability("8"), family(None)) == (None, None, "")


# -- rank and select --------------------------------------------------------------------------------------------------


def test_the_family_asked_for_goes_before_a_newer_one_that_would_be_filled_better() -> None:
    need = Need(512, 4096, instance_type="fc.gpu.tesla.1")
    assert device_of(state(H100, A10, T4, A10=18_932), need) == "T4"


def test_a_slice_goes_before_a_whole_card() -> None:
    assert device_of(state(T4, SLICE), Need(512, 4096)) == "MIG"
    assert device_of(state(T4, SLICE), Need(512, 12_000)) == "T4"


def test_best_fit_leaves_the_largest_hole_whole() -> None:
    assert device_of(state(A10, T4, A10=4000), Need(512, 6000)) == "T4"
    assert device_of(state(A10, T4, A10=16_000), Need(512, 6000)) == "A10"


def test_room_is_kept_for_the_sizes_that_functions_ask_for() -> None:
    # Best fit would take the first, which could then not hold 8000 more.
    cards = state(replace(T4, uuid="a", memory_mib=8000), replace(T4, uuid="b", index=1, memory_mib=8900))
    assert device_of(cards, Need(512, 900), sizes=(8000,)) == "b"
    assert device_of(cards, Need(512, 900)) == "a"


def test_spreading_takes_the_emptiest_card() -> None:
    assert device_of(state(A10, T4, A10=4000), Need(512, 6000), Rule("spread")) == "T4"
    assert device_of(state(A10, T4, T4=4000), Need(512, 6000), Rule("spread")) == "A10"


def test_functions_without_a_gpu_keep_off_machines_with_cards_and_fill_the_fullest() -> None:
    machines = [(node(T4, name="a"), Taken()), (node(name="b"), Taken()), (node(name="c"), Taken(memory_mib=512))]
    assert place(machines, Need(512), RULE) == Placed("c")
    assert place(machines, Need(512), Rule("spread")) == Placed("b")


def test_equals_are_taken_by_name_and_index_so_that_the_same_state_gives_the_same() -> None:
    twins = [replace(T4, uuid=uuid, index=index) for index, uuid in ((1, "x"), (0, "y"))]
    assert device_of(state(*twins), Need(512, 1024)) == "y"


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_a_refusal_lists_why_device_by_device() -> None:
    lost = replace(A10, is_healthy=False, reason="XID 79: the driver says that the card has failed")
    whole = replace(H100, is_divided=True)
    need = Need(512, 8192, instance_type="fc.gpu.ampere.1")
    assert refusal(state(T4, lost, whole, SLICE, MIG=4000), need, RULE) == (
        "8192 MiB of GPU memory asked for; "
        "device 0 (Tesla T4): turing, and fc.gpu.ampere.1 asks for ampere or newer; "
        "device 1 (NVIDIA A10): not healthy, XID 79: the driver says that the card has failed; "
        "device 2 (NVIDIA H100): divided into slices; "
        "device 2 (NVIDIA H100 MIG 1g.10gb): 5984 of 9984 MiB left"
    )


def test_a_refusal_says_which_node_where_there_are_several_and_names_a_few_devices_of_many() -> None:
    many = [replace(T4, uuid=str(number), index=number) for number in range(20)]
    text = refusal(((node(*many, name="a"), Taken()), (node(name="b"), Taken())), Need(512, 40_000), RULE)
    assert text.startswith("node a: 40000 MiB of GPU memory asked for; device 0 (Tesla T4): 15360 of 15360 MiB left; ")
    assert text.endswith("; and 4 devices more; node b: 40000 MiB of GPU memory asked for, it has no device")


def test_what_a_node_tells_of_its_devices_is_understood() -> None:
    gpu = {"index": 1, "name": "NVIDIA A10", "memory_mib": 23_028, "uuid": "A10", "compute_capability": "8.6"}
    info = NodeInfo("n", 1, 65_536, 8.0, gpus=[gpu], disk_mib=5, labels={"a": "b"})
    assert node_of(info) == node(A10, cpu=8.0, disk_mib=5, labels={"a": "b"})
    old = NodeInfo("n", 1, 65_536, 8.0, gpus=[{"index": 0, "name": "card", "memory_mib": 16_384, "simulated": True}])
    assert node_of(old).devices == (Device("0", 0, "card", 16_384),)


def test_stranded_memory_is_what_would_be_left_over_of_devices_filled_with_each_size() -> None:
    # 360 MiB are too little for either size; of 3028, two of the smaller size leave 980.
    assert stranded_mib(state(T4, A10, T4=15_000, A10=20_000), (1024, 8192)) == 360 + (980 + 3028) / 2
    assert stranded_mib(state(replace(T4, is_healthy=False), T4=15_000), (1024,)) == 0.0


# -- launches that fail -----------------------------------------------------------------------------------------------


def test_backoff_doubles_up_to_a_limit() -> None:
    backoff, waits, now = Backoff(), [], 0.0
    for _ in range(12):
        backoff = backoff.failed(now, "no")
        waits.append(backoff.until_s - now)
        now = backoff.until_s
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == WAIT_MAX_S


def test_launches_that_fail_together_count_once() -> None:
    first = Backoff().failed(10.0, "a")
    assert first.failed(10.5, "b") == Backoff(1, 11.0, "b")
    assert not first.allows(10.9)
    assert first.allows(11.0)
    assert first.launches_max == 1
