"""A better way to put instances into bins, looked for within a number of steps. Pure; numbers only.

A bin is a device, or the part of a node that is no device. A way is judged by its `Cost`; what comes out is never
dearer than what went in. The search goes through all ways where there are few. Where there are many it goes through all
ways of two bins and then of three, over and over, until that gains nothing or the steps are used up.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

NOWHERE: Final = -1
WHOLE_MAX: Final = 24  # instances that are tried all together
WINDOWS: Final = (2, 3)  # bins that are tried together, where there are more
MISSING_TOGETHER_MAX: Final = 6  # instances without room that are tried in one window
ALIKE_MISSING_MAX: Final = 2  # of these, so many that ask for the same
KINDS_MISSING_MAX: Final = 32  # that are looked through for them


class Cost(NamedTuple):
    """What is compared first comes first."""

    refused: int  # the weights of the instances without room
    dear: int  # how unfit the bins are for what is in them
    stranded: int  # in all bins


@dataclass(frozen=True, slots=True)
class Wish:
    """What any number of instances ask for."""

    weight: int  # of a refusal; more than all refusals that count less
    size_mib: int  # of a bin; 0 = of its node alone
    takes_mib: Mapping[int, int]  # by the bins where it may be
    dear: Mapping[int, int]  # by the same bins
    of_node: tuple[int, ...] = ()  # of each of the node's own resources


@dataclass(slots=True)
class Bins:
    """What is left, and what sets bins apart."""

    free_mib: list[int]
    node: list[int]  # of each bin
    node_left: list[list[int]]  # by node
    alike: list[int]  # bins of one number differ in what is left of them, and in nothing else


@dataclass(slots=True)
class _Best:
    cost: Cost
    way: list[int] | None = None  # None = nothing better was found


@dataclass(slots=True)
class _Window:
    """Some instances, and the bins they may go to; all else stays where it is."""

    wishes: list[Wish]  # of each instance
    bins: Sequence[int]
    left_mib: list[int]  # that this instance and those after it ask for
    is_exact: bool  # they take what they ask for, wherever they are
    way: list[int] = field(default_factory=list)
    seen: dict[tuple[object, ...], tuple[int, int]] = field(default_factory=dict)


class _There:
    """Which instances are where: `way`, kept so that windows are found quickly."""

    def __init__(self, wishes: Sequence[Wish], way: list[int]) -> None:
        self.wishes = wishes
        self.way = way
        self.kinds = list({id(wish): wish for wish in wishes}.values())
        numbers = {id(wish): number for number, wish in enumerate(self.kinds)}
        self.kind = [numbers[id(wish)] for wish in wishes]
        self.inside: defaultdict[int, list[int]] = defaultdict(list)
        self._without: dict[int, list[int]] = {}  # by kind: those that have no place
        for at, where in enumerate(way):
            if where != NOWHERE:
                self.inside[where].append(at)
            elif wishes[at].takes_mib:
                self._without.setdefault(self.kind[at], []).append(at)

    def missing(self, window: Sequence[int]) -> list[int]:
        """Some of those that have no place and could be in one of these bins, the most important ones."""
        found: list[int] = []
        for kind in itertools.islice(self._without, KINDS_MISSING_MAX):
            if any(b in self.kinds[kind].takes_mib for b in window):
                found += self._without[kind][:ALIKE_MISSING_MAX]
        return sorted(found)[:MISSING_TOGETHER_MAX]

    def moved(self, instances: Sequence[int], window: Sequence[int]) -> None:
        """All that was inside of these bins, and some that had no place, are where `way` says now."""
        for b in window:
            self.inside[b] = [at for at in instances if self.way[at] == b]
        for kind in {self.kind[at] for at in instances}:
            mine = [at for at in instances if self.kind[at] == kind]
            without = sorted({*self._without.get(kind, ())} - {*mine} | {at for at in mine if self.way[at] == NOWHERE})
            if without:
                self._without[kind] = without
            else:
                self._without.pop(kind, None)


class Rearranging:
    """Of instances that are in `bins` already: what they take is not free there."""

    def __init__(
        self,
        bins: Bins,
        stranded: Callable[[int, int], int],  # in a bin with so much free
        modulos: Sequence[int],  # the sizes, where the least stranded is that of one bin with all that is free; or none
        steps_max: int,
    ) -> None:
        self._bins = bins
        self._stranded = stranded
        self._modulos = modulos
        self.steps_left = steps_max

    def improve(self, wishes: Sequence[Wish], way: list[int]) -> None:
        """`way` has the bin of each instance, or NOWHERE; it is changed in place. Its order is that of importance. Who
        asks for the same has the same object in `wishes`."""
        if len(wishes) <= WHOLE_MAX:
            steps_left = self.steps_left
            self.steps_left = steps_left // 2
            everything = sorted({b for wish in wishes for b in wish.takes_mib})
            self._solve(range(len(wishes)), everything, wishes, way)
            if self.steps_left > 0:
                return
            self.steps_left = steps_left - steps_left // 2
        there = _There(wishes, way)
        for width in WINDOWS:
            done: set[tuple[object, ...]] = set()
            while self.steps_left > 0 and self._pass(width, there, done):
                pass

    # -- windows ----------------------------------------------------------------------------------------------------

    def _pass(self, width: int, there: _There, done: set[tuple[object, ...]]) -> bool:
        """Once through all windows; has it gained anything?"""
        gained = False
        for window in itertools.combinations(self._bins_worth_a_look(there), width):
            self.steps_left -= 1
            if self.steps_left <= 0:
                break
            missing = there.missing(window)
            movable = sorted(missing + [at for b in window for at in there.inside[b]])
            sign = self._sign(window, missing, there)
            if movable and sign not in done:
                done.add(sign)
                if self._solve(movable, window, there.wishes, there.way):
                    there.moved(movable, window)
                    gained = True
        return gained

    def _bins_worth_a_look(self, there: _There) -> list[int]:
        """Those that hold something which may go elsewhere, or have room; where most is stranded first."""
        free_mib = self._bins.free_mib
        could = {
            b for wish in there.kinds if wish.size_mib for b, mib in wish.takes_mib.items()
            if there.inside[b] or free_mib[b] >= mib
        }  # fmt: skip
        return sorted(could, key=lambda b: (-self._stranded(b, free_mib[b]), b))

    def _sign(self, window: Sequence[int], missing: Sequence[int], there: _There) -> tuple[object, ...]:
        """Windows of one sign have the same best ways, but for the names of their bins."""
        bins = self._bins
        inside = sorted(
            (bins.alike[b], bins.free_mib[b], sorted(there.kind[at] for at in there.inside[b])) for b in window
        )
        nodes = sorted({bins.node[b] for b in window})
        return repr(inside), tuple(there.kind[at] for at in missing), repr([bins.node_left[n] for n in nodes])

    # -- all ways of one window -------------------------------------------------------------------------------------

    def _solve(self, movable: Sequence[int], bins: Sequence[int], wishes: Sequence[Wish], way: list[int]) -> bool:
        """Go through all ways to put these instances into these bins. Has a better one been found?"""
        mine = [wishes[at] for at in movable]
        before = [way[at] for at in movable]
        best = _Best(self._cost(mine, before, bins))
        for wish, where in zip(mine, before, strict=True):
            self._give(wish, where, -1)
        left = list(itertools.accumulate([0, *(wish.size_mib for wish in reversed(mine))]))[::-1]
        is_exact = all(mib == wish.size_mib for wish in mine for mib in wish.takes_mib.values())
        self._descend(_Window(mine, bins, left, is_exact), 0, 0, 0, best)
        for wish, where in zip(mine, best.way or before, strict=True):
            self._give(wish, where, 1)
        if best.way is None:
            return False
        for at, where in zip(movable, best.way, strict=True):
            way[at] = where
        return True

    def _descend(self, window: _Window, at: int, refused: int, dear: int, best: _Best) -> None:
        self.steps_left -= 1
        if self.steps_left < 0 or self._is_hopeless(window, at, refused, dear, best):
            return
        if at == len(window.wishes):
            free_mib = self._bins.free_mib
            stranded = sum(self._stranded(b, free_mib[b]) for b in window.bins)
            cost = Cost(refused, dear, stranded)
            if cost < best.cost:
                best.cost, best.way = cost, list(window.way)
            return
        if self._is_known(window, at, refused, dear):
            return
        wish = window.wishes[at]
        for where in self._choices(window, wish):
            self._give(wish, where, 1)
            window.way.append(where)
            self._descend(window, at + 1, refused, dear + wish.dear[where], best)
            window.way.pop()
            self._give(wish, where, -1)
        window.way.append(NOWHERE)
        self._descend(window, at + 1, refused + wish.weight, dear, best)
        window.way.pop()

    def _is_hopeless(self, window: _Window, at: int, refused: int, dear: int, best: _Best) -> bool:
        if (refused, dear) > best.cost[:2]:
            return True
        if refused < best.cost.refused or dear < best.cost.dear:
            return False
        # No more may be refused: so all that is left takes its memory, and in sum what will be free is known.
        if not self._modulos or not window.is_exact:
            return best.cost.stranded == 0
        free_mib = self._bins.free_mib
        will_be = sum(free_mib[b] for b in window.bins) - window.left_mib[at]
        return will_be < 0 or sum(will_be % size for size in self._modulos) >= best.cost.stranded

    def _is_known(self, window: _Window, at: int, refused: int, dear: int) -> bool:
        """Has this been reached before, in another order or with bins that are alike, and no dearer?"""
        bins = self._bins
        left = tuple(sorted((bins.alike[b], bins.free_mib[b]) for b in window.bins))
        nodes = tuple(tuple(bins.node_left[n]) for n in sorted({bins.node[b] for b in window.bins}))
        before = window.seen.get((at, left, nodes))
        if before is not None and before <= (refused, dear):
            return True
        window.seen[at, left, nodes] = refused, dear
        return False

    def _choices(self, window: _Window, wish: Wish) -> list[int]:
        """The bins where it may be and finds room, one of those that are alike; the fittest and fullest first."""
        bins = self._bins
        found: dict[tuple[int, int, int], int] = {}
        for b in window.bins:
            takes_mib = wish.takes_mib.get(b)
            if takes_mib is None or bins.free_mib[b] < takes_mib:
                continue
            left = bins.node_left[bins.node[b]]
            if all(mine <= there or not mine for mine, there in zip(wish.of_node, left, strict=True)):
                found.setdefault((wish.dear[b], bins.free_mib[b], bins.alike[b]), b)
        return [b for _, b in sorted(found.items())]

    def _cost(self, wishes: Sequence[Wish], way: Sequence[int], bins: Sequence[int]) -> Cost:
        refused = sum(wish.weight for wish, where in zip(wishes, way, strict=True) if where == NOWHERE)
        dear = sum(wish.dear[where] for wish, where in zip(wishes, way, strict=True) if where != NOWHERE)
        return Cost(refused, dear, sum(self._stranded(b, self._bins.free_mib[b]) for b in bins))

    def _give(self, wish: Wish, where: int, sign: int) -> None:
        """Take its share of a bin, or give it back."""
        if where == NOWHERE:
            return
        self._bins.free_mib[where] -= sign * wish.takes_mib[where]
        left = self._bins.node_left[self._bins.node[where]]
        for resource, takes in enumerate(wish.of_node):
            left[resource] -= sign * takes
