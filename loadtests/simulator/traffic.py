"""The options that name traffic and what the function is like, which the simulator's commands share."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from control_plane.cli.usage import moment
from loadtests.simulator.cut import cut
from loadtests.simulator.formats import READERS, read_trace
from loadtests.simulator.generated import PREFIX, generate, parse
from loadtests.simulator.recorded import Asked, Price, Recording, ask, ask_price
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import Trace

T = TypeVar("T")


def add_traffic(parser: argparse.ArgumentParser, *, since: str, history: str) -> None:
    """`since` and `history` say what holds where nobody says."""
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--trace", metavar="FILE", help="arrivals to replay, or shape:NAME,KEY=NUMBER,…")
    what.add_argument("--recorded", metavar="SERVICE/FUNCTION", help="what a running Stoke has recorded of it")
    add("--since", metavar="TIME", help=f"30m, 6h before now (of a trace: its end), or an ISO 8601 time ({since})")
    add("--until", metavar="TIME", help="as --since (now; of a trace: its end)")
    add("--qualifier", default="LATEST", metavar="Q", help="of --recorded: LATEST or an alias (LATEST)")
    add("--endpoint", metavar="URL", help="of --recorded: where Stoke is, as for every other command")
    add("--data", type=Path, metavar="DIR", help="of --recorded: the data folder, as for every other command")
    add("--format", choices=sorted(READERS), help="of the trace (default: by its first line)")
    add("--launch-seconds", type=float, metavar="N", help="from a launch until ready (as recorded, else 8)")
    add("--service-seconds", type=float, default=1.0, metavar="N", help="of requests whose time is unknown (1)")
    add("--instance-concurrency", type=int, metavar="N", help="requests an instance takes (as recorded, else 1)")
    add("--history-seconds", type=float, metavar="N", help=f"lived through, not judged ({history})")
    add("--on-demand-max", type=int, metavar="N", help="on-demand instances; 0 = none (as recorded, else 100)")
    add("--seed", type=int, default=1, metavar="N", help="of all that is left to chance (1)")


def recorded_from(options: argparse.Namespace, since: str | None = None) -> Recording | None:
    """`since` holds where nobody says. Raises ValueError: Stoke says no, or nothing; BadInput: no such time."""
    return None if options.recorded is None else ask(_asked(options, since), os.environ)


def price_from(options: argparse.Namespace, since: str | None = None) -> Price | None:
    """As `--instance-second-cost` says, or the running Stoke's prices. Raises as `recorded_from`."""
    if options.instance_second_cost is not None:
        return Price(options.instance_second_cost)
    return None if options.recorded is None else ask_price(_asked(options, since), os.environ)


def _asked(options: argparse.Namespace, since: str | None) -> Asked:
    now_s = time.time()
    texts = {"since": since if options.since is None else options.since, "until": options.until}
    span = {name: None if text is None else moment(name, text, now_s) for name, text in texts.items()}
    return Asked(options.recorded, options.qualifier, span["since"], span["until"], options.endpoint, options.data)


def what_to_replay(
    options: argparse.Namespace, scenario: Scenario, recording: Recording | None
) -> tuple[Scenario, Trace]:
    """What was recorded counts where no option says otherwise. Raises ValueError or BadInput."""
    trace = recording.trace if recording is not None else _trace_from(options, scenario)
    if options.launch_seconds is None and trace.launch_s is not None:
        scenario = replace(scenario, launch_s=trace.launch_s)
    return scenario, trace


def scenario_from(options: argparse.Namespace, recording: Recording | None) -> Scenario:
    slots, on_demand_max, history_s = (1, 100, 1200.0) if recording is None else (*recording.limits, 0.0)
    return Scenario(
        service_s=options.service_seconds,
        launch_s=said(options.launch_seconds, 8.0),
        slots=said(options.instance_concurrency, slots),
        history_s=said(options.history_seconds, history_s),
        seed=options.seed,
        on_demand_max=said(options.on_demand_max, on_demand_max),
    )


def said(option: T | None, otherwise: T) -> T:
    return otherwise if option is None else option


def _trace_from(options: argparse.Namespace, scenario: Scenario) -> Trace:
    if options.trace.startswith(PREFIX):
        trace = generate(parse(options.trace), scenario.service_s, scenario.seed)
    else:
        trace = read_trace(Path(options.trace), options.format, scenario.seed)
    ended_s = trace.began_utc_s + trace.duration_s
    since_s, until_s = (
        None if text is None else moment(name, text, ended_s)
        for name, text in (("since", options.since), ("until", options.until))
    )
    return cut(trace, since_s, until_s)
