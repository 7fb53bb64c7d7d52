"""What the instances of all function versions take of the machine together, kept as they come and go. Pure."""

from __future__ import annotations

from control_plane.fleet.placement import Need
from control_plane.fleet.usage import VersionKey


class Ledger:
    """A sum that costs the same whether there are ten functions or ten thousand."""

    def __init__(self) -> None:
        self._entries: dict[VersionKey, tuple[int, Need]] = {}
        self._memory_mib = 0
        self._gpu_memory_mib = 0

    def put(self, key: VersionKey, instances: int, need: Need | None) -> None:
        """A function version has so many instances now, each of `need`; None = not known, and counted as nothing."""
        before, needed = self._entries.pop(key, (0, Need(0)))
        self._add(-before, needed)
        if instances and need is not None:
            self._entries[key] = instances, need
            self._add(instances, need)

    def _add(self, instances: int, need: Need) -> None:
        self._memory_mib += instances * need.memory_mib
        self._gpu_memory_mib += instances * need.gpu_memory_mib

    @property
    def taken(self) -> Need:
        """By all of them."""
        return Need(self._memory_mib, self._gpu_memory_mib)
