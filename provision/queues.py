"""Shadow queues: what the requests of the past would have waited for under other ways of scaling.

Every way gets all arrivals, in a fluid queue of its own that follows the rules of `launches.py`, launch times included.
What is kept of each: how many requests would have waited beyond the limit, and what its instances would have cost; both
fade.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from provision.launches import HALF_BUSY, Numbers, half_busy, left_at_ready, lifted, useful
from provision.launches import needed as needed_of
from provision.pace import Pace
from provision.shadow import MANNERS, ONE_BY_ONE, RATES_S, ROWS, Shadow, floors_between
from provision.ways import answered_of, columns_of, heir_of, times_of

BUCKET_S_LEAST: Final = 0.25
STEPS_MAX: Final = 64  # of a launch
STEPS_GOOD: Final = 16  # of the shorter of launch and limit
# Time after which the past counts for a third; where fewer requests than REQUESTS_KEPT come in it, it is longer.
FADE_S: Final = 300.0
LONG_S: Final = 3600.0  # the same for the long memory
REQUESTS_KEPT: Final = 400.0
# What is late within one such span is one burst's.
BURST_S: Final = 30.0
# Up to so much between what two looks were told of is no time that nobody has seen: a report a second, and a look.
JOINED_S: Final = 3.0
# The queues are gone through for so many seconds at once; what they say changes slowly.
BATCH_S: Final = 4.0
# Idle time is caught up with in pieces, so that who is idle costs nothing in between.
IDLE_S: Final = 60.0
# Rows of the launches under way beyond those of one launch, so that they are seldom moved.
RING_SPARE: Final = 32
# Constants as arrays of no dimension: a plain number is made one anew by each call of numpy, which takes as long as
# what is done with it.
_EMPTY: Final = np.array(1e-3)  # requests; a fluid queue never ends by itself
_HALF: Final = np.array(0.5)
_PART_BUSY: Final = np.array(HALF_BUSY)
_NOTHING: Final = np.array(0.0)

# Rows of the table, one column a way.
INSIDE, READY, HELD, LATE, BURST, SQUARES, COST, LONG_LATE, LONG_BURST, LONG_SQUARES = range(ROWS)


def bucket_s(pace: Pace) -> float:
    """How finely time is cut: quarters of a second, or doubles of that where launch and limit are long."""
    size_s = BUCKET_S_LEAST
    while size_s * 2.0 <= min(pace.launch_s, pace.limit_s) / STEPS_GOOD or pace.launch_s / size_s > STEPS_MAX:
        size_s *= 2.0
    return size_s


def fresh(pace: Pace, least: int, most: int, at: float) -> Shadow:
    size_s = bucket_s(pace)
    top, steps = max(least, ONE_BY_ONE), _steps(pace, size_s)
    return Shadow(least, most, top, pace.limit_s, pace.slots, size_s, steps, math.floor(at / size_s), at)


def advance(shadow: Shadow, pace: Pace, since: float, until: float, arrived: float) -> Shadow:
    """Take in the requests that arrived, spread over the time from `since` until `until` (UTC seconds).

    A bucket counts once it is over. Time that nobody has seen is left out; but reports do not come at the moment of a
    look, so what they tell of may seem to begin a little after the end of what was told before.
    """
    size_s = shadow.size_s
    if since > shadow.until + JOINED_S:
        shadow = _through(shadow._replace(next=math.floor(since / size_s)), pace, list(shadow.counts))
    else:
        since = shadow.until
    counts = list(shadow.counts) or [0.0]
    if until <= since:  # the clock was held: they came in the bucket that goes on
        counts[-1] += arrived
        return shadow._replace(counts=tuple(counts))
    over = math.floor(until / size_s)
    batch = max(1, round(BATCH_S / size_s))
    if not arrived and not any(counts) and _is_idle(shadow) and (over - shadow.next) * size_s < IDLE_S:
        return shadow._replace(until=until, counts=())  # later, and then all at once
    counts += [0.0] * (over + 1 - shadow.next - len(counts))
    per_s = arrived / (until - since)
    for bucket in range(max(shadow.next, math.floor(since / size_s)), over + 1):
        share_s = min(until, (bucket + 1) * size_s) - max(since, bucket * size_s)
        if share_s > 0.0:
            counts[bucket - shadow.next] += per_s * share_s
    done = over // batch * batch - shadow.next
    if done > 0:
        shadow = _through(shadow._replace(next=shadow.next + done), pace, counts[:done])
        counts = counts[done:]
    return shadow._replace(until=until, counts=tuple(counts))


def _is_idle(shadow: Shadow) -> bool:
    """Nothing imagined changes any more until requests come."""
    if shadow.ring or any(shadow.recent):
        return False
    if not shadow.table:
        return True
    table = np.frombuffer(shadow.table).reshape(ROWS, -1)
    floor = columns_of(shadow.floors).floor
    return not table[INSIDE].any() and bool((table[READY] == floor).all())


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
    """The table while buckets are taken in.

    An hour of traffic is fifteen thousand buckets, so what arrays are made for is made once, and a call of numpy that
    can be left out is.
    """

    def __init__(self, shadow: Shadow, pace: Pace) -> None:
        self._shadow, self._pace = shadow, pace
        steps = self._steps = _steps(pace, shadow.size_s)
        self._times = times_of(pace, shadow.size_s, steps)
        self._imagine(shadow.floors)
        columns = len(self._floor)
        if shadow.table:
            self._table: Numbers = np.frombuffer(shadow.table).reshape(ROWS, columns).copy()
        else:
            self._table = np.zeros((ROWS, columns))
            self._table[READY] = self._table[HELD] = self._floor
        self._ring: Numbers | None = None  # launches by bucket, from row `_first` on those under way
        self._first = 0
        if shadow.ring:
            ring = np.frombuffer(shadow.ring).reshape(shadow.steps, columns)
            if steps == shadow.steps:
                self._ring = np.concatenate([ring, np.zeros((RING_SPARE, columns))])
            else:  # launches take another time now: those under way are taken for ready
                self._table[READY] += ring.sum(axis=0)
        keep = max(1, round(RATES_S[-1] / shadow.size_s), steps)
        self._recent = list((*([0.0] * keep), *shadow.recent)[-keep:])
        self._requests, self._seconds = shadow.requests, shadow.seconds
        self._requests_long, self._surge = shadow.requests_long, shadow.surge
        self._factors, self._factors_of = np.ones((ROWS - LATE, 1)), (1.0, 1.0)

    def _imagine(self, floors: tuple[int, ...]) -> None:
        self._floors = floors
        self._floor, height, self._rate, _, first = columns_of(floors)
        self._lifted, self._height = slice(first, None), height[first:]
        self._in_limit, self._in_reach = answered_of(self._pace, floors)

    def is_idle(self) -> bool:
        table = self._table
        return (
            self._ring is None
            and not any(self._recent)
            and not table[INSIDE].any()
            and bool((table[READY] == self._floor).all())
        )

    def rest(self, buckets: int) -> None:
        """Buckets in which nothing happens, all at once."""
        self._fade(buckets * self._shadow.size_s)

    def bucket(self, arrived: float) -> None:
        self._reach(arrived)
        pace, times, size_s, table = self._pace, self._times, self._shadow.size_s, self._table
        recent = self._recent
        del recent[0]
        recent.append(arrived)
        self._surge = max(self._surge, sum(recent[-self._steps :]))
        coming, coming_s, in_time = self._coming()
        ready, held = table[READY], table[HELD]
        inside = table[INSIDE]
        inside += arrived
        slots = ready if pace.slots == 1 else ready * pace.slots
        there = ready if coming is None else ready + coming
        waits = inside > slots + _EMPTY
        # 1. launch what is of use
        expected = np.array([sum(recent[-over:]) / span_s * pace.launch_s for over, span_s in times.spans])[self._rate]
        left = left_at_ready(pace, inside, expected, ready, slots, coming_s)
        more = useful(left, there, self._in_limit, pace.slots) if left.item(left.argmax()) > 0.0 else None
        more = self._lift(more, inside, slots, left, there, expected)
        # 2. give back what is of none
        busy = inside - _EMPTY
        if pace.slots > 1:
            busy /= pace.slots
        needed = needed_of(inside, expected, self._in_reach)
        kept = busy[self._lifted] / _PART_BUSY
        np.minimum(np.ceil(kept, out=kept), self._height, out=kept)
        np.minimum(needed, np.ceil(busy, out=busy), out=needed)
        np.maximum(needed[self._lifted], kept, out=needed[self._lifted])
        np.minimum(needed, there, out=needed)
        np.putmask(needed, waits, there)
        held -= needed
        held *= times.kept
        np.putmask(held, held < _HALF, _NOTHING)
        held += needed
        raised = self._floor - there
        if more is not None:
            np.minimum(more, np.maximum(self._shadow.most - there, _NOTHING), out=more)
            np.copyto(held, there + more, where=more > _NOTHING)
            np.maximum(raised, more, out=raised)
        wanted = held + _HALF
        np.floor(wanted, out=wanted)
        np.maximum(wanted, self._floor, out=wanted)
        fewer = np.subtract(there, wanted, out=wanted)
        np.maximum(fewer, _NOTHING, out=fewer)
        np.minimum(fewer, ready, out=fewer)
        np.putmask(fewer, waits, _NOTHING)
        np.maximum(raised, _NOTHING, out=raised)
        if raised.item(raised.argmax()):
            self._launch(raised)
        if fewer.item(fewer.argmax()):
            ready -= fewer
        # 3. who of the arrivals waits too long: those behind more than what is answered within the limit
        if arrived:
            late = ready * times.in_limit
            np.subtract(inside, late, out=late)
            if in_time is not None:
                late -= in_time
            if more is not None and times.new_in_time:
                late -= more * times.new_in_time
            np.maximum(late, _NOTHING, out=late)
            np.minimum(late, arrived, out=late)
        # 4. work goes on
        answered = ready * times.rate
        inside -= np.minimum(answered, inside * times.drained, out=answered)
        np.putmask(inside, inside < _EMPTY, _NOTHING)
        self._fade(size_s)
        if arrived and late.item(late.argmax()):
            table[LATE : BURST + 1] += late
            table[LONG_LATE : LONG_BURST + 1] += late
        if coming is not None:
            raised += coming
        raised *= size_s
        table[COST] += raised
        self._requests += arrived
        self._requests_long += arrived

    def _lift(
        self, more: Numbers | None, inside: Numbers, slots: Numbers, left: Numbers, there: Numbers, expected: Numbers
    ) -> Numbers | None:
        """Launches up to the heights besides those by rate."""
        of = self._lifted
        rising = half_busy(inside[of], slots[of]) if len(self._height) else None
        if rising is None:
            return more
        with_surge = left[of] + (self._surge - expected[of])
        height = lifted(rising, with_surge, there[of], self._height, self._pace.slots)
        if more is None:
            more = np.zeros(len(self._floor))
        np.maximum(more[of], height, out=more[of])
        return more

    def _launch(self, raised: Numbers) -> None:
        if self._ring is None:
            self._ring, self._first = np.zeros((self._steps + RING_SPARE, len(self._floor))), 0
        self._ring[self._first + self._steps - 1] += raised

    def _coming(self) -> tuple[Numbers | None, Numbers | None, Numbers | None]:
        """One bucket on in the launches: how many are under way, and the last two of `weights` of them."""
        ring, first, steps = self._ring, self._first, self._steps
        if ring is None:
            return None, None, None
        self._table[READY] += ring[first]
        first += 1
        if first + steps > len(ring):
            ring[: steps - 1] = ring[first:]
            ring[steps - 1 :] = 0.0
            first = 0
        coming, works_s, in_time = self._times.weights @ ring[first : first + steps]
        if not coming.item(coming.argmax()):
            self._ring = None
            return None, None, None
        self._first = first
        return coming, works_s, in_time

    def _reach(self, arrived: float) -> None:
        """Imagine higher floors before the highest one is half busy. Those above it have seen all that it has seen."""
        top, most = self._floors[-1], self._shadow.most
        if top >= most:
            return
        inside = float(self._table[INSIDE, len(self._floors) * MANNERS - 1]) + arrived
        if 2.0 * inside <= top * self._pace.slots:
            return
        floors = floors_between(self._shadow.least, most, max(2 * top, math.ceil(2.0 * inside / self._pace.slots)))
        heirs = heir_of(floors, self._floors)
        self._imagine(floors)
        extended = np.take(self._table, heirs, axis=1)
        higher = np.flatnonzero(self._floor > top)
        extended[READY : HELD + 1, higher] = self._floor[higher]
        extended[COST, higher] *= self._floor[higher] / max(1, top)
        self._table = extended
        if self._ring is not None:
            self._ring = np.take(self._ring, heirs, axis=1)
            self._ring[:, higher] = 0.0

    def _fade(self, seconds: float) -> None:
        table, factors = self._table, self._factors
        factor, weight_s = faded(self._requests, seconds, FADE_S)
        long, _ = faded(self._requests_long, seconds, LONG_S)
        self._requests *= factor
        self._requests_long *= long
        self._surge *= long
        if self._factors_of != (factor, long):  # as they are nearly always while many requests come
            self._factors_of = factor, long
            factors[:] = factor
            factors[SQUARES - LATE, 0] = factor * factor
            factors[LONG_LATE - LATE :] = long
            factors[LONG_SQUARES - LATE, 0] = long * long
        table[LATE:] *= factors
        table[COST] += table[READY] * weight_s
        self._seconds += seconds
        if self._seconds >= BURST_S:
            self._seconds %= BURST_S
            for squares, burst in ((SQUARES, BURST), (LONG_SQUARES, LONG_BURST)):
                table[squares] += table[burst] ** 2
                table[burst] = 0.0

    def end(self) -> Shadow:
        ring = b"" if self._ring is None else self._ring[self._first : self._first + self._steps].tobytes()
        return self._shadow._replace(
            top=self._floors[-1],
            steps=self._steps,
            recent=tuple(self._recent),
            requests=self._requests,
            requests_long=self._requests_long,
            surge=self._surge,
            seconds=self._seconds,
            table=self._table.tobytes(),
            ring=ring,
        )


def faded(requests: float, seconds: float, fade_s: float) -> tuple[float, float]:
    """What is left of the past after a time, as a factor; and what that time itself then weighs, in seconds.

    By half-lives as long as there are many requests in the past; the fewer they are, the slower: what comes once in an
    hour must be remembered for hours. In one piece or in many, it comes to the same.
    """
    quick_s = min(seconds, fade_s * math.log(requests / REQUESTS_KEPT)) if requests > REQUESTS_KEPT else 0.0
    factor = math.exp(-quick_s / fade_s)
    weight_s = fade_s * (1.0 - factor)
    slow_s = seconds - quick_s
    if slow_s > 0.0:
        a = min(requests, REQUESTS_KEPT) / (REQUESTS_KEPT * fade_s)
        slow = 1.0 / (1.0 + a * slow_s)
        weight_s = weight_s * slow + slow * (slow_s + a * slow_s * slow_s / 2.0)
        factor *= slow
    return factor, weight_s


def _steps(pace: Pace, size_s: float) -> int:
    return max(1, round(pace.launch_s / size_s))
