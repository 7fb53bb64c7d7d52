"""What was seen lately, in buckets of one second, and the readings of gauges: how they are kept. `columns` reads them.

Usage comes as means over intervals and is spread over the seconds they cover, so it does not matter how often somebody
looks. Readings of a gauge come at moments and may come again; a bucket keeps the largest, so that they count once.
Buckets too old for any window are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

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


@dataclass(frozen=True, slots=True)
class Usage:
    """The requests of the last `keep_s` seconds."""

    buckets: tuple[Bucket, ...] = ()

    def add(self, now: float, interval_s: float, seen: Bucket, keep_s: int) -> Usage:
        """Take in means over (now - interval_s, now]: `seen` has them as if the interval were one second."""
        return self.add_each(((now, interval_s),), seen, keep_s)

    def add_each(self, looks: Iterable[tuple[float, float]], seen: Bucket, keep_s: int) -> Usage:
        """Take in the same means for each look, (now, interval_s), in their order."""
        kept = list(self.buckets)
        oldest = -math.inf
        for now, interval_s in looks:
            last = math.floor(now)
            oldest = last - keep_s + 1
            start = max(now - interval_s, float(oldest))
            for second in range(math.floor(start), last + 1):
                share_s = min(now, second + 1.0) - max(start, float(second))
                if share_s > _LEAST_S:
                    _put(kept, _share(seen, second, share_s))
        gone = 0
        while gone < len(kept) and kept[gone].second < oldest:
            gone += 1
        return Usage(tuple(kept[gone:]))

    @property
    def is_silent(self) -> bool:
        """No request in all that is kept."""
        return not any(b.peak or b.demand or b.arrived or b.answered or b.waited or b.waiting for b in self.buckets)


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
