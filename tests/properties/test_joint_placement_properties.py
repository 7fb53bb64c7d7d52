"""Places for all that one tick wants: as many as can be, as the best of all ways puts them, and never over capacity."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from control_plane.fleet.joint import place_all
from control_plane.fleet.placement import (
    Device,
    Need,
    Node,
    Placed,
    Refused,
    Rule,
    State,
    Taken,
    generations_newer,
    place,
    stranded_mib,
    with_one_more,
)
from tests.properties.test_placement_properties import (
    PROBLEMS,
    SIZES,
    best_of_all,
    could_be,
    is_within,
    share,
    small_problems,
    some_need,
    some_state,
)

Score = tuple[list[int], int, int, float]


def filled(state: State, needs: Sequence[Need], found: Sequence[Placed | None]) -> State:
    nodes = {node.name: (node, taken) for node, taken in state}
    for need, at in zip(needs, found, strict=True):
        if at is not None:
            node, taken = nodes[at.node]
            nodes[at.node] = node, with_one_more(taken, need, at)
    return tuple(nodes.values())


def score(state: State, needs: Sequence[Need], found: Sequence[Placed | None], sizes: Sequence[int]) -> Score:
    """Said a second time: less is better, and what is compared first comes first."""
    devices = {device.uuid: device for node, _ in state for device in node.devices}
    with_devices = {node.name for node, _ in state if node.devices}
    refused, newer, unfit = [0] * 10, 0, 0
    for need, at in zip(needs, found, strict=True):
        if at is None:
            refused[9 - need.priority] += 1
        elif not at.device:
            unfit += at.node in with_devices
        else:
            newer += generations_newer(devices[at.device], need)
            unfit += not devices[at.device].is_slice
    asked = {*sizes, *(need.gpu_memory_mib for need in needs if need.gpu_memory_mib)}
    return refused, newer, unfit, stranded_mib(filled(state, needs, found), sorted(asked))


def one_by_one(state: State, needs: Sequence[Need], rule: Rule, sizes: Sequence[int]) -> list[Placed | None]:
    """As instances were placed before: the higher priority first, then the larger share."""
    found: dict[int, Placed | None] = {}
    asked = [*sizes, *(need.gpu_memory_mib for need in needs if need.gpu_memory_mib)]
    for at in sorted(range(len(needs)), key=lambda at: (-needs[at].priority, -needs[at].gpu_memory_mib)):
        place_found = place(state, needs[at], rule, asked)
        found[at] = None if isinstance(place_found, Refused) else place_found
        state = filled(state, [needs[at]], [found[at]])
    return [found[at] for at in range(len(needs))]


def some_wants(chance: random.Random, most: int) -> tuple[State, list[Need], Rule]:
    rule = Rule(chance.choice(("pack", "pack", "spread")), cpu_overcommit=chance.choice((0.0, 1.0)))
    kinds = [replace(some_need(chance), priority=chance.choice((0, 0, 3))) for _ in range(3)]
    needs = [chance.choice(kinds) for _ in range(chance.randint(2, most))]
    return tuple(some_state(chance).values()), needs, rule


def test_nobody_is_over_capacity_and_nothing_is_worse_than_one_by_one() -> None:
    bettered = 0
    for seed in range(80):
        chance = random.Random(seed)
        state, needs, rule = some_wants(chance, 12)
        found = place_all(state, needs, rule, SIZES[:3], steps_max=300)
        for node, taken in filled(state, needs, found):
            assert is_within(node, taken, rule), seed
        on_device = any(node.devices for node, _ in state)
        for need, at in zip(needs, found, strict=True):
            if at is not None:
                node = next(node for node, _ in state if node.name == at.node)
                device = next((device for device in node.devices if device.uuid == at.device), None)
                assert (device is not None) == (on_device and need.gpu_memory_mib > 0), seed
                assert could_be(node, Taken(), device, need, rule), seed
        before = one_by_one(state, needs, rule, SIZES[:3])
        now, then = (score(state, needs, each, SIZES[:3]) for each in (found, before))
        if rule.strategy == "spread":
            assert None in before or found == before, "where everybody finds room it stays as it was"
            now, then = (*now[:3], 0.0), (*then[:3], 0.0)
        assert now <= then, (seed, now, then)
        bettered += now < then
    assert bettered > 8, "the problems are too easy to say anything"


def test_where_there_are_too_many_to_try_all_ways_it_is_never_worse_and_the_same_each_time() -> None:
    without = without_before = 0
    for seed in range(8):
        chance = random.Random(seed)
        devices = tuple(Device(str(n), n, "card", chance.choice((16_384, 24_576, 49_152))) for n in range(4))
        state: State = ((Node("n", 1_000_000, devices=devices), Taken()),)
        sizes = chance.sample(SIZES[1:8], 3)
        room_mib = sum(device.memory_mib for device in devices)
        needs = [Need(1, chance.choice(sizes)) for _ in range(max(26, room_mib * 3 // sum(sizes)))]
        found = place_all(state, needs, Rule(), sizes, steps_max=600)
        assert found == place_all(state, needs, Rule(), sizes, steps_max=600)
        before = one_by_one(state, needs, Rule(), sizes)
        assert score(state, needs, found, sizes) <= score(state, needs, before, sizes), seed
        ((node, taken),) = filled(state, needs, found)
        assert is_within(node, taken, Rule())
        without, without_before = without + found.count(None), without_before + before.count(None)
    assert without < without_before


def test_no_way_at_all_is_better() -> None:
    """Nodes, labels, families, slices, priorities, memory, CPU and disk, against every way there is."""
    tried = 0
    for seed in range(150):
        chance = random.Random(seed)
        state, needs, rule = some_wants(chance, 4)
        rule = replace(rule, strategy="pack")
        on_device = any(node.devices for node, _ in state)
        choices: list[list[Placed | None]] = []
        for need in needs:
            wheres = [
                Placed(node.name, device.uuid if device else "", _held_mib(need, device))
                for node, _ in state
                for device in (node.devices if on_device and need.gpu_memory_mib else (None,))
                if could_be(node, Taken(), device, need, rule)
            ]
            choices.append([None, *wheres])
        ways = 1
        for choice in choices:
            ways *= len(choice)
        if not 8 <= ways <= 150:
            continue
        tried += 1
        best = min(
            score(state, needs, way, ())
            for way in itertools.product(*choices)
            if all(is_within(node, taken, rule) for node, taken in filled(state, needs, way))
        )
        found = score(state, needs, place_all(state, needs, rule), ())
        assert found[:3] == best[:3], seed
        assert found[3] == pytest.approx(best[3]), seed
    assert tried > 20


def test_instances_without_a_device_change_nothing_for_those_on_devices() -> None:
    devices = (Device("0", 0, "card", 16_384), Device("1", 1, "card", 20_000))
    state = ((Node("n", 1_000_000, devices=devices), Taken()),)
    needs = [Need(1, gpu_memory_mib) for gpu_memory_mib in (7000, 5000, 6144, 5000, 6144, 7000)]
    found = place_all(state, [Need(1), *needs], Rule())
    assert found == [Placed("n"), *place_all(state, needs, Rule())]


def _held_mib(need: Need, device: Device | None) -> int:
    return min(need.gpu_memory_mib, device.memory_mib) if device else 0


@pytest.mark.parametrize("problems", [60, pytest.param(PROBLEMS, marks=pytest.mark.long)])
def test_what_is_wanted_in_one_tick_strands_no_more_than_the_best_of_all_ways(problems: int) -> None:
    for cards, asked, sizes in small_problems(problems):
        best_count, least = best_of_all(cards, asked, sizes)
        devices = tuple(Device(str(number), number, "card", mib) for number, mib in enumerate(cards))
        state = ((Node("n", 1_000_000, devices=devices), Taken()),)
        needs = [Need(1, gpu_memory_mib) for gpu_memory_mib in asked]
        found = place_all(state, needs, Rule(), sizes)
        assert sum(at is not None for at in found) == best_count
        ((_, taken),) = filled(state, needs, found)
        assert share([taken.free_mib(device) for device in devices], cards, sizes) == pytest.approx(least)
