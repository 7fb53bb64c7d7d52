"""Shadow queues: what the requests of the past would have waited for under other ways of scaling.

A way is a floor (instances that always stand ready) with a manner of launching above it: over how many seconds the rate
of arrivals is taken, and which share of the limit may be used up. Every way gets all arrivals, in a fluid queue of its
own that follows the rules of `launches.py`, launch times included. What is kept of each: how many requests would have
waited beyond the limit, and what its instances would have cost; both fade.
"""

from __future__ import annotations

import base64
import math
import zlib
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from provision.launches import Numbers, Pace, left_at_ready, useful

# Seconds over which arrivals are averaged to see what comes: a burst shows in one, chance in a steady rate averages out
# in sixteen.
RATES_S: Final = (1.0, 4.0, 16.0)
# Parts of the limit that a launch leaves to be waited: half of it is a reserve for what the rate does not show yet.
SHARES: Final = (0.5, 1.0)
MANNERS: Final = len(RATES_S) * len(SHARES)
# Floors go one by one as far as one more instance is 1 / 16 of all, and by tenths from there.
ONE_BY_ONE: Final = 16
FLOOR_FACTOR: Final = 1.1
# Bursts are what is counted: requests beyond the limit in one such span are one burst's.
BURST_S: Final = 30.0
BUCKET_S_LEAST: Final = 0.25
STEPS_MAX: Final = 64  # of a launch
STEPS_GOOD: Final = 16  # of the shorter of launch and limit
# Time after which the past counts for a third; where fewer requests than REQUESTS_KEPT come in it, it is longer.
FADE_S: Final = 450.0
REQUESTS_KEPT: Final = 400.0
# Idle time is caught up with in pieces, so that who is idle costs nothing in between.
IDLE_S: Final = 60.0
_EMPTY: Final = 1e-3  # requests; a fluid queue never ends by itself

# Rows of the table, one column a way.
_INSIDE, _READY, _HELD, _LATE, _BURST, _SQUARES, _COST = range(7)
_ROWS: Final = 7


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways that are imagined between two bounds: floors slowest, then rates, then shares."""

    least: int
    most: int

    @property
    def floors(self) -> list[int]:
        return floors_between(self.least, self.most)

    def columns(self) -> tuple[Numbers, list[int], Numbers]:
        """Of each way: its floor, the index of its rate, its share."""
        floors = self.floors
        floor = np.repeat(np.array(floors, dtype=np.float64), MANNERS)
        rate = [r for _ in floors for r in range(len(RATES_S)) for _ in SHARES]
        share = np.tile(np.array(SHARES, dtype=np.float64), len(floors) * len(RATES_S))
        return floor, rate, share


def floors_between(least: int, most: int) -> list[int]:
    found, floor = [least], least
    while floor < most:
        floor = min(most, max(floor + 1, math.floor(floor * FLOOR_FACTOR) if floor >= ONE_BY_ONE else 0))
        found.append(floor)
    return found


def bucket_s(pace: Pace) -> float:
    """How finely time is cut: quarters of a second, or doubles of that where launch and limit are long."""
    size_s = BUCKET_S_LEAST
    while size_s * 2.0 <= min(pace.launch_s, pace.limit_s) / STEPS_GOOD or pace.launch_s / size_s > STEPS_MAX:
        size_s *= 2.0
    return size_s


@dataclass(frozen=True, slots=True)
class Shadow:
    """All ways at once. `table` and `ring` are float64 numbers; empty ones stand for the beginning and for nothing."""

    least: int
    most: int
    size_s: float  # of a bucket
    steps: int  # of a launch, in buckets
    next: int  # bucket that was not taken in yet
    until: float  # UTC seconds that were seen
    partial: float = 0.0  # requests in it until now
    recent: tuple[float, ...] = ()  # requests of the last buckets, for the rates
    requests: float = 0.0  # faded
    seconds: float = 0.0  # since the burst's span began
    table: bytes = b""
    ring: bytes = b""  # instances that are starting, by the buckets until they are ready

    @property
    def ways(self) -> Ways:
        return Ways(self.least, self.most)

    def to_values(self) -> list[Any]:
        """As JSON has it."""
        return [
            self.least, self.most, self.size_s, self.steps, self.next, self.until, self.partial, self.recent,
            self.requests, self.seconds, _packed(self.table), _packed(self.ring),
        ]  # fmt: skip

    @classmethod
    def from_values(cls, values: list[Any]) -> Self:
        """Raises ValueError or TypeError for another form."""
        *numbers, recent, requests, seconds, table, ring = values
        found = cls(*numbers, tuple(recent), requests, seconds, _unpacked(table), _unpacked(ring))
        columns = len(floors_between(found.least, found.most)) * MANNERS * 8
        if len(found.table) not in (0, _ROWS * columns) or len(found.ring) not in (0, found.steps * columns):
            raise ValueError("a shadow of another size")
        return found

    def rates(self, elapsed_s: float = 0.0) -> list[float]:
        """Arrivals a second over each of RATES_S, the bucket that is not over included: `elapsed_s` of it have passed."""
        found = []
        for span_s in RATES_S:
            buckets = max(1, round(span_s / self.size_s))
            seen = math.fsum(self.recent[-buckets:]) + self.partial
            found.append(seen / (buckets * self.size_s + elapsed_s))
        return found


def fresh(pace: Pace, least: int, most: int, at: float) -> Shadow:
    size_s = bucket_s(pace)
    return Shadow(least, most, size_s, _steps(pace, size_s), math.floor(at / size_s), at)


def advance(shadow: Shadow, pace: Pace, since: float, until: float, arrived: float) -> Shadow:
    """Take in the requests that arrived, spread over the time from `since` until `until` (UTC seconds).

    A bucket counts once it is over. Time that nobody has seen is left out.
    """
    size_s = shadow.size_s
    if since > shadow.until + size_s:
        shadow = replace(shadow, next=math.floor(since / size_s), partial=0.0)
    since = max(since, shadow.next * size_s)
    over = max(shadow.next, math.floor(until / size_s))  # the bucket that goes on
    if until <= since:
        return replace(shadow, partial=shadow.partial + arrived)
    per_s = arrived / (until - since)
    counts = [
        per_s * max(0.0, min(until, (bucket + 1) * size_s) - max(since, bucket * size_s))
        for bucket in range(shadow.next, over + 1)
    ]
    counts[0] += shadow.partial
    full, partial = counts[:-1], counts[-1]
    if not arrived and not shadow.partial and _is_idle(shadow) and len(full) * size_s < IDLE_S:
        return replace(shadow, until=until)  # later, and then all at once
    return _through(replace(shadow, next=over, until=until, partial=partial), pace, full)


def _is_idle(shadow: Shadow) -> bool:
    """Nothing imagined changes any more until requests come."""
    if shadow.ring or any(shadow.recent):
        return False
    if not shadow.table:
        return True
    table = np.frombuffer(shadow.table).reshape(_ROWS, -1)
    floor = shadow.ways.columns()[0]
    return not table[_INSIDE].any() and bool((table[_READY] == floor).all())


def _through(shadow: Shadow, pace: Pace, counts: list[float]) -> Shadow:
    if not counts:
        return shadow
    run = _Run(shadow, pace)
    for index, count in enumerate(counts):
        if not count and run.is_idle():
            rest = counts[index:]
            quiet = next((i for i, later in enumerate(rest) if later), len(rest))
            if quiet == len(rest):
                run.rest(quiet)
                break
        run.bucket(count)
    return run.end()


class _Run:
    """The table while buckets are taken in."""

    def __init__(self, shadow: Shadow, pace: Pace) -> None:
        self._shadow, self._pace = shadow, pace
        self._floor, self._rate, self._share = shadow.ways.columns()
        columns = len(self._floor)
        if shadow.table:
            self._table: Numbers = np.frombuffer(shadow.table).reshape(_ROWS, columns).copy()
        else:
            self._table = np.zeros((_ROWS, columns))
            self._table[_READY] = self._table[_HELD] = self._floor
        steps = _steps(pace, shadow.size_s)
        self._steps = steps
        if shadow.ring and steps == shadow.steps:
            self._ring: Numbers | None = np.frombuffer(shadow.ring).reshape(steps, columns).copy()
        else:
            self._ring = None
            if shadow.ring:  # launches take another time now: those under way are taken for ready
                self._table[_READY] += np.frombuffer(shadow.ring).reshape(shadow.steps, columns).sum(axis=0)
        keep = max(1, round(RATES_S[-1] / shadow.size_s))
        self._recent = list((*([0.0] * keep), *shadow.recent)[-keep:])
        self._requests, self._seconds = shadow.requests, shadow.seconds
        # By place in the ring: the time until it is ready, and what it will have done in one launch time, or limit.
        until_s = (np.arange(steps, dtype=np.float64) + 1.0) * shadow.size_s
        self._works_s = np.maximum(0.0, pace.launch_s - until_s)
        self._in_time = np.maximum(0.0, pace.limit_s - until_s) * pace.rate
        self._new_in_time = max(0.0, pace.limit_s - pace.launch_s) * pace.rate
        self._drained = 1.0 - math.exp(-shadow.size_s / pace.service_s)
        self._kept = math.exp(-shadow.size_s / pace.launch_s)

    def is_idle(self) -> bool:
        table = self._table
        return (
            self._ring is None
            and not any(self._recent)
            and not table[_INSIDE].any()
            and bool((table[_READY] == self._floor).all())
        )

    def rest(self, buckets: int) -> None:
        """Buckets in which nothing happens, all at once."""
        self._fade(buckets * self._shadow.size_s)

    def bucket(self, arrived: float) -> None:
        pace, size_s, table, ring = self._pace, self._shadow.size_s, self._table, self._ring
        self._recent = [*self._recent[1:], arrived]
        coming: Numbers | float = 0.0
        coming_s = in_time = 0.0 * self._floor
        if ring is not None:
            table[_READY] += ring[0]
            ring[:-1] = ring[1:]
            ring[-1] = 0.0
            coming = ring.sum(axis=0)
            if not np.any(coming):
                ring = self._ring = None
            else:
                coming_s, in_time = self._works_s @ ring, self._in_time @ ring
        ready = table[_READY]
        inside = table[_INSIDE] + arrived
        there = ready + coming
        waits = inside > ready * pace.slots + _EMPTY
        # 1. launch what is of use
        rates = np.array([sum(self._recent[-max(1, round(s / size_s)) :]) / max(s, size_s) for s in RATES_S])
        left = left_at_ready(pace, inside, rates[self._rate], ready, coming_s)
        more = np.minimum(useful(pace, left, there, self._share), np.maximum(0.0, self._shadow.most - there))
        # 2. give back what is of none
        needed = np.where(waits, there, np.minimum(there, np.ceil(inside / pace.slots - _EMPTY)))
        held = np.maximum(needed, needed + (table[_HELD] - needed) * self._kept)
        held = np.where(held - needed < 0.5, needed, held)
        held = np.where(more > 0.0, there + more, held)
        wanted = np.maximum(self._floor, np.floor(held + 0.5))
        fewer = np.where(waits, 0.0, np.clip(there - wanted, 0.0, ready))
        raised = np.maximum(more, self._floor - there)
        raised = np.maximum(raised, 0.0)
        if raised.any():
            if ring is None:
                ring = self._ring = np.zeros((self._steps, len(self._floor)))
            ring[-1] += raised
        ready = ready - fewer
        # 3. who of the arrivals waits too long: those behind more than what is answered within the limit
        reach = ready * (pace.rate * pace.limit_s + pace.slots / 2.0) + in_time + more * self._new_in_time
        late = np.clip(inside - reach, 0.0, arrived)
        # 4. work goes on
        inside = inside - np.minimum(ready * pace.rate * size_s, inside * self._drained)
        table[_INSIDE] = np.where(inside < _EMPTY, 0.0, inside)
        table[_READY], table[_HELD] = ready, held
        self._fade(size_s)
        table[_LATE] += late
        table[_BURST] += late
        table[_COST] += (coming + raised) * size_s
        self._requests += arrived

    def _fade(self, seconds: float) -> None:
        table = self._table
        factor, weight_s = faded(self._requests, seconds)
        self._requests *= factor
        for row in (_LATE, _COST, _BURST):
            table[row] *= factor
        table[_SQUARES] *= factor * factor
        table[_COST] += table[_READY] * weight_s
        self._seconds += seconds
        if self._seconds >= BURST_S:
            self._seconds = 0.0
            table[_SQUARES] += table[_BURST] ** 2
            table[_BURST] = 0.0

    def end(self) -> Shadow:
        return replace(
            self._shadow,
            steps=self._steps,
            recent=tuple(self._recent),
            requests=self._requests,
            seconds=self._seconds,
            table=self._table.tobytes(),
            ring=b"" if self._ring is None else self._ring.tobytes(),
        )


def faded(requests: float, seconds: float) -> tuple[float, float]:
    """What is left of the past after a time, as a factor; and what that time itself then weighs, in seconds.

    By half-lives as long as there are many requests in the past; the fewer they are, the slower: what comes once in an
    hour must be remembered for hours. In one piece or in many, it comes to the same.
    """
    quick_s = min(seconds, FADE_S * math.log(requests / REQUESTS_KEPT)) if requests > REQUESTS_KEPT else 0.0
    factor = math.exp(-quick_s / FADE_S)
    weight_s = FADE_S * (1.0 - factor)
    slow_s = seconds - quick_s
    if slow_s > 0.0:
        a = min(requests, REQUESTS_KEPT) / (REQUESTS_KEPT * FADE_S)
        slow = 1.0 / (1.0 + a * slow_s)
        weight_s = weight_s * slow + slow * (slow_s + a * slow_s * slow_s / 2.0)
        factor *= slow
    return factor, weight_s


def late_shares(shadow: Shadow, deviations: float) -> tuple[Numbers, Numbers]:
    """Of each way, by floor and manner: the share of requests that would have waited too long, and its cost.

    The share is a bound from above: bursts come by chance, so what a few of them have added is given the deviation
    of a sum of as many (the root of the sum of their squares). A floor's share is the largest of its own and of all
    higher ones: a floor is enough where more would have been, too.
    """
    if not shadow.table or shadow.requests <= 0.0:
        nothing = np.zeros((len(shadow.ways.floors), MANNERS))
        return nothing, nothing
    table = np.frombuffer(shadow.table).reshape(_ROWS, -1)
    late = table[_LATE] + deviations * np.sqrt(table[_SQUARES] + table[_BURST] ** 2)
    share = np.minimum(1.0, late / shadow.requests).reshape(-1, MANNERS)
    return np.maximum.accumulate(share[::-1], axis=0)[::-1], table[_COST].reshape(-1, MANNERS)


def _steps(pace: Pace, size_s: float) -> int:
    return max(1, round(pace.launch_s / size_s))


def _packed(numbers: bytes) -> str:
    return base64.b64encode(zlib.compress(numbers, 1)).decode() if numbers else ""


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text, validate=True)) if text else b""
