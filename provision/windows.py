"""What was seen lately, in buckets of one second: averages, sliding averages and peaks over a window that ends now.

Usage comes as means over intervals and is spread over the seconds they cover, so it does not matter how often somebody
looks. Readings of a gauge come at moments and may come again; a bucket keeps the largest, so that they count once.
A window of n seconds reaches from n seconds ago until now; an average takes the bucket it begins in by its part, a
largest value takes it whole. Buckets too old for any window are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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


# A hundred pieces are made in every step, and a NamedTuple's own constructor takes most of the time it takes.
_piece: Final = tuple.__new__


class Piece(NamedTuple):
    """A total over a weight, at a second: what averages are made of."""

    second: int
    weight: float
    total: float


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

    def covered_s(self, now: float, window_s: int) -> float:
        """How much of the window was seen. A second that was seen twice, as the clock was held, counts once."""
        first, part = _begin(now, window_s)
        total_s = 0.0
        for bucket in reversed(self.buckets):
            if bucket[0] < first:
                break
            covered_s = bucket[1] if bucket[1] < 1.0 else 1.0
            total_s += covered_s * part if bucket[0] == first else covered_s
        return total_s

    def peak(self, now: float, window_s: int) -> int | None:
        """The most requests at once, None if nothing was seen."""
        first, _ = _begin(now, window_s)
        return max((bucket.peak for bucket in self.buckets if bucket.second >= first), default=None)

    def pressed(self, now: float, window_s: int) -> int:
        """The most requests at once in a surge that had to queue; 0 if there was none."""
        first, _ = _begin(now, window_s)
        return max((bucket.pressed for bucket in self.buckets if bucket.second >= first), default=0)

    def demand(self) -> list[Piece]:
        return [_piece(Piece, bucket[:3]) for bucket in self.buckets]

    def arrivals(self) -> list[Piece]:
        return [Piece(bucket.second, bucket.covered_s, bucket.arrived) for bucket in self.buckets]

    def waiting(self) -> list[Piece]:
        return [Piece(bucket.second, bucket.covered_s, bucket.waiting) for bucket in self.buckets]

    def running(self) -> list[Piece]:
        """Requests that have a slot, on whichever kind of instance."""
        return [Piece(b.second, b.covered_s, max(0.0, b.demand - b.waiting)) for b in self.buckets]

    def waits(self, first: int) -> list[Piece]:
        """Seconds waited over requests answered, from a second on."""
        return [Piece(b.second, b.answered, b.waited) for b in self.buckets if b.second >= first]

    def utilization(self, now: float, window_s: int) -> float | None:
        """FC's ProvisionedConcurrencyUtilization: requests on provisioned instances ÷ their slots, at most 1."""
        first, part = _begin(now, window_s)
        slots = used = 0.0
        for bucket in reversed(self.buckets):
            if bucket[0] <= first:
                if bucket[0] == first:
                    slots += bucket[4] * part
                    used += bucket[3] * part
                break
            slots += bucket[4]
            used += bucket[3]
        return min(1.0, used / slots) if slots > 0.0 else None


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

    def pieces(self) -> list[Piece]:
        return [Piece(second, 1.0, value) for second, value in self.readings]


def mean(pieces: Sequence[Piece], now: float, window_s: int) -> float | None:
    """The average over the window, None if it has nothing. The pieces are in the order of their seconds."""
    first, part = _begin(now, window_s)
    weight = total = 0.0
    for second, its_weight, its_total in reversed(pieces):
        if second > first:
            weight += its_weight
            total += its_total
        elif second == first:
            weight += its_weight * part
            total += its_total * part
        else:
            break
    return total / weight if weight > 0.0 else None


def sliding_mean_max(pieces: Sequence[Piece], now: float, window_s: int, slide_s: int) -> float | None:
    """The largest average over `slide_s` seconds that ended within the window, None if it has nothing.

    It is what the short window has said at any time during the long one, so pieces up to `slide_s` older than the
    window count in its first averages.
    """
    first, _ = _begin(now, window_s)
    largest: float | None = None
    weight = total = 0.0
    left = 0
    for second, its_weight, its_total in pieces:
        weight += its_weight
        total += its_total
        gone = second - slide_s
        while (oldest := pieces[left])[0] <= gone:
            weight -= oldest[1]
            total -= oldest[2]
            left += 1
        if second >= first and weight > 0.0 and (largest is None or total / weight > largest):
            largest = total / weight
    return largest


def _begin(now: float, window_s: int) -> tuple[int, float]:
    """The second that the window begins in, and how much of it lies in the window."""
    first = math.floor(now - window_s)
    return first, first + 1.0 - (now - window_s)


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
