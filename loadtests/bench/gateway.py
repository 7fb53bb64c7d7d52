"""The gateway against nginx and haproxy, each as a reverse proxy to the same small backend, on one core.

The proxy under test has core 0 for itself; load and backend share core 1. Rounds are interleaved, so that what the
machine does besides weighs on all alike. Requests per second compare the proxies only while the proxy is what is
busy: so its processor time per request is measured too, and how busy it was.

Everything is measured twice: with clients that send the same head again and again, as load testers and most clients
within one connection do, and with a head that is another for each request, as a trace id makes it. Then a steady load
says what a proxy adds to a request's latency (`loadtests.bench.latency`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench import latency
from loadtests.bench.rivals import (
    CONNECTIONS,
    LOAD_CORE,
    PATH,
    Proxy,
    cpu_s,
    find_program,
    running,
    start_gateway,
    start_haproxy,
    start_nginx,
    wait_for,
)
from loadtests.bench.rounds import measure_and_write, median_of
from loadtests.bench.wire import SENT, Load, measure

BUSY: Final = 0.9  # of its core: below this the load, not the proxy, was the limit


@dataclass(frozen=True, slots=True)
class Round:
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_request: float
    busy: float  # of the proxy's core, in [0, 1]


def main(arguments: list[str] | None = None) -> int:
    return measure_and_write("gateway", __doc__, with_added_latency, arguments)


def with_added_latency(rounds: int, seconds: float) -> dict[str, object]:
    return {**run(rounds, seconds), "added_latency": latency.run(rounds, seconds)}


def run(rounds: int, seconds: float) -> dict[str, object]:
    """Measure. Of a rival that is not installed there are no figures, and its ratio is None."""
    load = Load.found()
    with contextlib.ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="stoke-b-", ignore_cleanup_errors=True))
        )
        backend = directory / "backend.sock"
        stack.enter_context(running([sys.executable, "-m", "loadtests.bench.wire", "backend", str(backend)], LOAD_CORE))
        wait_for(backend.exists, "the backend")
        proxies = [stack.enter_context(start_gateway(directory, backend))]
        for name, start in (("nginx", start_nginx), ("haproxy", start_haproxy)):
            program = find_program(name)
            if program is not None:
                proxies.append(stack.enter_context(start(program, directory, backend)))
        for proxy in proxies:  # warm: connections made, caches filled
            measured_round(proxy, load, min(1.0, seconds), varied=False)
        measured: dict[bool, dict[str, list[Round]]] = {
            varied: {proxy.name: [] for proxy in proxies} for varied in (False, True)
        }
        for _ in range(rounds):
            for varied, by_name in measured.items():
                for proxy in proxies:
                    by_name[proxy.name].append(measured_round(proxy, load, seconds, varied=varied))
    traced = summary(measured[True], load)
    more = {"ratio_to_nginx_traced": traced["ratio_to_nginx"], "with a trace id": traced}
    return {**summary(measured[False], load), **more}


def summary(measured: dict[str, list[Round]], load: Load) -> dict[str, object]:
    medians = {name: median_of(each) for name, each in measured.items()}
    ours = medians["gateway"]
    result: dict[str, object] = {
        "load": load.name,
        "connections": CONNECTIONS,
        "request_bytes": len(SENT),
        "rounds": {name: [dataclasses.asdict(each) for each in rounds] for name, rounds in measured.items()},
        "median": {name: dataclasses.asdict(each) for name, each in medians.items()},
    }
    notes = [
        f"{name} was busy for {each.busy:.0%} of its core: the load was the limit, compare processor time instead"
        for name, each in medians.items()
        if each.busy < BUSY
    ]
    for rival in ("nginx", "haproxy"):
        theirs = medians.get(rival)
        if theirs is None:
            notes.append(f"{rival} is not installed: nothing to compare with")
        result[f"ratio_to_{rival}"] = theirs and round(ours.requests_per_s / theirs.requests_per_s, 3)
        result[f"cpu_ratio_to_{rival}"] = theirs and round(theirs.cpu_us_per_request / ours.cpu_us_per_request, 3)
    return {**result, "notes": notes}


def measured_round(proxy: Proxy, load: Load, seconds: float, *, varied: bool) -> Round:
    before_s, begun_at_s = cpu_s(proxy.pid), time.monotonic()
    seen = measure(load, proxy.port, PATH, CONNECTIONS, seconds, LOAD_CORE, varied=varied)
    used_s, elapsed_s = cpu_s(proxy.pid) - before_s, time.monotonic() - begun_at_s
    if seen.failed:
        raise SystemExit(f"{seen.failed} of {seen.requests} requests through {proxy.name} failed: nothing to compare")
    return Round(
        requests_per_s=seen.requests_per_s,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        cpu_us_per_request=1e6 * used_s / max(seen.requests, 1),
        busy=used_s / elapsed_s,
    )


if __name__ == "__main__":
    sys.exit(main())
