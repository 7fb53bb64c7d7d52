"""Traces made by rule and seed: the load test's shapes, and a day with a tide, noise and two crowds.

Requests are independent of each other: a Poisson process whose rate follows the shape.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadtests.shapes import SHAPES, check, users_at
from loadtests.simulator.trace import Trace, trace_of

DAY_S: Final = 86_400.0
PREFIX: Final = "shape:"
NAMES: Final = (*SHAPES, "day")
NOISE: Final = 0.15  # standard deviation of a minute's rate, as a share of it
CROWD_HEIGHT: Final = 0.8  # of the day's peak rate, on top of the tide
CROWD_RISE_S: Final = 20.0
CROWD_DECAY_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """`shape:NAME,low=1,high=8,duration_s=600`: low and high are requests served at once; `day` has peak_rps."""

    name: str
    low: int = 1
    high: int = 8
    duration_s: float = 600.0
    peak_rps: float = 2.0


def parse(text: str) -> Wanted:
    """Raises ValueError, naming what is wrong and what is allowed."""
    name, *pairs = text.removeprefix(PREFIX).split(",")
    if name not in NAMES:
        raise ValueError(f"trace: shape '{name}'; one of {', '.join(NAMES)} is allowed")
    values: dict[str, float] = {"duration_s": DAY_S} if name == "day" else {}
    allowed = ("duration_s", "peak_rps") if name == "day" else ("low", "high", "duration_s")
    for pair in pairs:
        key, _, value = pair.partition("=")
        try:
            number: float = int(value) if key in ("low", "high") else float(value)
        except ValueError:
            raise ValueError(f"trace: '{pair}' in {text}; KEY=NUMBER is allowed") from None
        if key not in allowed:
            raise ValueError(f"trace: '{key}' in {text}; one of {', '.join(allowed)} is allowed")
        values[key] = number
    wanted = Wanted(name, **values)  # type: ignore[arg-type]
    if name != "day":
        check(name, low=wanted.low, high=wanted.high, duration_s=wanted.duration_s)
    elif not (0.0 < wanted.peak_rps <= 1000.0 and 0.0 < wanted.duration_s <= 7 * DAY_S):
        raise ValueError(
            f"trace: {text}; peak_rps up to 1000 and duration_s up to {7 * DAY_S:.0f}, above 0, are allowed"
        )
    return wanted


def generate(wanted: Wanted, service_s: float, seed: int) -> Trace:
    """The same arguments give the same trace. A shape's users become the rate that keeps as many in the work."""
    chance = random.Random(seed)
    if wanted.name == "day":
        rate, most = _day(wanted, chance)
    else:

        def rate(t: float) -> float:
            users = users_at(wanted.name, t, low=wanted.low, high=wanted.high, duration_s=wanted.duration_s)
            return users / service_s

        most = wanted.high / service_s
    rows: list[tuple[float, float | None]] = [(t, None) for t in _poisson(rate, most, wanted.duration_s, chance)]
    return trace_of(f"{PREFIX}{wanted.name}", rows, duration_s=wanted.duration_s)


def _day(wanted: Wanted, chance: random.Random) -> tuple[Callable[[float], float], float]:
    """Lowest at the ends and ten times as high in the middle; each minute a bit off; crowds at 37 % and 79 %."""
    low, high = wanted.peak_rps / 10.0, wanted.peak_rps
    noise = [max(0.2, chance.gauss(1.0, NOISE)) for _ in range(math.ceil(wanted.duration_s / 60.0))]
    crowds_s = (0.37 * wanted.duration_s, 0.79 * wanted.duration_s)

    def rate(t: float) -> float:
        tide = low + (high - low) * (1.0 - math.cos(2.0 * math.pi * t / wanted.duration_s)) / 2.0
        crowd = sum(_crowd(t - began_s) for began_s in crowds_s)
        return tide * noise[int(t // 60.0)] + CROWD_HEIGHT * high * crowd

    return rate, high * (max(noise) + 2.0 * CROWD_HEIGHT)


def _crowd(t: float) -> float:
    """From 0 to 1 within CROWD_RISE_S, then fading."""
    if t < 0.0:
        return 0.0
    return min(1.0, t / CROWD_RISE_S) * math.exp(-max(0.0, t - CROWD_RISE_S) / CROWD_DECAY_S)


def _poisson(rate: Callable[[float], float], most: float, duration_s: float, chance: random.Random) -> list[float]:
    """By thinning: arrivals at the highest rate, each kept with the share that the rate has of it then."""
    times, t = list[float](), 0.0
    while (t := t + chance.expovariate(most)) < duration_s:
        if chance.random() * most < rate(t):
            times.append(t)
    return times
