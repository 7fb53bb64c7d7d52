"""Several gateways against one: the same function and the same clients, in rounds one after the other.

Requests per second say something only on a quiet machine that has a core for each gateway, and more for the load and
the instances; the processor time of all gateways per request says what sharing costs on any.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from loadtests.bench.asynchronous import process_cpu_s
from loadtests.bench.footprint import parts
from loadtests.bench.registry_client import API, WARM, WARM_SERVICE, Caller
from loadtests.bench.wire import Load, measure
from loadtests.local import LocalStoke

FUNCTION: Final = f"{API}/services/{WARM_SERVICE}/functions/{WARM}"
PATH: Final = f"/2016-08-15/proxy/{WARM_SERVICE}/{WARM}/"
TRIGGER: Final = {
    "triggerName": "http",
    "triggerType": "http",
    "triggerConfig": {"authType": "anonymous", "methods": ["POST"]},
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.gateways", description=__doc__)
    parser.add_argument("--gateways", type=int, default=2, help="against one (default: 2)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--connections", type=int, default=32, help="of each load; there is one for each gateway")
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--concurrency", type=int, default=8, help="slots of each instance")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    counts = (options.gateways, options.rounds, options.connections, options.instances, options.concurrency)
    if min(counts) < 1 or options.gateways > 64 or options.seconds <= 0.0:
        parser.error("1 or more are allowed of each, 64 gateways at most, and more than 0 seconds")
    rounds: dict[int, list[dict[str, float]]] = {1: [], options.gateways: []}
    with contextlib.ExitStack() as stack:
        stokes = {count: stack.enter_context(_stoke(stack, count, options)) for count in rounds}
        for _ in range(options.rounds):
            for count, stoke in stokes.items():
                rounds[count].append(one_round(stoke, options))
    found = {
        "cores": os.cpu_count(),
        "load": Load.found().name,
        "rounds": {str(count): told for count, told in rounds.items()},
        "median": {str(count): _median(told) for count, told in rounds.items()},
    }
    print(json.dumps(found["median"], indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _stoke(stack: contextlib.ExitStack, count: int, options: argparse.Namespace) -> LocalStoke:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stoke-gateways-"))
    return _Deployed(Path(folder), count, options)


class _Deployed(LocalStoke):
    """A Stoke with so many gateways, and the function in as many instances as were asked for."""

    def __init__(self, data: Path, count: int, options: argparse.Namespace) -> None:
        super().__init__(data, "127.0.0.1:0", "--gateways", str(count))
        self._asked = options

    def __enter__(self) -> _Deployed:
        super().__enter__()
        caller = Caller(self, 0)
        caller.deploy_warm()
        caller.call("PUT", FUNCTION, json.dumps({"instanceConcurrency": self._asked.concurrency}).encode())
        caller.call("POST", f"{FUNCTION}/triggers", json.dumps(TRIGGER).encode())
        path = f"{FUNCTION}/provision-config"
        caller.call("PUT", path, json.dumps({"target": self._asked.instances}).encode())
        until_current(caller, path, self._asked.instances)
        caller.close()
        return self


def until_current(caller: Caller, path: str, instances: int) -> None:
    """Wait until there are so many."""
    deadline_s = time.monotonic() + 60.0
    while json.loads(caller.call("GET", path))["current"] != instances:
        assert time.monotonic() < deadline_s, f"there are not {instances} instances"
        time.sleep(0.05)


def one_round(stoke: LocalStoke, options: argparse.Namespace) -> dict[str, float]:
    """Requests per second of all loads together, and what the gateways and the control plane used for each."""
    port = urlsplit(stoke.endpoint).port
    assert port is not None, "an endpoint has a port"
    pids = {name: pid for name, pid in parts(stoke).items() if name.startswith(("gateway", "control-plane"))}
    before = {name: process_cpu_s(pid) for name, pid in pids.items()}
    cores = sorted(os.sched_getaffinity(0), reverse=True)
    with ThreadPoolExecutor(options.gateways) as pool:
        seen = list(
            pool.map(
                lambda at: measure(
                    Load.found(), port, PATH, options.connections, options.seconds, cores[at % len(cores)]
                ),
                range(options.gateways),
            )
        )
    used = {name: process_cpu_s(pid) - before[name] for name, pid in pids.items()}
    requests = sum(each.requests for each in seen)
    assert not any(each.failed for each in seen), f"requests failed: {seen}"
    return {
        "requests_per_s": sum(each.requests_per_s for each in seen),
        "p50_ms": max(each.p50_ms for each in seen),
        "p99_ms": max(each.p99_ms for each in seen),
        "gateway_cpu_us_each": 1e6 * sum(s for name, s in used.items() if name != "control-plane") / requests,
        "control_plane_cpu_us_each": 1e6 * used["control-plane"] / requests,
    }


def _median(rounds: list[dict[str, float]]) -> dict[str, Any]:
    return {name: round(statistics.median(each[name] for each in rounds), 3) for name in rounds[0]}


if __name__ == "__main__":
    sys.exit(main())
