"""What the instances of all function versions take of the machine together, kept as they come and go. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from control_plane.fleet.placement import Need, Taken
from runtime.contract import VersionKey


class Ledger:
    """Sums that cost the same whether there are ten functions or ten thousand."""

    def __init__(self) -> None:
        self._entries: dict[VersionKey, tuple[int, Need]] = {}
        self._memory_mib = 0
        self._cpu_twentieths = 0  # FC asks for CPU in steps of 0.05: whole numbers add up exactly
        self._disk_mib = 0
        self._sizes: Counter[int] = Counter()

    def put(self, key: VersionKey, instances: int, need: Need | None) -> None:
        """A function version has so many instances now, each of `need`; None = not known, and counted as nothing."""
        before, needed = self._entries.pop(key, (0, Need(0)))
        self._add(-before, needed, -1 if before else 0)
        if instances and need is not None:
            self._entries[key] = instances, need
            self._add(instances, need, 1)

    def _add(self, instances: int, need: Need, versions: int) -> None:
        self._memory_mib += instances * need.memory_mib
        self._cpu_twentieths += instances * round(need.cpu * 20)
        self._disk_mib += instances * need.disk_mib
        if need.gpu_memory_mib and versions:
            self._sizes[need.gpu_memory_mib] += versions
            if not self._sizes[need.gpu_memory_mib]:
                del self._sizes[need.gpu_memory_mib]

    def taken(self, gpu_mib: Mapping[str, int]) -> Taken:
        """By all of them; `gpu_mib` is what they hold of each device."""
        return Taken(self._memory_mib, self._cpu_twentieths / 20, self._disk_mib, gpu_mib)

    @property
    def gpu_sizes(self) -> Collection[int]:
        """The shares of GPU memory that they ask for."""
        return self._sizes.keys()
