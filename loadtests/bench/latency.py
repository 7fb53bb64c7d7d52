"""What a proxy adds to a request's latency at a steady rate that is far below what it could serve.

Requests come by the clock (a Poisson process, the same moments for all), straight to the backend, through the gateway,
through a gateway that knows 200 functions, and through nginx, in turn. Added is what a round through a proxy shows
more than the round straight to the backend beside it; the medians of all rounds are given.

    python -m loadtests.bench.latency --json FILE [--per-s 1000] [--rounds 5] [--seconds 5]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

from loadtests.bench.open_loop import Latency, measure
from loadtests.bench.rivals import (
    LOAD_CORE,
    PATH,
    Proxy,
    find_program,
    free_port,
    running,
    start_gateway,
    start_nginx,
    wait_for,
)
from loadtests.bench.rounds import write
from loadtests.bench.wire import SENT

PER_S: Final = 1000.0
FUNCTIONS: Final = 200
STRAIGHT: Final = "straight"
GOAL_MS: Final = {"p50": 0.2, "p99": 2.0}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.latency", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--per-s", type=float, default=PER_S, help="requests a second")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0 or options.per_s <= 0:
        given = f"--rounds {options.rounds} --seconds {options.seconds:g} --per-s {options.per_s:g}"
        parser.error(f"{given}: at least 1 round, above 0 s, above 0 a second")
    result = run(options.rounds, options.seconds, options.per_s)
    write(result, options.json)
    return 0


def run(rounds: int, seconds: float, per_s: float = PER_S) -> dict[str, object]:
    """Measure. Of nginx there are no figures where it is not installed."""
    with contextlib.ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="stoke-b-", ignore_cleanup_errors=True)
        directory = Path(stack.enter_context(made))
        backend, port = directory / "backend.sock", free_port()
        command = [sys.executable, "-m", "loadtests.bench.wire", "backend", str(backend), str(port)]
        stack.enter_context(running(command, LOAD_CORE))
        wait_for(backend.exists, "the backend")
        ways = [Proxy(STRAIGHT, port, 0), *_gateways(stack, directory, backend)]
        nginx = find_program("nginx")
        if nginx is not None:
            ways.append(stack.enter_context(start_nginx(nginx, directory, backend)))
        measured: dict[str, list[Latency]] = {way.name: [] for way in ways}
        for number in range(-1, rounds):  # the first one warms: connections made, caches filled
            for way in ways:
                seen = measure(way.port, PATH, per_s, seconds, LOAD_CORE, number, SENT)
                if seen.failed:
                    raise SystemExit(f"{seen.failed} of {seen.requests} requests by {way.name} failed")
                if number >= 0:
                    measured[way.name].append(seen)
    return summary(measured, per_s)


def _gateways(stack: contextlib.ExitStack, directory: Path, backend: Path) -> list[Proxy]:
    started = []
    for name, functions in (("gateway", 1), (f"gateway, {FUNCTIONS} functions", FUNCTIONS)):
        own = directory / str(functions)
        own.mkdir()
        proxy = stack.enter_context(start_gateway(own, backend, functions))
        started.append(dataclasses.replace(proxy, name=name))
    return started


def summary(measured: dict[str, list[Latency]], per_s: float) -> dict[str, object]:
    """What each way took, and what each proxy added, of rounds that were taken together. Pure."""
    straight = measured[STRAIGHT]
    added = {
        name: {
            percentile: round(statistics.median(_added(rounds, straight, f"{percentile}_ms")), 3)
            for percentile in ("p50", "p99")
        }
        for name, rounds in measured.items()
        if name != STRAIGHT
    }
    return {
        "requests_per_s": per_s,
        "added_ms": added,
        "goal_ms": GOAL_MS,
        "median": {
            name: {
                field: round(statistics.median(getattr(each, field) for each in rounds), 3)
                for field in ("p50_ms", "p99_ms", "late_p50_ms", "late_p99_ms")
            }
            for name, rounds in measured.items()
        },
        "rounds": {name: [dataclasses.asdict(each) for each in rounds] for name, rounds in measured.items()},
    }


def _added(rounds: list[Latency], straight: list[Latency], field: str) -> list[float]:
    return [getattr(one, field) - getattr(other, field) for one, other in zip(rounds, straight, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
