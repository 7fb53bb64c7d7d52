"""Does the simulator tell the truth? A live run, replayed from what was recorded of it, must have the same targets.

Starts a Stoke of its own, puts load on a function in steps, asks what was decided and what was recorded, and simulates
that. Exit codes: 0 the targets agree · 1 they do not · 2 an option is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx

from control_plane.cli.endpoint import find_credentials
from control_plane.cli.signed import FcAuth
from loadtests.local import LocalStoke
from loadtests.simulator.recorded import Recording, recording
from loadtests.simulator.run import Record, simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.truth import TOLERANCE, Agreement, compare, course_of

SERVICE: Final = "truth"
FUNCTION: Final = "sleeper"
SERVICE_S: Final = 0.2
USERS: Final = (1, 6, 3, 8, 1, 4)  # at once, one step after the other
SECONDS: Final = 180.0
CLIENT_TIMEOUT_S: Final = 30.0

# Holds its slot without using the processor, so that a small machine carries many instances.
CODE: Final = f"""
import time

def handler(environ, start_response):
    time.sleep({SERVICE_S})
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"done"]
"""
POLICY: Final[dict[str, Any]] = {
    "name": "follow-demand",
    "metricType": "ProvisionedConcurrencyUtilization",
    "metricTarget": 0.7,
    "minCapacity": 1,
    "maxCapacity": 16,
    "stableWindowSeconds": 15,
}
S_YAML: Final = f"""
edition: 1.0.0
name: truth
services:
  {FUNCTION}:
    component: fc
    props:
      region: cn-local
      service: {{name: {SERVICE}}}
      function:
        {{name: {FUNCTION}, runtime: python3.11, handler: app.handler, codeUri: ./code, memorySize: 256, timeout: 30}}
      triggers:
        - {{name: http, type: http, config: {{authType: anonymous, methods: [GET, POST]}}}}
"""


@dataclass(frozen=True, slots=True)
class Lived:
    """One live run: when, what was decided, what was recorded, and how many requests failed."""

    began_s: float
    ended_s: float
    decisions: list[dict[str, Any]]
    recorded: dict[str, Any]
    requests: int
    failures: int


class Users:
    """So many clients, each asking again as soon as it is answered."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stops: list[threading.Event] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.requests = self.failures = 0

    def be(self, count: int) -> None:
        """From now on so many."""
        while len(self._stops) > count:
            self._stops.pop().set()
        while len(self._stops) < count:
            stop = threading.Event()
            thread = threading.Thread(target=self._user, args=(stop,), daemon=True)
            self._stops.append(stop)
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        self.be(0)
        for thread in self._threads:
            thread.join(CLIENT_TIMEOUT_S)

    def _user(self, stop: threading.Event) -> None:
        with httpx.Client(timeout=CLIENT_TIMEOUT_S, trust_env=False) as client:
            while not stop.is_set():
                try:
                    failed = client.get(self._url).status_code != 200
                except httpx.HTTPError:
                    failed = True
                with self._lock:
                    self.requests += 1
                    self.failures += failed


def live(
    api: httpx.Client, url: str, service: str, function: str, users: Sequence[int], step_s: float, rest_s: float = 0.0
) -> Lived:
    """Put steps of load on a function that is deployed and provisioned, and ask what became of it."""
    began_s = time.time()
    with _loading(url) as clients:
        for count in users:
            clients.be(count)
            time.sleep(step_s)
    time.sleep(rest_s)
    ended_s = time.time()
    names = {"service": service, "function": function}
    decisions = _get(api, "/stoke/v1/provision/explain", names)["decisions"]
    # What was decided before the load began must be lived through too: where it stood then.
    recorded = _get(api, "/stoke/v1/usage/recorded", names | {"since": f"{began_s:.3f}", "until": f"{ended_s:.3f}"})
    return Lived(began_s, ended_s, decisions, recorded, clients.requests, clients.failures)


@contextlib.contextmanager
def _loading(url: str) -> Iterator[Users]:
    clients = Users(url)
    try:
        yield clients
    finally:
        clients.end()


def _get(api: httpx.Client, path: str, query: Mapping[str, str]) -> Any:
    return api.get(path, params=query).raise_for_status().json()


def replay(recorded: Mapping[str, Any]) -> tuple[Recording, Record]:
    """Simulate what was recorded, under the config that is in force."""
    heard = recording(f"{recorded['service']}/{recorded['function']}", recorded)
    if heard.config is None:
        raise ValueError("no provision config is in force")
    scenario = Scenario(slots=heard.slots, on_demand_max=heard.on_demand_max)
    if heard.trace.launch_s is not None:
        scenario = replace(scenario, launch_s=heard.trace.launch_s)
    return heard, simulate_config(heard.trace, scenario, heard.config)


def agreement(lived: Lived) -> tuple[Agreement, Record]:
    heard, record = replay(lived.recorded)
    began_s = heard.trace.began_utc_s
    simulated = [(began_s + change.at_s, change.after) for change in record.changes]
    until_s = min(lived.ended_s, began_s + heard.trace.duration_s)
    return compare(course_of(lived.decisions), simulated, began_s, until_s), record


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.truth", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of load (default: {SECONDS:g})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there too")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write a chart there, as one HTML page")
    options = parser.parse_args(arguments)
    if not 10.0 <= options.seconds <= 3600.0:
        parser.error(f"--seconds {options.seconds:g}: from 10 to 3600 are allowed")
    with tempfile.TemporaryDirectory(prefix="stoke-truth-") as folder, LocalStoke(Path(folder) / "data") as stoke:
        lived = run(stoke, Path(folder), options.seconds)
    found, record = agreement(lived)
    show(lived, found, record)
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(lived, found), indent=1) + "\n", encoding="utf-8")
    if options.report is not None:
        from loadtests.bench.truth_chart import write  # plotly takes a third of a second to import

        write(options.report, found, lived.began_s)
    return 0 if found.holds and not lived.failures else 1


def run(stoke: LocalStoke, folder: Path, seconds: float) -> Lived:
    """Deploy, provision, put load on it."""
    (folder / "code").mkdir()
    (folder / "code" / "app.py").write_text(CODE, encoding="utf-8")
    (folder / "s.yaml").write_text(S_YAML, encoding="utf-8")
    (folder / "provision.json").write_text(
        json.dumps({"target": 1, "targetTrackingPolicies": [POLICY]}), encoding="utf-8"
    )
    stoke.stoke("deploy", "-t", str(folder / "s.yaml"), "-y")
    stoke.stoke("provision", "put", "--config", str(folder / "provision.json"), "-t", str(folder / "s.yaml"))
    key = find_credentials(stoke.data, {})
    auth = None if key is None else FcAuth(key.access_key_id, key.access_key_secret)
    with httpx.Client(base_url=stoke.endpoint, auth=auth, timeout=CLIENT_TIMEOUT_S, trust_env=False) as api:
        url = f"{stoke.endpoint}/2016-08-15/proxy/{SERVICE}/{FUNCTION}/"
        return live(api, url, SERVICE, FUNCTION, USERS, seconds / len(USERS))


def show(lived: Lived, found: Agreement, record: Record) -> None:
    """A line every few ticks, and what it comes to."""
    print(" t/s  live  simulated")
    every = max(1, len(found.ticks) // 30)
    for index, tick in enumerate(found.ticks):
        if index % every == 0 or not tick.agrees:
            bar = "#" * tick.live
            print(f"{index:4d}  {tick.live:4d}  {tick.simulated:9d}  {bar}{'' if tick.agrees else '   differs'}")
    simulated = sum(request.finished_s is not None for request in record.requests)
    print(f"requests: {lived.requests} answered, {lived.failures} failed; {simulated} answered in the simulation")
    print(
        f"{len(found.ticks)} ticks; within ±{TOLERANCE} instance and one tick: {found.share:.1%}; at the very moment: "
        f"{found.within_share:.1%}; the very same number: {found.exact_share:.1%}"
    )


def as_json(lived: Lived, found: Agreement) -> dict[str, Any]:
    return {
        "requests": lived.requests,
        "failures": lived.failures,
        "share": found.share,
        "within_share": found.within_share,
        "exact_share": found.exact_share,
        "ticks": [
            {"t_s": round(tick.at_s - lived.began_s, 3), "live": tick.live, "simulated": tick.simulated}
            for tick in found.ticks
        ],
        "decisions": lived.decisions,
        "recorded": lived.recorded,
    }


if __name__ == "__main__":
    sys.exit(main())
