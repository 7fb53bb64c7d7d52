"""How much GPU memory a choice of device strands: free, and of no use to the sizes that functions ask for. Pure.

What comes next is not known, but its sizes are. So a choice is judged by what is stranded once one more instance has
come, of any of the sizes as likely as of another, and has been put where it strands the least.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable


def stranded_mib(free_mib: int, sizes: Collection[int]) -> float:
    """Of one device: for each size, what would be left over if it were filled with that size; the mean over them."""
    return sum(free_mib % size for size in sizes) / len(sizes) if sizes else 0.0


class Outlook:
    """Of devices with so much free memory each."""

    def __init__(self, free_mib: Iterable[int], sizes: Collection[int]) -> None:
        self._sizes = sizes
        self._stranded_mib: dict[int, float] = {}
        self._after: dict[tuple[int, int], tuple[int, float]] = {}
        count = Counter(free_mib)
        # For each size, on which of the devices one more strands least, and on which if that one is the one chosen.
        # Devices with the same free memory are as good as each other, so there are few to look at.
        self._best = {size: self._two_best(size, count) for size in sizes}

    def after(self, free_mib: int, left_mib: int) -> tuple[int, float]:
        """Of a choice that leaves `left_mib` on a device that has `free_mib`: for how many of the sizes there is no
        room afterwards, and the memory stranded by it and by one more on average. Less is better."""
        found = self._after.get((free_mib, left_mib))
        if found is None:
            found = self._after[free_mib, left_mib] = self._look(free_mib, left_mib)
        return found

    def _look(self, free_mib: int, left_mib: int) -> tuple[int, float]:
        refused, more_mib = 0, 0.0
        for size in self._sizes:
            found = [more for more, free, is_only in self._best[size] if free != free_mib or not is_only][:1]
            if left_mib >= size:
                found.append(self._more_mib(left_mib, size))
            if found:
                more_mib += min(found)
            else:
                refused += 1
        first_mib = self._of(left_mib) - self._of(free_mib)
        return refused, first_mib + more_mib / max(1, len(self._sizes))

    def _two_best(self, size: int, count: Counter[int]) -> list[tuple[float, int, bool]]:
        found = [(self._more_mib(free, size), free, many == 1) for free, many in count.items() if free >= size]
        return sorted(found)[:2]

    def _more_mib(self, free_mib: int, size: int) -> float:
        """What one more of this size strands there."""
        return self._of(free_mib - size) - self._of(free_mib)

    def _of(self, free_mib: int) -> float:
        found = self._stranded_mib.get(free_mib)
        if found is None:
            found = self._stranded_mib[free_mib] = stranded_mib(free_mib, self._sizes)
        return found
