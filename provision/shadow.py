"""What is remembered of imagined ways of scaling, and what for: `queues.py` lets requests of the past go through them.

A way is a floor (instances that always stand ready) with a manner of launching above it: over how many seconds the rate
of arrivals is taken, which share of the limit may be used up, and to what height instances are launched as soon as half
of those that are ready are busy. This module knows no arrays, so that what never asks for a percentile does not load
them.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from provision.pace import Pace

# Seconds over which arrivals are averaged to see what comes: a burst shows in one, chance in a steady rate averages out
# in sixteen.
RATES_S: Final[Sequence[float]] = (1.0, 4.0, 16.0)
# Manners of launching by what comes: the rate (of RATES_S, by index), and the part of the limit that a launch leaves to
# be waited. Half of it is a reserve for what the rate does not show yet.
BY_RATE: Final = ((0, 0.5), (1, 1.0), (2, 1.0))
# The manner that never launches stands for a number of instances that does not change.
STANDING: Final = len(BY_RATE)
MANNERS: Final = STANDING + 1  # of each floor; its heights come after those of all floors
# A way with a height launches above it by the steadiest rate: what comes at once is the height's part.
ABOVE_HEIGHT: Final = len(BY_RATE) - 1
ROWS: Final = 10  # of numbers that are kept of each way
# Floors go one by one as far as one more instance is 1 / 16 of all, and by tenths from there.
ONE_BY_ONE: Final = 16
FLOOR_FACTOR: Final = 1.1
HEIGHT_FACTOR: Final = 1.35  # from one height to the next
BYTES: Final = 8  # of a number


@lru_cache(maxsize=4096)
def floors_between(least: int, most: int, top: int) -> tuple[int, ...]:
    """The floors that are imagined: from the least to the first that is `top` or the most."""
    found, floor = [least], least
    while floor < min(most, top):
        floor = min(most, max(floor + 1, math.floor(floor * FLOOR_FACTOR) if floor >= ONE_BY_ONE else 0))
        found.append(floor)
    return tuple(found)


@lru_cache(maxsize=4096)
def heights_of(floors: tuple[int, ...]) -> tuple[int, ...]:
    """The heights that are imagined, each with all floors below it. More floors at the end only add some at the end."""
    found: list[int] = []
    for floor in floors[1:]:
        if not found or floor >= found[-1] * HEIGHT_FACTOR:
            found.append(floor)
    return tuple(found)


@lru_cache(maxsize=4096)
def ways_of(floors: tuple[int, ...]) -> int:
    """How many ways are imagined: each floor with MANNERS, then each height with the floors below it."""
    return len(floors) * MANNERS + sum(floors.index(height) for height in heights_of(floors))


@lru_cache(maxsize=64)
def _spans(size_s: float) -> tuple[tuple[int, float], ...]:
    """Of each of RATES_S as many buckets, and how long they are."""
    overs = [max(1, round(span_s / size_s)) for span_s in RATES_S]
    return tuple((over, over * size_s) for over in overs)


class Shadow(NamedTuple):
    """All ways at once. `table` and `ring` are float64 numbers; empty ones stand for the beginning and for nothing."""

    least: int
    most: int
    top: int  # floors are imagined up to it, as long as no burst asks for more
    limit_s: float
    slots: int
    size_s: float  # of a bucket
    steps: int  # of a launch, in buckets
    next: int  # the first bucket that no queue has been through
    until: float  # UTC seconds that were seen
    counts: tuple[float, ...] = ()  # requests in that bucket and the following ones, the one that goes on included
    recent: tuple[float, ...] = ()  # requests in the buckets before, for the rates
    requests: float = 0.0  # faded
    requests_long: float = 0.0  # the same with the long memory
    surge: float = 0.0  # the most requests that came in one launch time, fading with the long memory
    seconds: float = 0.0  # since the burst's span began
    table: bytes = b""
    ring: bytes = b""  # instances that are starting, by the buckets until they are ready

    def is_of(self, pace: Pace, least: int, most: int) -> bool:
        """What it has counted holds for these; other service and launch times go on from what there is."""
        return (self.least, self.most, self.limit_s, self.slots) == (least, most, pace.limit_s, pace.slots)

    @property
    def floors(self) -> tuple[int, ...]:
        return floors_between(self.least, self.most, self.top)

    def to_values(self) -> list[Any]:
        """As JSON has it."""
        return [*self[:-2], _packed(self.table), _packed(self.ring)]

    @classmethod
    def from_values(cls, values: list[Any]) -> Self:
        """Raises ValueError or TypeError for another form."""
        *numbers, table, ring = values
        if len(numbers) != len(cls._fields) - 2:
            raise ValueError("a shadow of another form")
        held = (tuple(each) if isinstance(each, list) else each for each in numbers)
        found = cls._make([*held, _unpacked(table), _unpacked(ring)])
        columns = ways_of(found.floors) * BYTES
        if len(found.table) not in (0, ROWS * columns) or len(found.ring) not in (0, found.steps * columns):
            raise ValueError("a shadow of another size")
        return found

    def rates(self) -> list[float]:
        """Arrivals a second over each of RATES_S, and what of the bucket that goes on was seen."""
        buckets = (*self.recent, *self.counts)
        elapsed_s = max(0.0, self.until - (self.next + max(0, len(self.counts) - 1)) * self.size_s)
        spans = _spans(self.size_s)
        return [math.fsum(buckets[-over - 1 :]) / (over_s + elapsed_s) for over, over_s in spans]


@dataclass(frozen=True, slots=True)
class Way:
    """A floor with a manner of launching above it, and why."""

    floor: int
    height: int  # the floor itself where nothing is launched before somebody waits
    rate: int  # of RATES_S, by index
    share: float
    why: str


@dataclass(frozen=True, slots=True)
class SloMemory:
    """What the policy keeps. Fresh, it has seen nothing."""

    shadow: Shadow | None = None
    served_s: float = 0.0  # of `answered` requests
    answered: float = 0.0
    held: float = 0.0  # instances that were needed, fading
    held_at: float = 0.0  # UTC seconds
    chosen: tuple[float, Way] | None = field(default=None, compare=False)  # by percentile, from the shadow as it is

    def to_values(self) -> list[Any]:
        """As JSON has it."""
        shadow = None if self.shadow is None else self.shadow.to_values()
        return [shadow, self.served_s, self.answered, self.held, self.held_at]

    @classmethod
    def from_values(cls, values: list[Any]) -> Self:
        """Raises ValueError or TypeError for another form."""
        shadow, served_s, answered, held, held_at, *_ = values
        if shadow is None or len(shadow) != len(Shadow._fields):  # older versions imagined other ways
            return cls(None, served_s, answered, held, held_at)
        return cls(Shadow.from_values(shadow), served_s, answered, held, held_at)

    def after_a_clock_was_set(self) -> Self:
        """Without anything that holds a time."""
        return replace(self, shadow=None, held_at=0.0)


def _packed(numbers: bytes) -> str:
    return base64.b64encode(zlib.compress(numbers, 1)).decode() if numbers else ""


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text, validate=True)) if text else b""
