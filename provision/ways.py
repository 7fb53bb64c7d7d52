"""What is the same for all imagined queues of one pace, and for all buckets: made once and kept, as it takes long."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from provision.launches import Numbers, answered_in_limit, answered_in_reach
from provision.pace import Pace
from provision.shadow import MANNERS, RATES_S, SHARES


class Columns(NamedTuple):
    """Of each way: its floor, the index of its rate, its share (of which no end is as good as no launch)."""

    floor: Numbers
    rate: npt.NDArray[np.intp]
    share: Numbers


@lru_cache(maxsize=4096)
def columns_of(floors: tuple[int, ...]) -> Columns:
    rates = [*(rate for rate in range(len(RATES_S)) for _ in SHARES), len(RATES_S) - 1]
    columns = Columns(
        np.repeat(np.array(floors, dtype=np.float64), MANNERS),
        np.tile(np.array(rates, dtype=np.intp), len(floors)),
        np.tile(np.array([*SHARES * len(RATES_S), math.inf], dtype=np.float64), len(floors)),
    )
    for column in columns:
        column.flags.writeable = False
    return columns


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
