"""What was seen lately, in buckets of one second, and the readings of gauges: how they are kept. `columns` reads them.

Usage comes as means over intervals and is spread over the seconds they cover, so it does not matter how often somebody
looks. Readings of a gauge come at moments and may come again; a bucket keeps the largest, so that they count once.
Buckets too old for any window are dropped.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

_LEAST_S: Final = 1e-9  # anything shorter is the rounding of times, no interval


class Bucket(NamedTuple):
    """One second of usage. Sums over gateways' intervals, so `covered_s` may be less than a second, or a bit more."""

    second: int  # UTC seconds, rounded down
    covered_s: float
    demand: float  # request seconds
    provisioned: float  # request seconds, of those on provisioned instances
    slots: float  # slot seconds that provisioned instances had
    peak: int  # most requests at once
    arrived: float = 0.0  # requests
    answered: float = 0.0  # requests
    waited: float = 0.0  # seconds that requests have waited for a slot, counted when their wait is over
    waiting: float = 0.0  # request seconds
    pressed: int = 0  # most requests at once in a surge that had to queue


class Usage(NamedTuple):
    """The requests of the last `keep_s` seconds: of each field of `Bucket` a column, in the order of the seconds.

    A step adds a second or two and reads a hundred, so columns are what is kept: they are added up, compared and sliced
    without a line of Python for each second.
    """

    second: tuple[int, ...] = ()
    covered_s: tuple[float, ...] = ()
    demand: tuple[float, ...] = ()
    provisioned: tuple[float, ...] = ()
    slots: tuple[float, ...] = ()
    peak: tuple[int, ...] = ()
    arrived: tuple[float, ...] = ()
    answered: tuple[float, ...] = ()
    waited: tuple[float, ...] = ()
    waiting: tuple[float, ...] = ()
    pressed: tuple[int, ...] = ()

    @classmethod
    def of(cls, buckets: Sequence[Bucket]) -> Self:
        return cls._make(zip(*buckets, strict=True)) if buckets else cls()

    @property
    def buckets(self) -> list[Bucket]:
        return list(map(Bucket, *self))

    def add(self, now: float, interval_s: float, seen: Bucket, keep_s: int) -> Usage:
        """Take in means over (now - interval_s, now]: `seen` has them as if the interval were one second."""
        return self.add_each(((now, interval_s),), seen, keep_s)

    def add_each(self, looks: Sequence[tuple[float, float]], seen: Bucket, keep_s: int) -> Usage:
        """Take in the same means for each look, (now, interval_s), in their order."""
        if not looks:
            return self
        at = bisect_left(self.second, min(math.floor(now - interval_s) for now, interval_s in looks))
        tail = list(map(Bucket, *[column[at:] for column in self])) if at < len(self.second) else []
        for now, interval_s in looks:
            last = math.floor(now)
            start = max(now - interval_s, float(last - keep_s + 1))
            for second in range(math.floor(start), last + 1):
                share_s = min(now, second + 1.0) - max(start, float(second))
                if share_s > _LEAST_S:
                    _put(tail, _share(seen, second, share_s))
        oldest = math.floor(looks[-1][0]) - keep_s + 1
        tail = [bucket for bucket in tail if bucket.second >= oldest]
        gone = bisect_left(self.second, oldest, 0, at)
        if not tail:
            return Usage._make([column[gone:at] for column in self])
        return Usage._make([column[gone:at] + new for column, new in zip(self, zip(*tail, strict=True), strict=True)])

    @property
    def is_silent(self) -> bool:
        """No request in all that is kept."""
        return not any(map(any, (self.peak, self.demand, self.arrived, self.answered, self.waited, self.waiting)))


@dataclass(frozen=True, slots=True)
class Gauge:
    """The largest reading of each of the last seconds."""

    readings: tuple[tuple[int, float], ...] = ()  # by second, in order

    def put(self, second: int, value: float) -> Gauge:
        """A reading. The same one again changes nothing."""
        kept = dict(self.readings)
        if kept.get(second, -math.inf) >= value:
            return self
        kept[second] = value
        return Gauge(tuple(sorted(kept.items())))

    def since(self, second: int) -> Gauge:
        """Without the readings before a second."""
        if not self.readings or self.readings[0][0] >= second:
            return self
        return Gauge(tuple(reading for reading in self.readings if reading[0] >= second))


NO_READINGS: Final = Gauge()


def _share(seen: Bucket, second: int, share_s: float) -> Bucket:
    return Bucket(
        second,
        share_s,
        seen.demand * share_s,
        seen.provisioned * share_s,
        seen.slots * share_s,
        seen.peak,
        seen.arrived * share_s,
        seen.answered * share_s,
        seen.waited * share_s,
        seen.waiting * share_s,
        seen.pressed,
    )


def _put(buckets: list[Bucket], new: Bucket) -> None:
    """Add to the bucket of that second, or insert one. Nearly always it is the last or comes after it."""
    at = len(buckets)
    while at and buckets[at - 1].second > new.second:
        at -= 1
    if not at or buckets[at - 1].second != new.second:
        buckets.insert(at, new)
        return
    old = buckets[at - 1]
    buckets[at - 1] = Bucket(
        old.second,
        old.covered_s + new.covered_s,
        old.demand + new.demand,
        old.provisioned + new.provisioned,
        old.slots + new.slots,
        max(old.peak, new.peak),
        old.arrived + new.arrived,
        old.answered + new.answered,
        old.waited + new.waited,
        old.waiting + new.waiting,
        max(old.pressed, new.pressed),
    )
