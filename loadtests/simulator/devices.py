"""The devices that simulated instances share, with places on them found by the same `place` as in a running Stoke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from control_plane.fleet.placement import UNLIMITED, Device, Need, Node, Placed, Rule, Taken, fits, place


class Devices:
    """Of one machine that has plenty of everything else. Every instance asks for the same."""

    def __init__(self, memories_mib: Sequence[int], gpu_memory_mib: int) -> None:
        devices = tuple(Device(f"simulated-{i}", i, "simulated", mib) for i, mib in enumerate(memories_mib))
        self._node = Node("simulated", UNLIMITED, devices=devices)
        self._need = Need(1, gpu_memory_mib)
        self._held_mib: Counter[str] = Counter()
        self.instances_max = fits(self._state(), self._need, Rule())

    def fits(self) -> int:
        """How many more."""
        return fits(self._state(), self._need, Rule())

    def take(self) -> Placed:
        """A place for one more. Only if one fits."""
        found = place(self._state(), self._need, Rule())
        assert isinstance(found, Placed), found
        self._held_mib[found.device] += found.gpu_memory_mib
        return found

    def give_back(self, placed: Placed) -> None:
        self._held_mib[placed.device] -= placed.gpu_memory_mib

    def _state(self) -> tuple[tuple[Node, Taken]]:
        return ((self._node, Taken(gpu_mib=self._held_mib)),)
