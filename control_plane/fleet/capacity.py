"""What the machine can hold beside what it holds: the node as last read, what is taken of it, and places for more."""

from __future__ import annotations

from collections.abc import Mapping

from control_plane.fleet import placement
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.placement import Need, Node, Placed, Rule, State, Taken
from control_plane.fleet.usage import VersionKey
from runtime.contract import NodeInfo


class Capacity:
    """`held_mib` is what instances hold of each device, those that start and those that drain among them; it is kept
    by who keeps the instances, and only read here."""

    def __init__(self, rule: Rule, held_mib: Mapping[str, int]) -> None:
        self._rule = rule
        self._held_mib = held_mib
        self._ledger = Ledger()
        self._node: Node | None = None
        self._ranks: dict[VersionKey, tuple[int, int]] = {}
        self.info: NodeInfo | None = None

    def read(self, info: NodeInfo) -> None:
        """The node is now as it says."""
        self.info, self._node = info, placement.node_of(info)

    @property
    def has_devices(self) -> bool:
        return self._node is not None and bool(self._node.devices)

    def put(self, key: VersionKey, instances: int, need: Need | None) -> None:
        """A function version has so many live instances now, each of `need`; None = not known."""
        self._ledger.put(key, instances, need)
        rank = (0, 0) if need is None else (need.priority, need.gpu_memory_mib)
        if any(rank):
            self._ranks[key] = rank
        else:
            self._ranks.pop(key, None)

    def turn(self, key: VersionKey) -> tuple[int, int, VersionKey]:
        """Who is placed first: the higher priority, then the larger share of a device, as small ones fit into what
        large ones leave."""
        priority, gpu_memory_mib = self._ranks.get(key, (0, 0))
        return -priority, -gpu_memory_mib, key

    def fits(self, need: Need) -> int:
        """How many more instances there is room for; 0 while the node is not known."""
        return placement.fits(self._state(), need, self._rule)

    def places(self, need: Need, count: int) -> list[Placed]:
        """For so many more, or for as many as fit."""
        found: list[Placed] = []
        if self._node is None:
            return found
        taken = self.taken()
        for _ in range(count):
            place = placement.place(((self._node, taken),), need, self._rule, self._ledger.gpu_sizes)
            if not isinstance(place, Placed):
                break
            found.append(place)
            taken = placement.with_one_more(taken, need, place)
        return found

    def refusal(self, need: Need) -> str:
        """Why there is no room for one more."""
        return placement.refusal(self._state(), need, self._rule)

    def taken(self) -> Taken:
        """By all instances; what is held of devices is that of a moment."""
        return self._ledger.taken(self._held_mib)

    def _state(self) -> State:
        return () if self._node is None else ((self._node, self.taken()),)
