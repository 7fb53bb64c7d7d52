"""What hundreds of slow clients cost those that are not: p99 of small requests by the clock, with them and without.

The slow ones are Debian's slowhttptest, for a bounded time and in three ways: slow heads, slow bodies, and slow readers
of large answers. Rounds with and without are interleaved. slowhttptest shares a core with the load, and
is the last to get it; what is measured begins when most of the slow clients are there and the sockets' buffers of those
that do not read are full: until then they are as fast as any. nginx, where it is there, has the same in turn: what it
is slower by, beside the same slow clients on the same cores, is what they and the kernel take from anybody.

    python -m loadtests.bench.slow_clients --json FILE [--connections 400] [--rounds 3] [--seconds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.front import front, path_of
from loadtests.bench.open_loop import Latency, measure
from loadtests.bench.rivals import LOAD_CORE, Proxy, cpu_s, find_program, running, start_nginx, wait_for
from loadtests.bench.rounds import write

PER_S: Final = 250.0
SMALL, LARGE = "small", "large"
LARGE_BYTES: Final = 4 << 20  # more than the sockets on the way hold
LIMITS: Final = ("--head-timeout-s", "5", "--body-timeout-s", "5", "--write-timeout-s", "5")
NGINX_LIMITS: Final = (
    "client_body_timeout 5s; send_timeout 5s; proxy_request_buffering off; proxy_max_temp_file_size 0;"
)
ALL_THERE: Final = 0.9  # of the slow clients, before those that are not slow are measured
QUIET: Final = 0.2  # of the server's core, below which nothing flows to slow readers any more
MEEKLY: Final = ("chrt", "--other", "0", "nice", "-n", "10")  # as it shares a core with what measures
MODES: Final = {
    "slow heads": ["-H", "-i", "3"],
    "slow bodies": ["-B", "-i", "3", "-s", "8192", "-t", "POST"],
    "slow readers": ["-X", "-n", "5", "-z", "32", "-w", "512", "-y", "1024"],
}


@dataclass(frozen=True, slots=True)
class Round:
    """One round without slow clients and one with them, one after the other."""

    p99_ms_without: float
    p99_ms_with: float
    p50_ms_without: float
    p50_ms_with: float
    late_p99_ms_with: float  # of which the measuring client itself was late
    cpu_s_without: float
    cpu_s_with: float


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.slow_clients", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--connections", type=int, default=400, help="slow ones; of readers, half as many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0 or options.connections < 2:
        given = f"--rounds {options.rounds} --seconds {options.seconds:g} --connections {options.connections}"
        parser.error(f"{given}: at least 1 round, above 0 s, at least 2 connections")
    program = shutil.which("slowhttptest")
    if program is None:
        result: dict[str, object] = {"skipped": "slowhttptest is not installed: Debian has it as a package"}
    else:
        result = asyncio.run(run(program, options.connections, options.rounds, options.seconds))
    write(result, options.json)
    return 0


async def run(program: str, connections: int, rounds: int, seconds: float) -> dict[str, object]:
    async with contextlib.AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(front(*LIMITS))
        # Each kind of request has a backend of its own: it is the gateway that they are to share.
        for function, module in ((SMALL, "wire"), (LARGE, "large")):
            backend = gateway.directory / f"{function}.sock"
            command = [sys.executable, "-m", f"loadtests.bench.{module}", "backend", str(backend)]
            stack.enter_context(running(command, LOAD_CORE))
            wait_for(backend.exists, f"the backend of {function}")
            await gateway.put_function(function, instance_concurrency=2 * connections)
            await gateway.put_instance(function, f"i-{function}", f"unix:{backend}", 2 * connections)
        servers = [Proxy("gateway", gateway.port, gateway.pid)]
        nginx = find_program("nginx")
        if nginx is not None:
            small, large = (gateway.directory / f"{function}.sock" for function in (SMALL, LARGE))
            own = gateway.directory / "nginx"
            own.mkdir()
            beside = {path_of(LARGE): large}
            servers.append(stack.enter_context(start_nginx(nginx, own, small, NGINX_LIMITS, beside)))
        measured: dict[str, dict[str, list[Round]]] = {server.name: {mode: [] for mode in MODES} for server in servers}
        for server in servers:
            _measured(server, min(seconds, 1.0), 0)  # warm
        for number in range(rounds):
            for mode in MODES:
                for server in servers:
                    row = _round(program, server, mode, connections, seconds, number)
                    measured[server.name][mode].append(row)
    return {name: summary(by_mode) for name, by_mode in measured.items()}


def summary(measured: dict[str, list[Round]]) -> dict[str, object]:
    """Of one server. Pure."""
    return {
        mode: {
            "p99_ratio": round(statistics.median(each.p99_ms_with / each.p99_ms_without for each in rounds), 3),
            "p50_ratio": round(statistics.median(each.p50_ms_with / each.p50_ms_without for each in rounds), 3),
            "p99_ms_with": round(statistics.median(each.p99_ms_with for each in rounds), 3),
            "rounds": [dataclasses.asdict(each) for each in rounds],
        }
        for mode, rounds in measured.items()
    }


def _round(program: str, server: Proxy, mode: str, connections: int, seconds: float, seed: int) -> Round:
    without, cpu_without_s = _measured(server, seconds, seed)
    count = connections // 2 if mode == "slow readers" else connections
    with _slow(program, server, mode, count, seconds):
        beside, cpu_with_s = _measured(server, seconds, seed)
    return Round(
        p99_ms_without=without.p99_ms,
        p99_ms_with=beside.p99_ms,
        p50_ms_without=without.p50_ms,
        p50_ms_with=beside.p50_ms,
        late_p99_ms_with=beside.late_p99_ms,
        cpu_s_without=cpu_without_s,
        cpu_s_with=cpu_with_s,
    )


def _measured(server: Proxy, seconds: float, seed: int) -> tuple[Latency, float]:
    before_s = cpu_s(server.pid)
    seen = measure(server.port, path_of(SMALL), PER_S, seconds, LOAD_CORE, seed, b"hello")
    if seen.failed:
        raise SystemExit(f"{seen.failed} of {seen.requests} requests failed beside the slow clients of {server.name}")
    return seen, round(cpu_s(server.pid) - before_s, 3)


@contextlib.contextmanager
def _slow(program: str, server: Proxy, mode: str, count: int, seconds: float) -> Iterator[None]:
    """So many slow clients while the context lasts, once most of them have come; and it waits until they have left."""
    before = _open_files(server.pid)
    path = f"{path_of(LARGE)}{LARGE_BYTES}" if mode == "slow readers" else path_of(SMALL)
    target = f"http://127.0.0.1:{server.port}{path}"
    command = [
        *MEEKLY,
        program,
        *MODES[mode],
        "-c",
        str(count),
        "-r",
        str(count),
        "-l",
        str(round(seconds) + 20),
        "-u",
        target,
    ]
    with running(command, LOAD_CORE):
        wait_for(lambda: _open_files(server.pid) - before >= ALL_THERE * count, f"slowhttptest ({mode})")
        wait_for(lambda: _busy(server.pid) < QUIET, f"the end of what flows to {mode}")
        yield
    # Connections to the backend may stay a while longer, one for each reader.
    deadline_s = time.monotonic() + 10.0
    while _open_files(server.pid) > before + 8 and time.monotonic() < deadline_s:
        time.sleep(0.1)


def _busy(pid: int) -> float:
    """How much of a core a process takes, by a short look."""
    before_s, begun_at_s = cpu_s(pid), time.monotonic()
    time.sleep(0.2)
    return (cpu_s(pid) - before_s) / (time.monotonic() - begun_at_s)


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


if __name__ == "__main__":
    sys.exit(main())
