"""`python -m loadtests.simulator.suggest`, which `stoke provision suggest` becomes: a provision.json for an SLO.

Exit codes: 0 done · 1 nothing meets the SLO: the nearest is said, nothing is written · 2 an option or a file is wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from control_plane.cli.failures import CliError
from control_plane.cli.output import Output
from loadtests.simulator.cut import from_first_request
from loadtests.simulator.recorded import Price
from loadtests.simulator.search import Tried, meets
from loadtests.simulator.suggestion import Asked, Suggestion, history_of, suggest
from loadtests.simulator.table import plain
from loadtests.simulator.traffic import add_traffic, price_from, recorded_from, scenario_from, what_to_replay
from loadtests.simulator.trial import JOBS_MAX
from provision.config import INSTANCES_MAX, PERCENTILE_MAX
from provision.times import parse_zone
from provision.words import counted

PROGRAM: Final = "stoke provision suggest"
SINCE: Final = "6h"  # all that is recorded
WAIT_MS_MAX: Final = 60_000.0  # then the gateway refuses who waits
PERCENTILES: Final = (50.0, PERCENTILE_MAX * 100.0)
HEADS: Final = (
    "candidate", "within limit", "held out", "wait p99", "instance-s", "× work", "× static", "launches",
    "meets it",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        check(options)
        with Output(None).live() as show:
            made, price = suggest_from(options, lambda number, name: show(f"{number}: {name}"))
        if options.out is not None and made.config is not None:
            options.out.write_text(as_text(made.config), encoding="utf-8")
    except (ValueError, OSError, CliError) as error:
        parser.error(str(error))
    if options.output == "json":
        print(json.dumps(as_json(made, price), indent=1))
    else:
        print("\n".join(as_lines(made, price)))
        if options.out is None and made.config is not None:
            print("\n" + as_text(made.config), end="")
    if made.chosen is None:
        print(f"{PROGRAM}: {unmet(made)}", file=sys.stderr)
        return 1
    if options.out is not None:
        print(f"written: {options.out}", file=sys.stderr)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Option names are those of `stoke provision suggest`."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="The cheapest provision.json that keeps a share of requests within a wait. Simulated."
    )
    add_traffic(parser, since=f"{SINCE}; a trace: all of it", history="a fifth, at most 1200")
    add = parser.add_argument
    add("--wait-ms", type=float, required=True, metavar="MS", help="what a request may wait")
    add("--percentile", type=float, default=99.0, metavar="P", help="percent of requests that wait no longer (99)")
    add("--max-capacity", type=int, metavar="N", help="instances there may be (twice what the busiest moment needed)")
    add("--time-zone", default="UTC", metavar="ZONE", help="of scheduled actions: Asia/Shanghai (UTC)")
    add("--instance-second-cost", type=float, metavar="COST", help="money (of --recorded: by Stoke's prices)")
    add("--out", type=Path, metavar="FILE", help="write the provision.json there")
    add("--jobs", type=int, metavar="N", help="processes beside each other for a long recording (the cores there are)")
    add("-o", "--output", choices=("table", "json"), default="table", help="what to print (table)")
    return parser


def check(options: argparse.Namespace) -> None:
    """Raises ValueError, naming the option, its value and what is allowed."""

    def within(name: str, value: float | None, low: float, high: float, *, open_low: bool = False) -> None:
        if value is not None and not (low <= value <= high and (value > low or not open_low)):
            raise ValueError(f"--{name}: {value:g}; {'above ' if open_low else 'from '}{low:g} to {high:g} is allowed")

    within("wait-ms", options.wait_ms, 0.0, WAIT_MS_MAX, open_low=True)
    within("percentile", options.percentile, *PERCENTILES)
    within("jobs", options.jobs, 1, JOBS_MAX)
    within("max-capacity", options.max_capacity, 1, INSTANCES_MAX)
    within("instance-second-cost", options.instance_second_cost, 0.0, math.inf)
    if options.instance_second_cost == math.inf:
        raise ValueError("--instance-second-cost: inf; a finite number 0 or more is allowed")
    if options.out is not None and (options.out.is_dir() or not options.out.parent.is_dir()):
        raise ValueError(f"--out: {options.out}; a file in a folder that exists is allowed")
    try:
        parse_zone(options.time_zone)
    except ValueError as error:
        raise ValueError(f"--time-zone: {options.time_zone}; {error}") from error


def suggest_from(options: argparse.Namespace, on_try: Callable[[int, str], None]) -> tuple[Suggestion, Price | None]:
    """Raises ValueError or CliError."""
    recording = recorded_from(options, SINCE)
    price = price_from(options, SINCE)
    scenario, trace = what_to_replay(options, scenario_from(options, recording), recording)
    if recording is not None and options.since is None:
        trace = from_first_request(trace)
    if options.history_seconds is None:
        scenario = replace(scenario, history_s=history_of(trace, scenario.launch_s))
    asked = Asked(options.wait_ms / 1000.0, options.percentile / 100.0, options.max_capacity, options.time_zone)
    return suggest(trace, scenario, asked, on_try, options.jobs or cores()), price


def cores() -> int:
    """That this process may use."""
    return min(JOBS_MAX, len(os.sched_getaffinity(0)))


def about(made: Suggestion) -> str:
    """In one line, what was simulated."""
    trace, scenario = made.trace, made.scenario
    requests = counted(f"{len(trace.arrivals_s):,}", "request")
    return (
        f"Simulated: {trace.name}, {requests} in {trace.duration_s:.0f} s, the first "
        f"{scenario.history_s:.0f} s not judged, held out from {made.split_s:.0f} s on; "
        f"{trace.told_service(scenario.service_s)}, launch {scenario.launch_s:g} s, "
        f"{scenario.slots} at once, up to {scenario.on_demand_max} on demand; "
        f"wanted: {goal(made)}"
    )


def goal(made: Suggestion) -> str:
    return f"{made.wanted.share * 100.0:g}% within {made.wanted.wait_s * 1000.0:g} ms"


def as_lines(made: Suggestion, price: Price | None) -> list[str]:
    """The evidence: those that meet the SLO first, the cheapest of them at the top."""
    ordered = sorted(made.tried, key=lambda t: (not meets(t, made.wanted), t.instance_seconds))
    heads = HEADS if price is None else (*HEADS, "cost")
    lines = [about(made), plain(heads, [row(tried, made, price) for tried in ordered])]
    if made.chosen is not None:
        lines.append(f"Suggested: {made.chosen.candidate.name}{saved(made)}")
    return lines


def row(tried: Tried, made: Suggestion, price: Price | None) -> tuple[str, ...]:
    whole = tried.whole
    cells = (
        tried.candidate.name,
        f"{tried.earlier.attainment:.2%}",
        f"{tried.later.attainment:.2%}",
        "–" if whole.wait_p99_s is None else f"{whole.wait_p99_s:.2f} s",
        f"{whole.instance_seconds:,.0f}",
        f"{whole.cost:.2f}",
        "–" if made.static is None else f"{whole.instance_seconds / made.static.instance_seconds:.2f}",
        str(whole.launches),
        "yes" if meets(tried, made.wanted) else "no",
    )
    return cells if price is None else (*cells, price.of(whole.instance_seconds))


def saved(made: Suggestion) -> str:
    """Against the cheapest static number."""
    if made.chosen is None or made.static is None or made.chosen is made.static:
        return ""
    part = 1.0 - made.chosen.instance_seconds / made.static.instance_seconds
    return f", {part:.0%} fewer instance-seconds than {made.static.candidate.name}, the cheapest static number"


def unmet(made: Suggestion) -> str:
    best, at_most = made.nearest, counted(made.wanted.max_capacity, "instance")
    return (
        f"no candidate with at most {at_most} (--max-capacity) keeps {goal(made)}; "
        f"the nearest is {best.candidate.name}: {best.earlier.attainment:.2%}, held out {best.later.attainment:.2%}"
    )


def as_text(config: dict[str, Any]) -> str:
    return json.dumps(config, indent=2) + "\n"


def as_json(made: Suggestion, price: Price | None) -> dict[str, Any]:
    trace = made.trace
    return {
        "simulated": True,
        "trace": {"name": trace.name, "requests": len(trace.arrivals_s), "duration_s": trace.duration_s},
        "scenario": {name: getattr(made.scenario, name) for name in type(made.scenario).__slots__},
        "wanted": {"wait_ms": made.wanted.wait_s * 1000.0, "percentile": made.wanted.share * 100.0},
        "max_capacity": made.wanted.max_capacity,
        "held_out_from_s": made.split_s,
        "currency": None if price is None else price.currency,
        "candidates": [_tried_as_json(tried, made, price) for tried in made.tried],
        "static": None if made.static is None else made.static.candidate.name,
        "suggested": None if made.chosen is None else made.chosen.candidate.name,
        "config": made.config,
    }


def _tried_as_json(tried: Tried, made: Suggestion, price: Price | None) -> dict[str, Any]:
    return {
        "candidate": tried.candidate.name,
        "meets": meets(tried, made.wanted),
        "attainment": tried.earlier.attainment,
        "attainment_held_out": tried.later.attainment,
        "price": None if price is None else round(price.instance_second * tried.instance_seconds, 6),
        "outcome": tried.whole.as_json(),
        "config": tried.candidate.config.model_dump(mode="json", by_alias=True),
    }
