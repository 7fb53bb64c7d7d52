"""What was seen lately, column by column: averages, sliding averages and peaks over a window that ends now.

A window of n seconds reaches from n seconds ago until now; an average takes the second it begins in by its part, a
largest value takes it whole. A step reads some columns of a hundred buckets several times; as columns they are added up
without a line of Python for each of them.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import sub
from typing import Final, NamedTuple, Self

from provision.windows import Gauge, Usage

# Less weight than that is the rounding of a sum that came to nothing, and no second of usage and no request.
_LEAST: Final = 1e-9


class Piece(NamedTuple):
    """A total over a weight, at a second: what averages are made of."""

    second: int
    weight: float
    total: float


class Totals(NamedTuple):
    """Pieces as columns, in the order of their seconds."""

    seconds: Sequence[int]
    weights: Sequence[float]
    totals: Sequence[float]

    @classmethod
    def of(cls, pieces: Iterable[Piece]) -> Self:
        columns = tuple(zip(*pieces, strict=True))
        return cls(*columns) if columns else cls((), (), ())

    @classmethod
    def of_gauge(cls, gauge: Gauge) -> Self:
        return cls.of(Piece(second, 1.0, value) for second, value in gauge.readings)

    def pieces(self) -> list[Piece]:
        return list(map(Piece, *self))


class Columns:
    """The columns of `Usage`, and what is reckoned of them."""

    __slots__ = ("_usage",)

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def covered_s(self, now: float, window_s: int) -> float:
        """How much of the window was seen. A second that was seen twice, as the clock was held, counts once."""
        first, part = _begin(now, window_s)
        at = bisect_left(self._usage.second, first)
        covered = self._usage.covered_s[at:]
        if not covered:
            return 0.0
        if max(covered) > 1.0:
            covered = tuple(min(1.0, each) for each in covered)
        whole_s: float = sum(covered)
        return whole_s - covered[0] * (1.0 - part) if self._usage.second[at] == first else whole_s

    def peak(self, now: float, window_s: int) -> int | None:
        """The most requests at once, None if nothing was seen."""
        return max(self._usage.peak[bisect_left(self._usage.second, _begin(now, window_s)[0]) :], default=None)

    def pressed(self, now: float, window_s: int) -> int:
        """The most requests at once in a surge that had to queue; 0 if there was none."""
        return max(self._usage.pressed[bisect_left(self._usage.second, _begin(now, window_s)[0]) :], default=0)

    def demand(self) -> Totals:
        return Totals(self._usage.second, self._usage.covered_s, self._usage.demand)

    def arrivals(self) -> Totals:
        return Totals(self._usage.second, self._usage.covered_s, self._usage.arrived)

    def waiting(self) -> Totals:
        return Totals(self._usage.second, self._usage.covered_s, self._usage.waiting)

    def running(self) -> Totals:
        """Requests that have a slot, on whichever kind of instance."""
        both = zip(self._usage.demand, self._usage.waiting, strict=True)
        running = [max(0.0, there - waits) for there, waits in both]
        return Totals(self._usage.second, self._usage.covered_s, running)

    def waits(self, first: int) -> Totals:
        """Seconds waited over requests answered, from a second on."""
        at = bisect_left(self._usage.second, first)
        return Totals(self._usage.second[at:], self._usage.answered[at:], self._usage.waited[at:])

    def utilization(self, now: float, window_s: int) -> float | None:
        """FC's ProvisionedConcurrencyUtilization: requests on provisioned instances ÷ their slots, at most 1."""
        used = mean(Totals(self._usage.second, self._usage.slots, self._usage.provisioned), now, window_s)
        return None if used is None else min(1.0, used)


def mean(of: Totals, now: float, window_s: int) -> float | None:
    """The average over the window, None if it has nothing."""
    first, part = _begin(now, window_s)
    seconds, weights, totals = of
    at = bisect_left(seconds, first)
    weight = total = 0.0
    if at < len(seconds) and seconds[at] == first:
        weight, total = weights[at] * part, totals[at] * part
        at += 1
    weight += sum(weights[at:])
    total += sum(totals[at:])
    return total / weight if weight > 0.0 else None


def sliding_mean_max(of: Totals, now: float, window_s: int, slide_s: int) -> float | None:
    """The largest average over `slide_s` seconds that ended within the window, None if it has nothing.

    It is what the short window has said at any time during the long one, so pieces up to `slide_s` older than the
    window count in its first averages.
    """
    first, _ = _begin(now, window_s)
    seconds = of.seconds
    at = bisect_left(seconds, first)
    if at + 1 >= slide_s and _is_seamless(of):
        sums = list(accumulate(of.totals, initial=0.0))
        largest_sum = max(map(sub, sums[at + 1 :], sums[at + 1 - slide_s :]), default=None)
        return None if largest_sum is None else largest_sum / slide_s
    largest: float | None = None
    weight = total = 0.0
    left = 0
    for second, its_weight, its_total in zip(*of, strict=True):
        weight += its_weight
        total += its_total
        gone = second - slide_s
        while seconds[left] <= gone:
            weight -= of.weights[left]
            total -= of.totals[left]
            left += 1
        if second >= first and weight > _LEAST and (largest is None or total / weight > largest):
            largest = total / weight
    return largest


def _is_seamless(of: Totals) -> bool:
    """Whole seconds, and none is missing: nearly always, and then the pieces need not be looked at one by one."""
    seconds, weights, _ = of
    return seconds[-1] - seconds[0] + 1 == len(seconds) == weights.count(1.0) if seconds else False


def _begin(now: float, window_s: int) -> tuple[int, float]:
    """The second that the window begins in, and how much of it lies in the window."""
    first = math.floor(now - window_s)
    return first, first + 1.0 - (now - window_s)
