"""The gateway against nginx, each as a reverse proxy to the same small backend, on one core.

The proxy under test has core 0 for itself; load and backend share core 1. Rounds are interleaved, so that what the
machine does besides weighs on both alike. Requests per second compare the proxies only while the proxy is what is
busy: so its processor time per request is measured too, and how busy it was.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from loadtests.bench.wire import SENT, Load, measure
from runtime.contract import (
    INSTANCES_KEY,
    LATEST,
    ROUTES_KEY,
    FunctionRoute,
    InstanceRecord,
    InstanceState,
    Kind,
    TriggerRoute,
    function_field,
    trigger_field,
)
from runtime.store import arguments as store_arguments
from runtime.store import find_server

PROXY_CORE: Final = 0
LOAD_CORE: Final = 1
PATH: Final = "/2016-08-15/proxy/bench/echo/"
CONNECTIONS: Final = 32
START_TIMEOUT_S: Final = 10.0
BUSY: Final = 0.9  # of its core: below this the load, not the proxy, was the limit

NGINX_CONFIGURATION: Final = """
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream backend {{ server unix:{backend}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000000;
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that runs: where it listens, and the process whose processor time counts."""

    name: str
    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Round:
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_request: float
    busy: float  # of the proxy's core, in [0, 1]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.gateway", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0:
        parser.error(f"--rounds {options.rounds} --seconds {options.seconds:g}: at least 1 round, above 0 s")
    result = run(options.rounds, options.seconds)
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0


def run(rounds: int, seconds: float) -> dict[str, object]:
    """Measure. Without nginx there are figures of the gateway alone, and the ratio is None."""
    load = Load.found()
    with contextlib.ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="stoke-b-", ignore_cleanup_errors=True))
        )
        backend = directory / "backend.sock"
        stack.enter_context(running([sys.executable, "-m", "loadtests.bench.wire", "backend", str(backend)], LOAD_CORE))
        wait_for(backend.exists, "the backend")
        proxies = [stack.enter_context(start_gateway(directory, backend))]
        nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if nginx is not None:
            proxies.append(stack.enter_context(start_nginx(nginx, directory, backend)))
        for proxy in proxies:  # warm: connections made, caches filled
            measured_round(proxy, load, min(1.0, seconds))
        measured: dict[str, list[Round]] = {proxy.name: [] for proxy in proxies}
        for _ in range(rounds):
            for proxy in proxies:
                measured[proxy.name].append(measured_round(proxy, load, seconds))
    return summary(measured, load, nginx is not None)


def summary(measured: dict[str, list[Round]], load: Load, has_nginx: bool) -> dict[str, object]:
    medians = {name: _median(each) for name, each in measured.items()}
    result: dict[str, object] = {
        "load": load.name,
        "connections": CONNECTIONS,
        "request_bytes": len(SENT),
        "rounds": {name: [dataclasses.asdict(each) for each in rounds] for name, rounds in measured.items()},
        "median": {name: dataclasses.asdict(each) for name, each in medians.items()},
        "ratio_to_nginx": None,
        "cpu_ratio_to_nginx": None,
        "notes": [],
    }
    notes: list[str] = [
        f"{name} was busy for {each.busy:.0%} of its core: the load was the limit, compare processor time instead"
        for name, each in medians.items()
        if each.busy < BUSY
    ]
    if has_nginx:
        ours, theirs = medians["gateway"], medians["nginx"]
        result["ratio_to_nginx"] = round(ours.requests_per_s / theirs.requests_per_s, 3)
        result["cpu_ratio_to_nginx"] = round(theirs.cpu_us_per_request / ours.cpu_us_per_request, 3)
    else:
        notes.append("nginx is not installed: nothing to compare with")
    result["notes"] = notes
    return result


def measured_round(proxy: Proxy, load: Load, seconds: float) -> Round:
    before_s, begun_at_s = cpu_s(proxy.pid), time.monotonic()
    seen = measure(load, proxy.port, PATH, CONNECTIONS, seconds, LOAD_CORE)
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


# -- the two proxies ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def start_gateway(directory: Path, backend: Path) -> Iterator[Proxy]:
    """A gateway with a store of its own, in which the backend is an instance with a slot for each connection."""
    server = find_server()
    if server is None:
        raise SystemExit("no valkey-server or redis-server on this machine: the gateway needs one")
    socket_path = directory / "store.sock"
    with running([*server, *store_arguments(directory, socket_path)], LOAD_CORE):
        wait_for(socket_path.exists, "the store")
        url = f"unix://{socket_path}"
        _write_routes(url, backend)
        command = [sys.executable, "-m", "runtime.gateway", "--listen", "127.0.0.1:0", "--store", url]
        command += ["--control-plane", f"unix:{directory}/none.sock", "--data", str(directory)]
        log = directory / "gateway.log"
        with running(command, PROXY_CORE, log) as process:
            wait_for(lambda: "feed-loaded" in log.read_text(), "the gateway")
            port = int(log.read_text().split("port=")[1].split()[0])
            yield Proxy("gateway", port, process.pid)


@contextlib.contextmanager
def start_nginx(program: str, directory: Path, backend: Path) -> Iterator[Proxy]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = directory / "nginx.conf"
    # Started by root, a worker becomes another user, who may not enter this directory.
    user = "user root;" if os.geteuid() == 0 else ""
    text = textwrap.dedent(NGINX_CONFIGURATION).format(directory=directory, backend=backend, port=port, user=user)
    configuration.write_text(text)
    with running([program, "-c", str(configuration), "-e", str(directory / "nginx.log")], PROXY_CORE) as process:
        wait_for(lambda: _children(process.pid) != [], "nginx")
        [worker] = _children(process.pid)
        yield Proxy("nginx", port, worker)


def _write_routes(url: str, backend: Path) -> None:
    function = FunctionRoute("bench", "echo", LATEST, "r", instance_concurrency=2 * CONNECTIONS, timeout_s=60.0)
    trigger = TriggerRoute("bench", "echo", LATEST, "http", "anonymous", ["GET", "POST"], "")
    instance = InstanceRecord(
        instance_id="i-1",
        service="bench",
        function="echo",
        version=LATEST,
        revision="r",
        kind=Kind.PROVISIONED,
        state=InstanceState.READY,
        slots=2 * CONNECTIONS,
        node="bench",
        address=f"unix:{backend}",
    )
    with redis.Redis.from_url(url) as store:
        store.hset(ROUTES_KEY, function_field("bench", LATEST, "echo"), function.to_json())
        store.hset(ROUTES_KEY, trigger_field("bench", "echo", "http"), trigger.to_json())
        store.hset(INSTANCES_KEY, instance.instance_id, instance.to_json())


# -- processes ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(command: list[str], core: int, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Runs on one core while the context lasts, with everything it starts."""
    with open(log or os.devnull, "wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, preexec_fn=lambda: os.sched_setaffinity(0, [core])
        )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5.0)
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not start within {START_TIMEOUT_S:g} s")
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_s(pid: int) -> float:
    """User and system time of a process so far (proc(5), stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _median(rounds: list[Round]) -> Round:
    return Round(
        *(statistics.median(getattr(each, field.name) for each in rounds) for field in dataclasses.fields(Round))
    )


if __name__ == "__main__":
    sys.exit(main())
