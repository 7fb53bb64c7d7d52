"""The table of instances: what is counted of it is what it has, whatever came and went."""

from __future__ import annotations

import random
from dataclasses import replace

from control_plane.fleet.census import Census, census
from control_plane.fleet.table import InstanceTable, oldest_first
from runtime.contract import InstanceRecord, InstanceState, Kind, version_key

A, B = ("s", "LATEST", "a"), ("s", "1", "b")


def record(
    instance_id: str, key: tuple[str, str, str] = A, device: str = "", launched_at_s: float = 0.0
) -> InstanceRecord:
    service, version, function = key
    return InstanceRecord(
        instance_id, service, function, version, "r1", Kind.PROVISIONED, InstanceState.READY, 1, "node",
        launched_at_s=launched_at_s, device=device, gpu_memory_mib=1000 if device else 0,
    )  # fmt: skip


def test_an_instance_is_found_by_its_id_and_by_its_function_version() -> None:
    table = InstanceTable()
    assert not table
    table.put(record("i1"))
    table.put(record("i2", B))
    assert (len(table), set(table), "i1" in table, table.get("i3")) == (2, {"i1", "i2"}, True, None)
    assert (table.version_of("i2"), table.version_of("i3")) == (B, None)
    assert ([r.instance_id for r in table.of(A)], list(table.of(("s", "2", "a")))) == (["i1"], [])
    assert table.versions() == {A, B}


def test_a_record_in_the_place_of_another_is_counted_once() -> None:
    table = InstanceTable()
    table.put(replace(record("i1", device="gpu"), state=InstanceState.LAUNCHING))
    assert (table.census(A).ready, table.census(A).starting) == (0, 1)
    table.put(record("i1", device="gpu"))
    assert (table.census(A).ready, table.census(A).starting) == (1, 0)
    assert table.holdings.mib == {"gpu": 1000}


def test_what_is_dropped_leaves_nothing_behind_and_only_once() -> None:
    table = InstanceTable()
    table.put(record("i1", device="gpu"))
    table.put(record("i2", device="gpu"))
    for _ in range(2):
        table.drop("i1")
    assert (table.census(A).ready, table.holdings.mib) == (1, {"gpu": 1000})
    table.drop("i2")
    assert (len(table), table.versions(), table.census(A), table.holdings.mib) == (0, set(), Census(), {})


def test_who_moved_is_told_once() -> None:
    table = InstanceTable()
    table.put(record("i1"))
    table.put(record("i2", B))
    assert table.moved() == {A, B}
    assert table.moved() == set()
    table.drop("i2")
    table.drop("i2")
    assert table.moved() == {B}


def test_what_did_not_change_is_not_counted_again() -> None:
    table = InstanceTable()
    table.put(record("i1"))
    before = table.census(A)
    table.put(record("i2", B))
    assert table.census(A) is before
    table.put(record("i3"))
    assert table.census(A) is not before


def test_the_oldest_comes_first_and_of_the_same_age_the_lower_id() -> None:
    unordered = [record("b", launched_at_s=5.0), record("c", launched_at_s=1.0), record("a", launched_at_s=5.0)]
    assert [r.instance_id for r in oldest_first(unordered)] == ["c", "a", "b"]


def test_after_any_story_the_counts_are_those_of_the_records() -> None:
    chance = random.Random(7)
    table = InstanceTable()
    there: dict[str, InstanceRecord] = {}
    for step in range(2000):
        instance_id = f"i{chance.randrange(40)}"
        if chance.random() < 0.4:
            table.drop(instance_id)
            there.pop(instance_id, None)
        else:
            one = there.get(instance_id) or record(
                instance_id, chance.choice((A, B)), chance.choice(("", "x", "y")), float(step)
            )
            there[instance_id] = replace(one, state=chance.choice(list(InstanceState)), kind=chance.choice(list(Kind)))
            table.put(there[instance_id])
        key = chance.choice((A, B))
        counted = table.census(key)
        assert replace(counted, starting_at=()) == replace(
            census(r for r in there.values() if version_key(r) == key), starting_at=()
        )
    assert dict(table) == there
    assert table.holdings.mib == {
        device: held for device in ("x", "y") if (held := 1000 * sum(r.device == device for r in there.values()))
    }
