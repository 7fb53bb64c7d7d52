"""Placement: nobody over capacity, nobody refused while there is a place, and little memory stranded."""

from __future__ import annotations

import functools
import itertools
import random
from dataclasses import replace

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
    place,
    stranded_mib,
    with_one_more,
)

PROBLEMS = 1000
CARDS = ((15_360, (7, 5)), (23_028, (8, 6)), (46_068, (8, 9)), (81_559, (9, 0)))
SIZES = (1024, 2048, 4096, 6144, 8192, 12_288, 16_384, 24_576, 49_152)
TYPES = ("", "e1", "g1", "fc.gpu.tesla.1", "fc.gpu.ampere.1", "fc.gpu.ada.1")


def some_device(chance: random.Random, uuid: str) -> Device:
    memory_mib, capability = chance.choice(CARDS)
    kind = chance.random()
    if kind < 0.2:
        return Device(uuid, 0, "slice", 9984, (9, 0), is_slice=True)
    known = capability if kind < 0.9 else None
    return Device(uuid, 0, "card", memory_mib, known, is_divided=kind > 0.95, is_healthy=kind > 0.27)


def some_state(chance: random.Random) -> dict[str, tuple[Node, Taken]]:
    nodes = {}
    for name in "abc"[: chance.randint(1, 3)]:
        count = chance.randint(0, 4)
        nodes[name] = Node(
            name,
            memory_mib=chance.choice((8192, 65_536)),
            cpu=chance.choice((2.0, 16.0)),
            disk_mib=chance.choice((0, 20_480)),
            labels={"zone": chance.choice("xy")},
            devices=tuple(some_device(chance, f"{name}{number}") for number in range(count)),
        )
    return {name: (node, Taken()) for name, node in nodes.items()}


def some_need(chance: random.Random) -> Need:
    return Need(
        memory_mib=chance.choice((512, 4096)),
        gpu_memory_mib=chance.choice((0, *SIZES)),
        cpu=chance.choice((0.0, 0.05, 0.35, 2.0)),
        disk_mib=chance.choice((0, 512, 10_240)),
        instance_type=chance.choice(TYPES),
        labels=(("zone", chance.choice("xy")),) if chance.random() < 0.2 else (),
    )


def is_within(node: Node, taken: Taken, rule: Rule) -> bool:
    there = {device.uuid: device.memory_mib for device in node.devices}
    return (
        taken.memory_mib <= node.memory_mib
        and (not rule.cpu_overcommit or taken.cpu <= node.cpu * rule.cpu_overcommit + 1e-6)
        and (not node.disk_mib or taken.disk_mib <= node.disk_mib)
        and all(mib <= there[uuid] for uuid, mib in taken.gpu_mib.items())
    )


def could_be(node: Node, taken: Taken, device: Device | None, need: Need, rule: Rule) -> bool:
    """Said a second time, as plainly as possible: may `need` go there?"""
    oldest = {"g1": (7, 5), "fc.gpu.tesla.1": (7, 5), "fc.gpu.ampere.1": (8, 0), "fc.gpu.ada.1": (8, 9)}
    held_mib = 0
    if device is not None:
        held_mib = min(need.gpu_memory_mib, device.memory_mib)
        if not device.is_healthy or device.is_divided or device.memory_mib < 0.9 * need.gpu_memory_mib:
            return False
        if device.capability is not None and device.capability < oldest.get(need.instance_type, (0, 0)):
            return False
    placed = Placed(node.name, device.uuid if device else "", held_mib)
    return all(node.labels.get(k) == v for k, v in need.labels) and is_within(
        node, with_one_more(taken, need, placed), rule
    )


def test_nobody_is_over_capacity_and_nobody_is_refused_while_there_is_a_place() -> None:
    refused = placed = 0
    for seed in range(PROBLEMS):
        chance = random.Random(seed)
        rule = Rule(chance.choice(("pack", "spread")), cpu_overcommit=chance.choice((0.0, 1.0, 2.0)))
        nodes = some_state(chance)
        for _ in range(chance.randint(1, 6)):
            need = some_need(chance)
            state: State = tuple(nodes.values())
            on_device = need.gpu_memory_mib > 0 and any(node.devices for node, _ in state)
            could = [
                (node.name, device.uuid if device else "")
                for node, taken in state
                for device in (node.devices if on_device else (None,))
                if could_be(node, taken, device, need, rule)
            ]
            found = place(state, need, rule, SIZES[:3])
            assert (fits(state, need, rule) > 0) == bool(could), (seed, need)
            if isinstance(found, Refused):
                assert not could, (seed, need, found)
                assert found.reason, seed
                refused += 1
                continue
            assert (found.node, found.device) in could, (seed, need, found)
            node, taken = nodes[found.node]
            nodes[found.node] = node, with_one_more(taken, need, found)
            assert is_within(*nodes[found.node], rule), (seed, need)
            placed += 1
    assert refused > 500, "the problems are too easy to say anything"
    assert placed > 1000, "the problems are too hard to say anything"


def test_as_many_fit_as_can_be_placed_one_after_the_other() -> None:
    for seed in range(100):
        chance = random.Random(seed)
        rule = Rule(chance.choice(("pack", "spread")), cpu_overcommit=chance.choice((0.0, 1.0)))
        nodes, need = some_state(chance), some_need(chance)
        expected, count = fits(tuple(nodes.values()), need, rule), 0
        while isinstance(found := place(tuple(nodes.values()), need, rule), Placed):
            node, taken = nodes[found.node]
            nodes[found.node] = node, with_one_more(taken, need, found)
            count += 1
        assert count == expected, (seed, need)


# -- fragmentation ----------------------------------------------------------------------------------------------------


def share(free_mib: list[int], cards: list[int], sizes: list[int]) -> float:
    devices = tuple(Device(str(number), number, "card", mib) for number, mib in enumerate(cards))
    held = {str(number): mib - free_mib[number] for number, mib in enumerate(cards)}
    state = ((Node("n", 1_000_000, devices=devices), Taken(gpu_mib=held)),)
    return stranded_mib(state, sizes) / sum(cards)


def placed_one_by_one(cards: list[int], asked: list[int], sizes: list[int], rule: Rule) -> tuple[int, list[int]]:
    """How many of `asked`, in this order and each without knowing the next, and what is then free."""
    devices = tuple(Device(str(number), number, "card", mib) for number, mib in enumerate(cards))
    node, taken, count = Node("n", 1_000_000, devices=devices), Taken(), 0
    for gpu_memory_mib in asked:
        need = Need(1, gpu_memory_mib)
        if isinstance(found := place(((node, taken),), need, rule, sizes), Placed):
            taken, count = with_one_more(taken, need, found), count + 1
    return count, [taken.free_mib(device) for device in devices]


def best_of_all(cards: list[int], asked: list[int], sizes: list[int]) -> tuple[int, float]:
    """Every way to put them, or some of them: the most placed, and of these ways the least fragmentation."""
    best, score = (0, 2.0), {}
    for way in itertools.product(range(-1, len(cards)), repeat=len(asked)):
        free = list(cards)
        for gpu_memory_mib, number in zip(asked, way, strict=True):
            if number >= 0:
                free[number] -= gpu_memory_mib
        if min(free) < 0:
            continue
        count, key = sum(number >= 0 for number in way), tuple(free)
        if count >= best[0] and key not in score:
            score[key] = sum(mib % size for mib in free for size in sizes) / len(sizes) / sum(cards)
        if count > best[0] or (count == best[0] and score[key] < best[1]):
            best = count, score[key]
    return best


def best_without_knowing(cards: list[int], asked: list[int], sizes: list[int]) -> tuple[int, list[int]]:
    """The least expected fragmentation of any rule that knows how many come, and that each size is as likely as the
    others, but not which comes when; a refusal is dearer than all of it. How many were placed, and what is free."""

    @functools.cache
    def expected(free: tuple[int, ...], left: int) -> float:
        if not left:
            return sum(mib % size for mib in free for size in sizes) / len(sizes)
        return sum(chosen(free, size, left - 1)[0] for size in sizes) / len(sizes)

    @functools.cache
    def chosen(free: tuple[int, ...], size: int, left: int) -> tuple[float, tuple[int, ...]]:
        ways = {tuple(sorted(_with(list(free), at, size))) for at, mib in enumerate(free) if mib >= size}
        return min(((expected(way, left), way) for way in ways), default=(expected(free, left) + 1e7, free))

    free, count = tuple(sorted(cards)), 0
    for number, gpu_memory_mib in enumerate(asked):
        count += max(free) >= gpu_memory_mib
        free = chosen(free, gpu_memory_mib, len(asked) - number - 1)[1]
    return count, list(free)


def small_problems(number: int) -> list[tuple[list[int], list[int], list[int]]]:
    chance = random.Random(7)
    found = []
    for _ in range(number):
        cards = [chance.choice((16_384, 24_576, 49_152, 81_920)) for _ in range(chance.randint(2, 3))]
        sizes = chance.sample((2048, 4096, 6144, 8192, 12_288, 16_384, 24_576), 3)
        found.append((cards, [chance.choice(sizes) for _ in range(chance.randint(2, 5))], sizes))
    return found


def test_packing_strands_hardly_more_memory_than_the_best_of_all_ways_does() -> None:
    lost = spread = best = 0.0
    fewer = 0
    problems = small_problems(120)
    for cards, asked, sizes in problems:
        best_count, least = best_of_all(cards, asked, sizes)
        count, free = placed_one_by_one(cards, asked, sizes, Rule())
        fewer += best_count - count
        lost += share(free, cards, sizes)
        spread += share(placed_one_by_one(cards, asked, sizes, Rule("spread"))[1], cards, sizes)
        best += least
    mean, least_mean, spread_mean = (value / len(problems) for value in (lost, best, spread))
    assert mean - least_mean <= 0.01, "of all memory"
    assert fewer <= 0.01 * sum(len(asked) for _, asked, _ in problems)
    assert mean < spread_mean


def test_packing_strands_hardly_more_than_the_best_rule_that_does_not_know_what_comes() -> None:
    lost = least = 0.0
    fewer = 0
    problems = small_problems(50)
    for cards, asked, sizes in problems:
        count, free = placed_one_by_one(cards, asked, sizes, Rule())
        best_count, best_free = best_without_knowing(cards, asked, sizes)
        fewer += best_count - count
        lost += share(free, cards, sizes)
        least += share(best_free, cards, sizes)
    assert lost - least <= 0.003 * len(problems), "of all memory"
    assert fewer <= 0.01 * sum(len(asked) for _, asked, _ in problems)


def after_one_more(free: list[int], sizes: list[int]) -> tuple[int, float]:
    """Said a second time, as plainly as possible: for how many sizes there is no room, and what is stranded on average
    after one more of each size where there is."""
    refused, stranded = 0, []
    for size in sizes:
        ways = [_with(free, number, size) for number in range(len(free)) if free[number] >= size]
        refused += not ways
        stranded.append(min(sum(mib % each for mib in way for each in sizes) for way in ways or [free]))
    return refused, sum(stranded) / len(sizes) ** 2


def _with(free: list[int], number: int, gpu_memory_mib: int) -> list[int]:
    return [mib - gpu_memory_mib * (at == number) for at, mib in enumerate(free)]


def test_each_choice_strands_the_least_of_all_that_could_be_made_once_one_more_has_come() -> None:
    for cards, asked, sizes in small_problems(120):
        free = list(cards)
        for gpu_memory_mib in asked:
            ways = [
                after_one_more(_with(free, number, gpu_memory_mib), sizes)
                for number in range(len(free))
                if free[number] >= gpu_memory_mib
            ]
            devices = tuple(Device(str(number), number, "card", mib) for number, mib in enumerate(cards))
            held = {str(number): mib - free[number] for number, mib in enumerate(cards)}
            state = ((Node("n", 1_000_000, devices=devices), Taken(gpu_mib=held)),)
            found = place(state, replace(Need(1), gpu_memory_mib=gpu_memory_mib), Rule(), sizes)
            if isinstance(found, Placed):
                free[int(found.device)] -= gpu_memory_mib
                (refused, stranded), (least_refused, least) = after_one_more(free, sizes), min(ways)
                assert refused == least_refused
                assert stranded <= least + 1e-6
