"""`python -m loadtests.simulator`, which `stoke simulate` becomes: replay a trace under one or more provision configs.

Exit codes: 0 done · 1 a simulated request was lost, which must not be · 2 an option or a file is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from loadtests.simulator.formats import READERS, read_trace
from loadtests.simulator.generated import PREFIX, generate, parse
from loadtests.simulator.outcome import Outcome, outcome
from loadtests.simulator.run import Record, simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.table import HEADS, plain, rows
from loadtests.simulator.trace import Trace
from provision.config import ConfigError, ProvisionConfig, unknown_fields
from provision.config import parse as parse_config

PROGRAM: Final = "stoke simulate"


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.report is not None and find_spec("plotly") is None:
        parser.error("--report: plotly draws the chart and is not installed; the extra 'loadtests' brings it")
    try:
        scenario = scenario_of(options)
        trace = trace_from(options, scenario)
        configs = {str(path): read_config(path) for path in (options.config, *options.compare)}
        records = {name: simulate_config(trace, scenario, config) for name, config in configs.items()}
    except (ValueError, OSError) as error:
        parser.error(str(error))
    outcomes = {name: outcome(record) for name, record in records.items()}
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
    add("--trace", required=True, metavar="FILE", help="arrivals to replay, or shape:NAME,KEY=NUMBER,…")
    add("--format", choices=sorted(READERS), help="of the trace (default: by its first line)")
    add("--config", required=True, type=Path, metavar="FILE", help="a provision config")
    add("--compare", nargs="+", action="extend", default=[], type=Path, metavar="FILE", help="more of them")
    add("--launch-seconds", type=float, default=8.0, metavar="N", help="from a launch until ready (8)")
    add("--service-seconds", type=float, default=1.0, metavar="N", help="of requests whose time is unknown (1)")
    add("--instance-concurrency", type=int, default=1, metavar="N", help="requests an instance takes at once (1)")
    add("--wait-limit-seconds", type=float, default=4.0, metavar="N", help="what a request may wait (4)")
    add("--history-seconds", type=float, default=1200.0, metavar="N", help="lived through, not judged (1200)")
    add("--on-demand-max", type=int, default=100, metavar="N", help="on-demand instances; 0 = none (100)")
    add("--capacity", type=int, metavar="N", help="instances that the devices hold (no limit)")
    add("--launch-failure-share", type=float, default=0.0, metavar="SHARE", help="of launches that fail (0)")
    add("--crashes-per-instance-hour", type=float, default=0.0, metavar="N", help="of ready instances (0)")
    add("--seed", type=int, default=1, metavar="N", help="of all that is left to chance (1)")
    add("--report", type=Path, metavar="DIR", help="write report.html and report.json there")
    add("-o", "--output", choices=("table", "json"), default="table", help="what to print (table)")
    return parser


def scenario_of(options: argparse.Namespace) -> Scenario:
    return Scenario(
        service_s=options.service_seconds,
        launch_s=options.launch_seconds,
        slots=options.instance_concurrency,
        wait_limit_s=options.wait_limit_seconds,
        history_s=options.history_seconds,
        seed=options.seed,
        launch_failure_share=options.launch_failure_share,
        crashes_per_instance_hour=options.crashes_per_instance_hour,
        capacity=options.capacity,
        on_demand_max=options.on_demand_max,
    )


def trace_from(options: argparse.Namespace, scenario: Scenario) -> Trace:
    if options.trace.startswith(PREFIX):
        return generate(parse(options.trace), scenario.service_s, scenario.seed)
    return read_trace(Path(options.trace), options.format, scenario.seed)


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
