"""What the machine can hold beside what it holds, asked by function version: the node as last read, what each version
needs, what is taken, and places for more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from control_plane.fleet import placement
from control_plane.fleet.joint import place_all
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.needs import need_of
from control_plane.fleet.placement import Need, Node, Placed, Rule, State, Taken
from control_plane.fleet.table import InstanceTable
from control_plane.model import Function
from provision.words import counted
from runtime.contract import VersionKey
from runtime.node_contract import NodeInfo


class Capacity:
    """Reads in `table` what there is, each time it is asked. The instances of a function version that it was not told
    of hold what they hold of devices, and count as nothing else."""

    def __init__(self, rule: Rule, table: InstanceTable) -> None:
        self._rule = rule
        self._table = table
        self._needs: dict[VersionKey, Need] = {}
        self._ledger = Ledger()
        self._node: Node | None = None
        self._ranks: dict[VersionKey, tuple[int, int]] = {}
        self._fits: dict[Need, int] = {}  # as long as nothing has moved
        self.info: NodeInfo | None = None

    # -- being told -------------------------------------------------------------------------------------------------

    def read(self, info: NodeInfo) -> None:
        """The node is now as it says."""
        self.info, self._node = info, placement.node_of(info)
        self._fits.clear()

    def know(self, key: VersionKey, function: Function | None) -> None:
        """A function version needs what `function` says; None: it is gone, or not known."""
        self._ranks.pop(key, None)
        if function is None:
            self._needs.pop(key, None)
        else:
            need = self._needs[key] = need_of(function)
            if need.priority or need.gpu_memory_mib:
                self._ranks[key] = need.priority, need.gpu_memory_mib
        self._count(key)

    def _count(self, key: VersionKey) -> None:
        self._fits.clear()
        self._ledger.put(key, self._table.census(key).live, self._needs.get(key))

    # -- answering --------------------------------------------------------------------------------------------------

    @property
    def has_devices(self) -> bool:
        return self._node is not None and bool(self._node.devices)

    def turn(self, key: VersionKey) -> tuple[int, int, VersionKey]:
        """Who is placed first: the higher priority, then the larger share of a device, as small ones fit into what
        large ones leave."""
        priority, gpu_memory_mib = self._ranks.get(key, (0, 0))
        return -priority, -gpu_memory_mib, key

    def left(self, key: VersionKey) -> int:
        """How many more instances of a known function version there is room for; 0 while the node is not known."""
        state, need = self._state(), self._needs[key]
        found = self._fits.get(need)
        if found is None:
            found = self._fits[need] = placement.fits(state, need, self._rule)
        return found

    def places(self, key: VersionKey, count: int) -> list[Placed]:
        """For so many more of a known function version, or for as many as fit."""
        found: list[Placed] = []
        if self._node is None:
            return found
        need, taken = self._needs[key], self.taken()
        for _ in range(count):
            place = placement.find(((self._node, taken),), need, self._rule, self._ledger.gpu_sizes)
            if place is None:
                break
            found.append(place)
            taken = placement.with_one_more(taken, need, place)
        return found

    def places_together(self, counts: Mapping[VersionKey, int]) -> dict[VersionKey, list[Placed]]:
        """For so many more of each of several known function versions, found together (`joint.py`), or for as many as
        fit. Of those that ask for the same the first ones come first."""
        keys, rooms = list[VersionKey](), dict[Need, int]()
        for key, count in counts.items():
            if count:
                # Of those that ask for the same, no more than would find room if they were alone: thousands may ask.
                may_be = min(count, rooms.setdefault(self._needs[key], self.left(key)))
                rooms[self._needs[key]] -= may_be
                keys += [key] * may_be
        needs, state = [self._needs[key] for key in keys], self._state()
        found: dict[VersionKey, list[Placed]] = {key: [] for key in counts}
        for key, place in zip(keys, place_all(state, needs, self._rule, self._ledger.gpu_sizes), strict=True):
            if place is not None:
                found[key].append(place)
        return found

    def still(self, key: VersionKey, places: Sequence[Placed]) -> list[Placed]:
        """Those of some places, found before, that have room yet for a known function version."""
        found: list[Placed] = []
        if self._node is None:
            return found
        need, taken = self._needs[key], self.taken()
        for place in places:
            if placement.has_room(self._node, taken, need, self._rule, place):
                found.append(place)
                taken = placement.with_one_more(taken, need, place)
        return found

    def error(self, key: VersionKey, target: int) -> str:
        """Why the machine cannot hold `target` instances of a function version; "" if it can, or nothing is known."""
        need = self._needs.get(key)
        if need is None or self._node is None:
            return ""
        lacking = target - self._table.census(key).live - self.left(key)
        if lacking <= 0:
            return ""
        more = counted(lacking, "more instance")
        return f"no room for {more}: {placement.refusal(self._state(), need, self._rule)}"

    def taken(self) -> Taken:
        """By all instances, as of now; what is held of devices is that of a moment."""
        for key in self._table.moved():
            self._count(key)
        return self._ledger.taken(self._table.holdings.mib)

    def _state(self) -> State:
        return () if self._node is None else ((self._node, self.taken()),)
