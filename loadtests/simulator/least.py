"""`python -m loadtests.simulator.least`: the least instance-seconds that anybody could need, on the Azure traces."""

from __future__ import annotations

import argparse
import sys

from loadtests.simulator.compare import FILES, SCENARIOS, TRACES
from loadtests.simulator.formats import read_trace
from loadtests.simulator.optimum import NoSolver, least_instance_seconds
from loadtests.simulator.table import plain

HEADS = ("trace", "service", "launch", "wait limit", "least instance-s", "× work")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.simulator.least", description=__doc__)
    parser.add_argument("--attainment", type=float, default=0.99, help="share within the wait limit (0.99)")
    options = parser.parse_args(arguments)
    if not 0.0 < options.attainment <= 1.0:
        parser.error(f"--attainment {options.attainment}: above 0 and at most 1 is allowed")
    try:
        print(plain(HEADS, rows(options.attainment)))
    except NoSolver as error:
        parser.error(str(error))
    return 0


def rows(attainment: float) -> list[tuple[str, ...]]:
    """A line for each trace and scenario of `compare`, which all are judged after its history."""
    found = []
    for name, file in FILES.items():
        trace = read_trace(TRACES / file)
        for scenario in SCENARIOS:
            judged = sum(at_s >= scenario.history_s for at_s in trace.arrivals_s)
            least = least_instance_seconds(trace, scenario, attainment)
            times = (scenario.service_s, scenario.launch_s, scenario.wait_limit_s)
            work_s = judged * scenario.service_s / scenario.slots
            found.append((name, *(f"{time_s:g} s" for time_s in times), f"{least:,.0f}", f"{least / work_s:.2f}"))
    return found


if __name__ == "__main__":
    sys.exit(main())
