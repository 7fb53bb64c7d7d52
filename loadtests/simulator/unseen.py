"""The SLO policy on traffic beside the traces that its promise is about: `python -m loadtests.simulator.unseen`.

The Azure traces backwards, slower and faster; requests whose rate jumps between levels, comes in bursts of every size,
or steps up; and a day with a tide. Each under several service, launch and wait times, beside the static number of
instances that hindsight would have chosen. All simulated.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from loadtests.simulator.compare import FILES, HISTORY_S, TRACES, by_slo, static
from loadtests.simulator.formats import read_trace
from loadtests.simulator.generated import DAY_S, Wanted, generate
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.table import plain
from loadtests.simulator.trace import Trace, trace_of

HOUR_S: Final = 3600.0
# service, launch and wait limit, in seconds; a launch may be shorter than the limit, or ten times as long
SETTINGS: Final = ((1.0, 8.0, 4.0), (0.2, 20.0, 10.0), (0.5, 30.0, 3.0), (1.0, 4.0, 8.0))
ATTAINMENT: Final = 0.99
DAY_PEAKS: Final = (2.0, 10.0)  # requests a second
SEED: Final = 7
HEADS: Final = (
    "trace",
    "service",
    "launch",
    "limit",
    "within",
    "× work",
    "static",
    "× work",
    "ratio",
    "launches",
    "useful",
)


def backwards(trace: Trace) -> Trace:
    last_s = trace.arrivals_s[-1]
    return _made(f"{trace.name} backwards", [last_s - arrival_s for arrival_s in trace.arrivals_s])


def paced(trace: Trace, factor: float) -> Trace:
    """The same requests in `factor` times the time; below 1 as often as it takes to last as long."""
    times = max(1, round(1.0 / factor))
    arrivals_s = [(turn * trace.duration_s + at_s) * factor for turn in range(times) for at_s in trace.arrivals_s]
    return _made(f"{trace.name} × {factor:g}", arrivals_s)


def levels(seed: int) -> Trace:
    """A rate of 1, 5 or 12 a second, for two minutes on average."""
    chance = random.Random(seed)
    arrivals_s, begin_s = list[float](), 0.0
    while begin_s < HOUR_S:
        end_s = min(HOUR_S, begin_s + chance.expovariate(1.0 / 120.0))
        arrivals_s += _poisson(chance, chance.choice((1.0, 5.0, 12.0)), begin_s, end_s)
        begin_s = end_s
    return _made(f"levels {seed}", arrivals_s)


def bursts(seed: int) -> Trace:
    """From 12 to 400 requests (Pareto, 1.3) at 4 to 25 a second, 40 s apart on average."""
    chance = random.Random(seed)
    arrivals_s, now_s = list[float](), 0.0
    while now_s < HOUR_S:
        now_s += chance.expovariate(1.0 / 40.0)
        rate = chance.uniform(4.0, 25.0)
        for _ in range(min(400, int(12 * chance.paretovariate(1.3)))):
            now_s += chance.expovariate(rate)
            arrivals_s.append(now_s)
    return _made(f"bursts {seed}", [at_s for at_s in arrivals_s if at_s < HOUR_S])


def step_up(seed: int) -> Trace:
    """3 a second, and 14 after a while."""
    chance = random.Random(seed)
    return _made("step", [*_poisson(chance, 3.0, 0.0, 2200.0), *_poisson(chance, 14.0, 2200.0, HOUR_S)])


def tidal(peak_rps: float, seed: int) -> Trace:
    """A day of 10:1 with noise and two crowds."""
    return generate(Wanted("day", duration_s=DAY_S, peak_rps=peak_rps), 1.0, seed)


def hours() -> Iterator[Callable[[], Trace]]:
    """What lasts an hour, made when it is asked for."""
    for file in FILES.values():
        yield lambda file=file: backwards(read_trace(TRACES / file))  # type: ignore[misc]
        yield lambda file=file: paced(read_trace(TRACES / file), 2.0)  # type: ignore[misc]
        yield lambda file=file: paced(read_trace(TRACES / file), 0.5)  # type: ignore[misc]
    for seed in (1, 2):
        yield lambda seed=seed: levels(seed)  # type: ignore[misc]
        yield lambda seed=seed: bursts(seed)  # type: ignore[misc]
    yield lambda: step_up(1)


def line(trace: Trace, service_s: float, launch_s: float, limit_s: float) -> tuple[str, ...]:
    scenario = Scenario(service_s=service_s, launch_s=launch_s, wait_limit_s=limit_s, history_s=HISTORY_S)
    ours, theirs = by_slo(trace, scenario).outcome, static(trace, scenario, ATTAINMENT)
    return (
        trace.name,
        f"{service_s:g} s",
        f"{launch_s:g} s",
        f"{limit_s:g} s",
        f"{ours.attainment:.2%}",
        f"{ours.cost:.2f}",
        theirs.setting,
        f"{theirs.outcome.cost:.2f}",
        f"{ours.instance_seconds / theirs.outcome.instance_seconds:.2f}",
        str(ours.launches),
        str(ours.useful_launches),
    )


def _made(name: str, arrivals_s: Sequence[float]) -> Trace:
    return trace_of(name, [(arrival_s, None) for arrival_s in arrivals_s])


def _poisson(chance: random.Random, rate: float, begin_s: float, end_s: float) -> list[float]:
    found, at_s = list[float](), begin_s
    while (at_s := at_s + chance.expovariate(rate)) < end_s:
        found.append(at_s)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.simulator.unseen", description=__doc__)
    parser.add_argument("--days", action="store_true", help="the tidal days, which take minutes, instead of the hours")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="a trace of your own instead")
    options = parser.parse_args(arguments)
    wanted: list[tuple[Callable[[], Trace], Sequence[tuple[float, float, float]]]]
    if options.trace:
        try:
            trace = read_trace(options.trace)
        except ValueError as error:
            parser.error(str(error))
        wanted = [(lambda: trace, SETTINGS)]
    elif options.days:
        wanted = [
            (lambda peak_rps=peak_rps: tidal(peak_rps, SEED), SETTINGS[:1])  # type: ignore[misc]
            for peak_rps in DAY_PEAKS
        ]
    else:
        wanted = [(make, SETTINGS) for make in hours()]
    for make, settings in wanted:
        made = make()
        print(plain(HEADS, [line(made, *setting) for setting in settings]) + "\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
