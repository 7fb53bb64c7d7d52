"""`python -m loadtests.simulator`, which `stoke simulate` becomes: replay a trace under one or more provision configs.

Exit codes: 0 done · 1 a simulated request was lost, which must not be · 2 an option or a file is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from control_plane.cli.failures import CliError
from control_plane.cli.provision import provision_body
from loadtests.simulator.optimum import with_optimum
from loadtests.simulator.outcome import Outcome, outcome
from loadtests.simulator.recorded import Recording
from loadtests.simulator.run import Record, simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.table import HEADS, plain, rows
from loadtests.simulator.trace import Trace
from loadtests.simulator.traffic import add_traffic, recorded_from, scenario_from, what_to_replay
from provision.config import ProvisionConfig
from provision.config import parse as parse_config
from provision.words import counted

PROGRAM: Final = "stoke simulate"
DEVICES_MAX: Final = 1024  # of one size


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.report is not None and find_spec("plotly") is None:
        parser.error("--report: plotly draws the chart and is not installed; the extra 'loadtests' brings it")
    if options.optimum and find_spec("highspy") is None:
        parser.error("--optimum: highspy computes it and is not installed; the extra 'loadtests' brings it")
    try:
        recording = recorded_from(options)
        scenario, trace = what_to_replay(options, scenario_of(options, recording), recording)
        configs = configs_of(options, recording)
        if options.report is not None:
            options.report.mkdir(parents=True, exist_ok=True)  # before the work that would be lost without it
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
    add_traffic(parser, since="1h; a trace: all of it", history="1200; recorded: 0")
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="a provision config (of --recorded: the one in force)")
    add("--compare", nargs="+", action="extend", default=[], type=Path, metavar="FILE", help="more of them")
    add("--wait-limit-seconds", type=float, default=4.0, metavar="N", help="what a request may wait (4)")
    add("--device-share", type=float, default=0.0, metavar="SHARE", help="of a GPU that an instance holds (0)")
    add("--capacity", type=int, metavar="N", help="instances that the devices hold (no limit)")
    add("--devices", default="", metavar="N:MEMORY_MIB,…", help="devices that instances are placed on (no limit)")
    add("--gpu-memory-mib", type=int, default=0, metavar="N", help="what an instance takes of one of them")
    add("--launch-failure-share", type=float, default=0.0, metavar="SHARE", help="of launches that fail (0)")
    add("--crashes-per-instance-hour", type=float, default=0.0, metavar="N", help="of ready instances (0)")
    add("--optimum", action="store_true", help="compute the least instance-seconds that anybody could need")
    add("--report", type=Path, metavar="DIR", help="write report.html and report.json there")
    add("-o", "--output", choices=("table", "json"), default="table", help="what to print (table)")
    return parser


def scenario_of(options: argparse.Namespace, recording: Recording | None) -> Scenario:
    return replace(
        scenario_from(options, recording),
        wait_limit_s=options.wait_limit_seconds,
        launch_failure_share=options.launch_failure_share,
        crashes_per_instance_hour=options.crashes_per_instance_hour,
        device_share=options.device_share,
        capacity=options.capacity,
        devices_mib=devices_of(options.devices),
        gpu_memory_mib=options.gpu_memory_mib,
    )


def devices_of(text: str) -> tuple[int, ...]:
    """The memory of each device: "2:16384,1:81920" are three. Raises ValueError."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        count, colon, memory_mib = part.partition(":")
        if not (colon and count.isdecimal() and memory_mib.isdecimal() and 0 < int(count) <= DEVICES_MAX):
            raise ValueError(f"--devices: '{part}'; N:MEMORY_MIB is allowed, with N from 1 to {DEVICES_MAX}")
        found += [int(memory_mib)] * int(count)
    return tuple(found)


def configs_of(options: argparse.Namespace, recording: Recording | None) -> dict[str, ProvisionConfig]:
    """By the name that they have in the table. Raises BadInput for a file, and ValueError when there is none."""
    files = {str(path): read_config(path) for path in (options.config, *options.compare) if path is not None}
    if options.config is not None:
        return files
    if recording is None or recording.config is None:
        raise ValueError("--config FILE is needed: no provision config is in force")
    return {"in force": recording.config} | files


def read_config(path: Path) -> ProvisionConfig:
    """As `stoke provision put` reads it: a person wrote the file. Raises BadInput, naming the file."""
    return parse_config(provision_body(path, None, None, None))


def about(trace: Trace, scenario: Scenario) -> str:
    """In one line, what was simulated."""
    requests = counted(f"{len(trace.arrivals_s):,}", "request")
    return (
        f"Simulated: {trace.name}, {requests} in {trace.duration_s:.0f} s, the first "
        f"{scenario.history_s:g} s not judged; {trace.told_service(scenario.service_s)}, "
        f"launch {scenario.launch_s:g} s, {scenario.slots} at once, wait limit {scenario.wait_limit_s:g} s"
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
