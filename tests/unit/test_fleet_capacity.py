"""What the machine can hold, asked by function version, while instances come and go."""

from __future__ import annotations

from typing import Any

from control_plane.fleet.capacity import Capacity
from control_plane.fleet.placement import Rule
from control_plane.fleet.table import InstanceTable
from control_plane.model import Function
from runtime.contract import InstanceRecord, InstanceState, Kind
from runtime.node_contract import NodeInfo

A, B = ("s", "LATEST", "a"), ("s", "LATEST", "b")
NODE = NodeInfo("node", 1, memory_mib=4096, cpu=0.0)


def function(memory_mib: int, **fields: Any) -> Function:
    named = {"serviceName": "s", "functionName": "f", "runtime": "custom", "memorySize": memory_mib}
    return Function.model_validate(named | fields)


def launched(table: InstanceTable, instance_id: str, key: tuple[str, str, str], gpu_memory_mib: int = 0) -> None:
    service, version, name = key
    table.put(
        InstanceRecord(
            instance_id, service, name, version, "r1", Kind.PROVISIONED, InstanceState.LAUNCHING, 1, "node",
            device="gpu" if gpu_memory_mib else "", gpu_memory_mib=gpu_memory_mib,
        )
    )  # fmt: skip


def test_what_others_have_been_given_since_is_taken() -> None:
    table = InstanceTable()
    capacity = Capacity(Rule(), table)
    capacity.read(NODE)
    capacity.know(A, function(1024))
    capacity.know(B, function(2048))
    assert (capacity.left(A), capacity.left(B)) == (4, 2)
    launched(table, "i1", B)
    assert (capacity.left(A), capacity.left(B), len(capacity.places(A, 9))) == (2, 1, 2)
    assert capacity.taken().memory_mib == 2048
    table.drop("i1")
    assert (capacity.left(A), capacity.taken().memory_mib) == (4, 0)


def test_a_function_that_has_changed_takes_what_it_asks_for_now() -> None:
    table = InstanceTable()
    capacity = Capacity(Rule(), table)
    capacity.read(NODE)
    launched(table, "i1", A)
    capacity.know(A, function(1024))
    assert capacity.taken().memory_mib == 1024
    capacity.know(A, function(3072))
    assert (capacity.taken().memory_mib, capacity.left(A)) == (3072, 0)
    capacity.know(A, None)
    assert capacity.taken().memory_mib == 0


def test_nothing_fits_and_nothing_is_blamed_while_the_node_is_not_known() -> None:
    capacity = Capacity(Rule(), InstanceTable())
    capacity.know(A, function(1024))
    assert (capacity.left(A), capacity.places(A, 3), capacity.error(A, 3), capacity.has_devices) == (0, [], "", False)


def test_how_many_there_is_no_room_for_is_told_with_the_reason() -> None:
    table = InstanceTable()
    capacity = Capacity(Rule(), table)
    capacity.read(NODE)
    capacity.know(A, function(1024))
    launched(table, "i1", A)
    assert (capacity.error(A, 4), capacity.error(B, 4)) == ("", "")
    assert capacity.error(A, 6).startswith("no room for 2 more instances: ")


def test_the_higher_priority_is_placed_first_and_then_the_larger_share_of_a_device() -> None:
    capacity = Capacity(Rule(), InstanceTable())
    gpu = {"instanceType": "fc.gpu.tesla.1"}
    keys = {name: ("s", "LATEST", name) for name in ("small", "large", "urgent", "plain")}
    capacity.know(keys["small"], function(1024, gpuMemorySize=1024, **gpu))
    capacity.know(keys["large"], function(1024, gpuMemorySize=8192, **gpu))
    capacity.know(keys["urgent"], function(128, stoke={"placement": {"priority": 5}}))
    capacity.know(keys["plain"], function(4096))
    assert [key[2] for key in sorted(keys.values(), key=capacity.turn)] == ["urgent", "large", "small", "plain"]
    capacity.know(keys["urgent"], function(128))
    assert [key[2] for key in sorted(keys.values(), key=capacity.turn)] == ["large", "small", "plain", "urgent"]


def with_cards(*memory_mib: int) -> tuple[InstanceTable, Capacity]:
    table = InstanceTable()
    capacity = Capacity(Rule(), table)
    gpus = [
        {"index": at, "uuid": "gpu" if at == 0 else f"gpu{at}", "name": "card", "memory_mib": mib}
        for at, mib in enumerate(memory_mib)
    ]
    capacity.read(NodeInfo("node", 1, memory_mib=65_536, cpu=0.0, gpus=gpus))
    for key, gpu_memory_mib in ((A, 6000), (B, 4000)):
        capacity.know(key, function(512, gpuMemorySize=gpu_memory_mib, instanceType="g1"))
    return table, capacity


def test_places_that_are_found_together_are_told_by_function_version_and_held_by_nobody() -> None:
    _, capacity = with_cards(8192, 12_288)
    found = capacity.places_together({A: 1, B: 3})
    assert {key: [place.device for place in places] for key, places in found.items()} == {
        A: ["gpu1"], B: ["gpu", "gpu", "gpu1"],
    }  # fmt: skip
    assert (capacity.left(A), capacity.left(B)) == (3, 5)
    assert [len(places) for places in capacity.places_together({A: 9, B: 9, ("s", "LATEST", "c"): 0}).values()] == [
        0, 5, 0,
    ]  # fmt: skip


def test_a_place_that_was_found_before_is_given_only_while_it_has_room() -> None:
    table, capacity = with_cards(8192)
    found = capacity.places_together({B: 2})[B]
    assert [place.device for place in capacity.still(B, found)] == ["gpu", "gpu"]
    launched(table, "i1", A, 3000)
    assert len(capacity.still(B, found)) == 1
    launched(table, "i2", A, 3000)
    assert capacity.still(B, found) == []
    assert Capacity(Rule(), table).still(B, found) == []
