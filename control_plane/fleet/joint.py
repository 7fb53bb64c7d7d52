"""Places for all instances that one tick wants, found together. Pure.

First one after the other, as `place` finds them: the higher priority first, then the larger share, as small shares fit
into what large ones leave. Then that answer is bettered (`rearranging.py`), in this order: more instances of the
highest priority find room, then of the next; they are on the family asked for, and on slices; less memory is stranded.
With `spread` the first answer stands where everybody found room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Final

from control_plane.fleet import placement
from control_plane.fleet.placement import UNLIMITED, Device, Need, Node, Placed, Rule, State, Taken
from control_plane.fleet.rearranging import NOWHERE, Bins, Rearranging, Wish

STEPS_MAX: Final = 10_000  # of the search

Found = list[Placed | None]


def place_all(
    state: State, needs: Sequence[Need], rule: Rule, sizes: Collection[int] = (), steps_max: int = STEPS_MAX
) -> Found:
    """A place for each of `needs`, in their order; None: there is none for it beside the others, whose places given
    `placement.refusal` says why. Of those that ask for the same the first ones get the places. `sizes` are the shares
    of GPU memory that others ask for. Never worse than one after the other; the same gives the same."""
    sizes = {*sizes, *(need.gpu_memory_mib for need in needs if need.gpu_memory_mib)}
    order = sorted(range(len(needs)), key=lambda at: (-needs[at].priority, -needs[at].gpu_memory_mib))
    asked = [needs[at] for at in order]
    found, after = _one_by_one(state, asked, rule, sizes)
    if None in found:
        found, after = _more_of_small_ones(state, asked, found, after, rule, sizes)
    if len(needs) > 1 and (rule.strategy == "pack" or None in found):
        found = _bettered(_Model(state, after, asked, rule), asked, found, rule, sizes, steps_max)
    placed: Found = [None] * len(needs)
    for at, place in zip(order, found, strict=True):
        placed[at] = place
    return placed


def _more_of_small_ones(
    state: State, asked: Sequence[Need], found: Found, after: State, rule: Rule, sizes: Collection[int]
) -> tuple[Found, State]:
    """The smaller share first, if more find room then; else what was found."""
    order = sorted(range(len(asked)), key=lambda at: (-asked[at].priority, asked[at].gpu_memory_mib))
    small, after_small = _one_by_one(state, [asked[at] for at in order], rule, sizes)
    other: Found = [None] * len(asked)
    for at, place in zip(order, small, strict=True):
        other[at] = place
    without = (_without(asked, other), _without(asked, found))
    return (other, after_small) if without[0] < without[1] else (found, after)


def _without(asked: Sequence[Need], found: Found) -> list[int]:
    """The priorities of those that have no place, the highest first: the less of it the better."""
    return [need.priority for need, place in zip(asked, found, strict=True) if place is None]


def _one_by_one(state: State, asked: Sequence[Need], rule: Rule, sizes: Collection[int]) -> tuple[Found, State]:
    """What each gets when it does not know the next, and what is taken then."""
    taken = {node.name: (node, before) for node, before in state}
    found: Found = []
    refused: set[Need] = set()  # what is taken only grows
    for need in asked:
        place = None if need in refused else placement.find(tuple(taken.values()), need, rule, sizes)
        if place is None:
            refused.add(need)
        else:
            node, before = taken[place.node]
            taken[place.node] = node, placement.with_one_more(before, need, place)
        found.append(place)
    return found, tuple(taken.values())


# -- in numbers, and back ---------------------------------------------------------------------------------------------


def _bettered(
    model: _Model,
    asked: Sequence[Need],
    found: Found,
    rule: Rule,
    sizes: Collection[int],
    steps_max: int,
) -> Found:
    way = [NOWHERE if place is None else model.number[place.node, place.device] for place in found]
    stranded, modulos = (_fullness(model), ()) if rule.strategy == "spread" else (_stranded(model, sizes), tuple(sizes))
    Rearranging(model.bins, stranded, modulos, steps_max).improve([model.wishes[need] for need in asked], way)
    by_need: dict[Need, list[int]] = {}
    for need, where in zip(asked, way, strict=True):
        by_need.setdefault(need, []).append(where)
    for wheres in by_need.values():
        wheres.sort(key=lambda where: (where == NOWHERE, where), reverse=True)
    return [model.placed(need, by_need[need].pop()) for need in asked]


class _Model:
    """Nodes and devices as bins, needs as wishes; `after` is `state` with places given to all that found one."""

    def __init__(self, state: State, after: State, asked: Sequence[Need], rule: Rule) -> None:
        self.places: list[tuple[Node, Device | None]] = []
        self.number: dict[tuple[str, str], int] = {}
        self.bins = Bins([], [], [], [])
        kinds: dict[object, int] = {}
        for index, (node, taken) in enumerate(after):
            self.bins.node_left.append(list(_left(node, taken, rule)))
            for device in (None, *node.devices):
                self.number[node.name, device.uuid if device else ""] = len(self.places)
                self.places.append((node, device))
                self.bins.node.append(index)
                self.bins.free_mib.append(taken.free_mib(device) if device else 0)
                kind = index, device and (device.memory_mib, device.capability, device.is_slice, _is_usable(device))
                self.bins.alike.append(kinds.setdefault(kind, len(kinds)))
        several = len(asked) + 1
        priorities = sorted({need.priority for need in asked})
        weights = {priority: several**above for above, priority in enumerate(priorities)}
        self.wishes = {need: self._wish(state, need, rule, weights[need.priority], several) for need in {*asked}}

    def _wish(self, state: State, need: Need, rule: Rule, weight: int, several: int) -> Wish:
        takes_mib, dear = {}, {}
        on_device = placement.is_on_device(state, need)
        for node, taken in state:
            if placement.node_refuses(node, taken, need, rule):
                continue
            for device in node.devices if on_device else (None,):
                where = self.number[node.name, device.uuid if device else ""]
                if device is None:
                    takes_mib[where], dear[where] = 0, int(bool(node.devices))
                elif not placement.device_refuses(device, taken, need, rule):
                    takes_mib[where] = placement.share_mib(device, need)
                    dear[where] = placement.generations_newer(device, need) * several + (not device.is_slice)
        of_node = need.memory_mib, round(need.cpu * 20) if rule.cpu_overcommit else 0, need.disk_mib
        return Wish(weight, need.gpu_memory_mib if on_device else 0, takes_mib, dear, of_node)

    def placed(self, need: Need, where: int) -> Placed | None:
        if where == NOWHERE:
            return None
        node, device = self.places[where]
        return Placed(node.name, device.uuid, placement.share_mib(device, need)) if device else Placed(node.name)


def _left(node: Node, taken: Taken, rule: Rule) -> tuple[int, int, int]:
    """Of the node's own resources: memory, twentieths of a vCPU, disk."""
    cpu = math.floor((node.cpu * rule.cpu_overcommit - taken.cpu) * 20 + 1e-6) if rule.cpu_overcommit else UNLIMITED
    disk_mib = node.disk_mib - taken.disk_mib if node.disk_mib else UNLIMITED * UNLIMITED
    return node.memory_mib - taken.memory_mib, cpu, disk_mib


def _is_usable(device: Device) -> bool:
    return device.is_healthy and not device.is_divided


def _stranded(model: _Model, sizes: Collection[int]) -> Callable[[int, int], int]:
    known: dict[int, int] = {}
    counts = [device is not None and _is_usable(device) for _, device in model.places]

    def of(where: int, free_mib: int) -> int:
        if not counts[where]:
            return 0
        if free_mib not in known:
            known[free_mib] = sum(free_mib % size for size in sizes)
        return known[free_mib]

    return of


def _fullness(model: _Model) -> Callable[[int, int], int]:
    """With `spread`: the more uneven, the more."""
    totals = [0 if device is None else device.memory_mib for _, device in model.places]

    def of(where: int, free_mib: int) -> int:
        total = totals[where]
        return (total - free_mib) ** 2 * 1_000_000 // total**2 if total else 0

    return of
