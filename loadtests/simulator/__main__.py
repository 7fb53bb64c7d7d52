"""`python -m loadtests.simulator`, which `stoke simulate` becomes: replay a trace under one or more provision configs.

Exit codes: 0 done · 1 a simulated request was lost, which must not be · 2 an option or a file is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

from control_plane.cli.failures import CliError
from control_plane.cli.usage import moment
from loadtests.simulator.formats import READERS, read_trace
from loadtests.simulator.generated import PREFIX, generate, parse
from loadtests.simulator.optimum import with_optimum
from loadtests.simulator.outcome import Outcome, outcome
from loadtests.simulator.recorded import Asked, Recording, ask
from loadtests.simulator.run import Record, simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.table import HEADS, plain, rows
from loadtests.simulator.trace import Trace
from provision.config import ConfigError, ProvisionConfig, unknown_fields
from provision.config import parse as parse_config

PROGRAM: Final = "stoke simulate"
T = TypeVar("T")


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.report is not None and find_spec("plotly") is None:
        parser.error("--report: plotly draws the chart and is not installed; the extra 'loadtests' brings it")
    if options.optimum and find_spec("highspy") is None:
        parser.error("--optimum: highspy computes it and is not installed; the extra 'loadtests' brings it")
    try:
        recording = recorded_from(options)
        scenario, trace = what_to_replay(options, recording)
        configs = configs_of(options, recording)
        records = {name: simulate_config(trace, scenario, config) for name, config in configs.items()}
    except (ValueError, OSError, CliError) as error:
        parser.error(str(error))
    outcomes = {name: outcome(record) for name, record in records.items()}
    if options.optimum:
        outcomes = {name: with_optimum(found, trace, scenario) for name, found in outcomes.items()}
    if options.output == "json":
        print(json.dumps(as_json(trace, scenario, outcomes), indent=1))
    else:
        print(about(trace, scenario))
        print(plain(HEADS, rows(outcomes)))
    if options.report is not None:
        write_report(options.report, trace, scenario, records, outcomes)
        print(f"report: {options.report / 'report.html'}", file=sys.stderr)
    return 1 if any(found.lost for found in outcomes.values()) else 0


def make_parser() -> argparse.ArgumentParser:
    """Option names are those of `stoke simulate`."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="What would this provision.json have done? Replays traffic in virtual time."
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--trace", metavar="FILE", help="arrivals to replay, or shape:NAME,KEY=NUMBER,…")
    what.add_argument("--recorded", metavar="SERVICE/FUNCTION", help="what a running Stoke has recorded of it")
    add("--since", default="1h", metavar="TIME", help="of --recorded: 30m, 6h, or an ISO 8601 time (1h)")
    add("--qualifier", default="LATEST", metavar="Q", help="of --recorded: LATEST or an alias (LATEST)")
    add("--endpoint", metavar="URL", help="of --recorded: where Stoke is, as for every other command")
    add("--data", type=Path, metavar="DIR", help="of --recorded: the data folder, as for every other command")
    add("--format", choices=sorted(READERS), help="of the trace (default: by its first line)")
    add("--config", type=Path, metavar="FILE", help="a provision config (of --recorded: the one in force)")
    add("--compare", nargs="+", action="extend", default=[], type=Path, metavar="FILE", help="more of them")
    add("--launch-seconds", type=float, metavar="N", help="from a launch until ready (as recorded, else 8)")
    add("--service-seconds", type=float, default=1.0, metavar="N", help="of requests whose time is unknown (1)")
    add("--instance-concurrency", type=int, metavar="N", help="requests an instance takes (as recorded, else 1)")
    add("--wait-limit-seconds", type=float, default=4.0, metavar="N", help="what a request may wait (4)")
    add("--history-seconds", type=float, metavar="N", help="lived through, not judged (1200; recorded: 0)")
    add("--on-demand-max", type=int, metavar="N", help="on-demand instances; 0 = none (as recorded, else 100)")
    add("--device-share", type=float, default=0.0, metavar="SHARE", help="of a GPU that an instance holds (0)")
    add("--capacity", type=int, metavar="N", help="instances that the devices hold (no limit)")
    add("--launch-failure-share", type=float, default=0.0, metavar="SHARE", help="of launches that fail (0)")
    add("--crashes-per-instance-hour", type=float, default=0.0, metavar="N", help="of ready instances (0)")
    add("--optimum", action="store_true", help="compute the least instance-seconds that anybody could need")
    add("--seed", type=int, default=1, metavar="N", help="of all that is left to chance (1)")
    add("--report", type=Path, metavar="DIR", help="write report.html and report.json there")
    add("-o", "--output", choices=("table", "json"), default="table", help="what to print (table)")
    return parser


def recorded_from(options: argparse.Namespace) -> Recording | None:
    """Raises ValueError: Stoke cannot be reached, or says no."""
    if options.recorded is None:
        return None
    since_s = moment("since", options.since, time.time())
    return ask(Asked(options.recorded, options.qualifier, since_s, options.endpoint, options.data), os.environ)


def what_to_replay(options: argparse.Namespace, recording: Recording | None) -> tuple[Scenario, Trace]:
    """What was recorded counts where no option says otherwise."""
    scenario = scenario_of(options, recording)
    trace = recording.trace if recording is not None else trace_from(options, scenario)
    if options.launch_seconds is None and trace.launch_s is not None:
        scenario = replace(scenario, launch_s=trace.launch_s)
    return scenario, trace


def scenario_of(options: argparse.Namespace, recording: Recording | None) -> Scenario:
    slots, on_demand_max, history_s = (1, 100, 1200.0) if recording is None else (*recording.limits, 0.0)
    return Scenario(
        service_s=options.service_seconds,
        launch_s=_said(options.launch_seconds, 8.0),
        slots=_said(options.instance_concurrency, slots),
        wait_limit_s=options.wait_limit_seconds,
        history_s=_said(options.history_seconds, history_s),
        seed=options.seed,
        launch_failure_share=options.launch_failure_share,
        crashes_per_instance_hour=options.crashes_per_instance_hour,
        device_share=options.device_share,
        capacity=options.capacity,
        on_demand_max=_said(options.on_demand_max, on_demand_max),
    )


def _said(option: T | None, otherwise: T) -> T:
    return otherwise if option is None else option


def trace_from(options: argparse.Namespace, scenario: Scenario) -> Trace:
    if options.trace.startswith(PREFIX):
        return generate(parse(options.trace), scenario.service_s, scenario.seed)
    return read_trace(Path(options.trace), options.format, scenario.seed)


def configs_of(options: argparse.Namespace, recording: Recording | None) -> dict[str, ProvisionConfig]:
    """By the name that they have in the table. Raises ValueError, also when there is none."""
    files = {str(path): read_config(path) for path in (options.config, *options.compare) if path is not None}
    if options.config is not None:
        return files
    if recording is None or recording.config is None:
        raise ValueError("--config FILE is needed: no provision config is in force")
    return {"in force": recording.config} | files


def read_config(path: Path) -> ProvisionConfig:
    """Raises ValueError, also for a key that no field has: a person wrote the file."""
    text = path.read_text(encoding="utf-8")
    try:
        config = parse_config(text)
    except ConfigError as error:
        raise ValueError(f"{path}: {error}") from error
    if unknown := unknown_fields(json.loads(text)):
        raise ValueError(f"{path}: {'; '.join(unknown)}")
    return config


def about(trace: Trace, scenario: Scenario) -> str:
    """In one line, what was simulated."""
    return (
        f"Simulated: {trace.name}, {len(trace.arrivals_s):,} requests in {trace.duration_s:.0f} s, the first "
        f"{scenario.history_s:g} s not judged; service {scenario.service_s:g} s, launch {scenario.launch_s:g} s, "
        f"{scenario.slots} at once, wait limit {scenario.wait_limit_s:g} s"
    )


def as_json(trace: Trace, scenario: Scenario, outcomes: dict[str, Outcome]) -> dict[str, Any]:
    return {
        "simulated": True,
        "trace": {"name": trace.name, "requests": len(trace.arrivals_s), "duration_s": trace.duration_s},
        "scenario": {name: getattr(scenario, name) for name in Scenario.__slots__},
        "outcomes": [{"config": name, **found.as_json()} for name, found in outcomes.items()],
    }


def write_report(
    folder: Path, trace: Trace, scenario: Scenario, records: dict[str, Record], outcomes: dict[str, Outcome]
) -> None:
    """`report.html`, one page with the chart inside, and `report.json`: its numbers, and every change of a target."""
    from loadtests.simulator.page import page  # plotly takes a third of a second to import

    folder.mkdir(parents=True, exist_ok=True)
    values = as_json(trace, scenario, outcomes)
    values["changes"] = {
        name: [
            {"at_s": round(c.at_s, 3), "before": c.before, "after": c.after, "reasons": c.reasons}
            for c in record.changes
        ]
        for name, record in records.items()
    }
    (folder / "report.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page(about(trace, scenario), records, outcomes), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
