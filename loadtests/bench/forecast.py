"""What looking ahead brings and costs: `python -m loadtests.bench.forecast`. A world of flows, no requests, no clock.

Demand is a function of time; instances are ready a launch after they were asked for. For each demand and season: how
many request-seconds had no instance, instance-seconds with those that start, CPU time of a step, size of the memory.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from loadtests.simulator.table import plain
from provision.config import ProvisionConfig, parse
from provision.decide import Memory, Seen, step

DAY_S: Final = 86_400
BEGAN_S: Final = 1_750_032_000.0  # midnight, UTC
TICK_S: Final = 5.0
LAUNCH_S: Final = 60.0
NOISE_SEED: Final = 3
SEASONS: Final = ("without", "none", "day")

Demand = Callable[[float], float]


class Figures(NamedTuple):
    short_request_s: float
    instance_s: float
    step_us: float
    memory_bytes: int


def office(t: float) -> float:
    """2 at once by night, 20 from nine to five."""
    return 20.0 if 9 * 3600 <= t % DAY_S < 17 * 3600 else 2.0


def ramps(t: float) -> float:
    """Each hour: up from 2 to 40 in twenty minutes, ten minutes there, down in ten."""
    into = t % 3600
    return 2.0 + 38.0 * max(0.0, min(into / 1200, 1.0, (2400 - into) / 600))


def noise(days: float) -> Demand:
    """10 at once on average, by chance more or fewer every five seconds."""
    chance = random.Random(NOISE_SEED)
    levels = [max(0.0, chance.gauss(10.0, 3.0)) for _ in range(int(days * DAY_S / TICK_S) + 2)]
    return lambda t: levels[int(t / TICK_S)]


def config(season: str) -> ProvisionConfig:
    policy: dict[str, Any] = {
        "name": "p",
        "metricType": "ProvisionedConcurrencyUtilization",
        "metricTarget": 0.7,
        "minCapacity": 0,
        "maxCapacity": 100,
    }
    if season != "without":
        policy["forecast"] = {"season": season}
    return parse({"targetTrackingPolicies": [policy]})


def lived(demand: Demand, season: str, days: float) -> Figures:
    asked, memory = config(season), Memory()
    ready, starting = 0, list[float]()  # when they are ready
    short = instances = 0.0
    began_s, steps = time.process_time(), int(days * DAY_S / TICK_S)
    for number in range(steps):
        t = number * TICK_S
        ready += sum(at <= t for at in starting)
        starting = [at for at in starting if at > t]
        now = demand(t)
        seen = Seen(
            BEGAN_S + t, ready, len(starting), demand=now, demand_peak=-int(-now // 1), interval_s=TICK_S,
            provisioned_in_flight=min(now, ready), launch_s=LAUNCH_S,
        )  # fmt: skip
        memory, decision = step(asked, memory, seen)
        starting += [t + LAUNCH_S] * max(0, decision.target - ready - len(starting))
        ready = min(ready, max(0, decision.target - len(starting)))
        short += max(0.0, now - ready) * TICK_S
        instances += (ready + len(starting)) * TICK_S
    took_s = time.process_time() - began_s
    return Figures(short, instances, took_s / steps * 1e6, len(memory.to_json()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.forecast", description=__doc__)
    parser.add_argument("--days", type=float, default=3.0, help="of each demand (3)")
    options = parser.parse_args(arguments)
    if not options.days > 0.0:
        parser.error(f"--days {options.days}: above 0 is allowed")
    rows = []
    for name, demand in (("office", office), ("ramps", ramps), ("noise", noise(options.days))):
        for season in SEASONS:
            found = lived(demand, season, options.days)
            figures = (found.short_request_s, found.instance_s, found.step_us, found.memory_bytes)
            rows.append((name, season, *(f"{value:,.0f}" for value in figures)))
    print(plain(("demand", "forecast", "short request-s", "instance-s", "step µs", "memory bytes"), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
