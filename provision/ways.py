"""What is the same for all imagined queues of one pace, and for all buckets: made once and kept, as it takes long."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from provision.launches import Numbers, answered_in_limit, answered_in_reach
from provision.pace import Pace
from provision.shadow import ABOVE_HEIGHT, BY_RATE, MANNERS, RATES_S, heights_of


class Columns(NamedTuple):
    """Of each way: its floor, its height, the index of its rate, its share (of which no end is as good as no launch).

    First each floor with all MANNERS, its own height; from `lifted` on each height with the floors below it.
    """

    floor: Numbers
    height: Numbers
    rate: npt.NDArray[np.intp]
    share: Numbers
    lifted: int


@lru_cache(maxsize=4096)
def columns_of(floors: tuple[int, ...]) -> Columns:
    manners = (*BY_RATE, (ABOVE_HEIGHT, math.inf))
    ways = [(floor, floor, rate, share) for floor in floors for rate, share in manners]
    lifted = len(ways)
    rate, share = BY_RATE[ABOVE_HEIGHT]
    ways += [(floor, height, rate, share) for height in heights_of(floors) for floor in floors if floor < height]
    of_each = np.array(ways, dtype=np.float64).T
    columns = Columns(of_each[0].copy(), of_each[1].copy(), of_each[2].astype(np.intp), of_each[3].copy(), lifted)
    for column in columns[:-1]:
        column.flags.writeable = False
    return columns


@lru_cache(maxsize=1024)
def heir_of(floors: tuple[int, ...], fewer: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Of each way of `floors`, its column among the ways of the first of them, `fewer`; or the way there that has seen
    what it would have seen: of a higher floor the highest, of a greater height the greatest, and none of no height."""
    place = {way: index for index, way in enumerate(_named(fewer))}
    top = fewer[-1]
    found = list[int]()
    for floor, height, manner in _named(floors):
        below = min(floor, top)
        heights = [known for known in heights_of(fewer) if below < known <= height] if manner == MANNERS else []
        found.append(place[below, max(heights, default=below), manner if manner < MANNERS or heights else ABOVE_HEIGHT])
    return np.array(found, dtype=np.intp)


def _named(floors: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Floor, height and manner of each column; with a height above the floor the manner is MANNERS."""
    regular = [(floor, floor, manner) for floor in floors for manner in range(MANNERS)]
    return regular + [(floor, height, MANNERS) for height in heights_of(floors) for floor in floors if floor < height]


class Times(NamedTuple):
    """What is the same for all ways and buckets while the pace is."""

    # By place among the launches: one, the time that one will have worked in one launch time, and what it answers
    # within the limit.
    weights: Numbers
    new_in_time: float  # what a launch of now answers within the limit
    in_limit: float  # what a ready one does
    rate: float  # requests that one answers in a bucket
    drained: float  # part of what is in work that a bucket answers, at most
    kept: float  # part of what is held
    spans: tuple[tuple[int, float], ...]  # buckets and seconds of each rate


@lru_cache(maxsize=1024)
def times_of(pace: Pace, size_s: float, steps: int) -> Times:
    until_s = (np.arange(steps, dtype=np.float64) + 1.0) * size_s
    works_s = np.maximum(0.0, pace.launch_s - until_s)
    in_time = np.maximum(0.0, pace.limit_s - until_s) * pace.rate
    weights = np.stack([np.ones(steps), works_s, in_time])
    weights.flags.writeable = False
    return Times(
        weights,
        max(0.0, pace.limit_s - pace.launch_s) * pace.rate,
        pace.rate * pace.limit_s + pace.slots / 2.0,
        pace.rate * size_s,
        1.0 - math.exp(-size_s / pace.service_s),
        math.exp(-size_s / pace.launch_s),
        tuple((max(1, round(span_s / size_s)), max(span_s, size_s)) for span_s in RATES_S),
    )


@lru_cache(maxsize=1024)
def answered_of(pace: Pace, floors: tuple[int, ...]) -> tuple[Numbers, Numbers]:
    """Of each way, what an instance answers within its share of the limit, and before that and a launch are over."""
    share = columns_of(floors).share
    found = answered_in_limit(pace, share), answered_in_reach(pace, share)
    for numbers in found:
        numbers.flags.writeable = False
    return found
