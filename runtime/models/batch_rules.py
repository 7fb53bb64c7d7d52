"""How many of the requests that wait are run together. Pure: no clock, no loop.

Nothing is ever held back so that a batch may grow: a batch is what has come while the one before was running. So
batches grow with the load, and a request that comes alone is run alone at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_NEWEST_WEIGHT: Final = 0.2  # of a new measurement, in the running mean of its bucket
# A bucket that was too slow once may have been so by chance. It is only run again when it seems fast enough, so what is
# known of it fades with each run of a smaller one: twice too slow, it gets another try after 70 runs.
_FADING: Final = 0.99
# What a run takes where nothing else wants the processor is the least that was seen lately. A run that was interrupted
# says nothing about that, and a model that has become slower is known for it after some dozen runs.
_LEAST_GROWS: Final = 1.02
_ROWS_DOUBLED: Final = 2.0  # twice the rows take at most about twice the time


@dataclass(frozen=True, slots=True)
class BatchRules:
    """`buckets` are the batch sizes that are warmed up and measured, ascending.

    With `pads`, only these sizes are ever run: a batch in between is filled up with copies of its last row.
    """

    buckets: tuple[int, ...] = (1,)
    latency_target_s: float = 0.1
    pads: bool = False

    @property
    def rows_max(self) -> int:
        return self.buckets[-1]

    def bucket(self, rows: int) -> int:
        """The smallest bucket that holds so many rows; more than the largest are their own."""
        at = bisect_left(self.buckets, rows)
        return self.buckets[at] if at < len(self.buckets) else rows


def powers_of_two(rows_max: int) -> tuple[int, ...]:
    """1, 2, 4 … and `rows_max` itself."""
    sizes = []
    size = 1
    while size < rows_max:
        sizes.append(size)
        size *= 2
    return (*sizes, rows_max)


def in_order(buckets: tuple[int, ...], provider: str) -> tuple[int, ...]:
    """In which a warm-up runs them. TensorRT builds its engine anew for each size beyond those that it was built for:
    from the least and the largest on it has all."""
    if provider != "TensorrtExecutionProvider" or len(buckets) < 3:
        return buckets
    return (buckets[0], buckets[-1], *buckets[1:-1])


class RunTimes:
    """What runs of each bucket took, in seconds: on average, and at the least."""

    __slots__ = ("_least_s", "_means_s", "_rules")

    def __init__(self, rules: BatchRules) -> None:
        self._rules = rules
        self._means_s: dict[int, float] = {}
        self._least_s: dict[int, float] = {}

    def note(self, rows: int, took_s: float) -> None:
        """A run of so many rows took so long."""
        bucket = self._rules.bucket(rows)
        means_s = self._means_s
        mean_s = means_s.get(bucket)
        means_s[bucket] = took_s if mean_s is None else mean_s + _NEWEST_WEIGHT * (took_s - mean_s)
        self._least_s[bucket] = min(took_s, self._least_s.get(bucket, took_s) * _LEAST_GROWS)
        for larger in means_s:
            if larger > bucket:
                means_s[larger] *= _FADING

    def least_s(self, rows: int) -> float | None:
        """What a run of so many rows takes when it is not interrupted; None when nothing like it was measured."""
        return self._least_s.get(self._rules.bucket(rows))

    def rows_allowed(self) -> int:
        """As many rows as can be run together within the latency target.

        A request may have to wait for the run before its own, so each may take half the target. A bucket that was not
        measured is expected to take as much longer than the one below as it has more rows.
        """
        half_s = self._rules.latency_target_s / 2
        allowed = self._rules.buckets[0]
        below_s: float | None = None
        for bucket in self._rules.buckets:
            expected_s = self._means_s.get(bucket)
            if expected_s is None and below_s is not None:
                expected_s = below_s * _ROWS_DOUBLED
            if expected_s is not None and expected_s > half_s:
                break
            allowed, below_s = bucket, expected_s
        return allowed


def how_many(rows_waiting: Iterable[int], rows_allowed: int) -> int:
    """How many of the requests that wait, first come first, are run together: those that fit, and at least one."""
    count = total = 0
    for rows in rows_waiting:
        total += rows
        if total > rows_allowed and count:
            break
        count += 1
    return count
