"""Large bodies through the gateway and through nginx, each on one core, rounds interleaved.

Bodies of 1 MiB over 8 connections and one stream of 1 GiB, each way. nginx is told to stream as the gateway does, not
to keep bodies in files; once with buffers as large as the gateway's, which is what ratios are to, and once with its
own. Load and backend share the other core and take more of it than
nginx does of its own, so bytes a second compare the proxies only as long as both are busy: the processor time that a
GiB took is compared beside it. The gateway's memory is the most that it had resident at any moment.

Whoever comes first after bodies have gone the other way is up to three times as slow, whichever proxy it is: the kernel
gets its buffers anew. So each case begins with a round that is not counted, and the order changes from round to round.

    python -m loadtests.bench.bodies --json FILE [--rounds 5] [--seconds 2] [--stream-mib 1024]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.large import measure
from loadtests.bench.rivals import (
    LOAD_CORE,
    PATH,
    Proxy,
    cpu_s,
    find_program,
    running,
    start_gateway,
    start_nginx,
    wait_for,
)
from loadtests.bench.rounds import median_of, write

BUSY: Final = 0.9
GOAL_RATIO: Final = 0.6
GOAL_MIB: Final = 150.0
CONNECTIONS: Final = 8
OWN_BUFFERS: Final = "nginx, its own buffers"
STREAMING: Final = "client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;"
LARGE_BUFFERS: Final = (
    "client_body_buffer_size 256k; proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 256k;"
)
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Round:
    mb_per_s: float
    cpu_s_per_gib: float
    busy: float  # of the proxy's core, in [0, 1]


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    way: str
    body_bytes: int
    connections: int
    seconds: float


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.bodies", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round with bodies of 1 MiB")
    parser.add_argument("--stream-mib", type=int, default=1024, help="of each stream, at most 1024")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0 or not 1 <= options.stream_mib <= 1024:
        given = f"--rounds {options.rounds} --seconds {options.seconds:g} --stream-mib {options.stream_mib}"
        parser.error(f"{given}: at least 1 round, above 0 s, 1 to 1024 MiB")
    result = run(options.rounds, options.seconds, options.stream_mib)
    write(result, options.json)
    return 0


def run(rounds: int, seconds: float, stream_mib: int) -> dict[str, object]:
    """Measure. Where nginx is not installed there are no ratios."""
    cases = [
        *(Case(f"1 MiB {way}", way, _MIB, CONNECTIONS, seconds) for way in ("up", "down")),
        *(Case(f"{stream_mib} MiB stream {way}", way, stream_mib * _MIB, 1, 0.0) for way in ("up", "down")),
    ]
    with contextlib.ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="stoke-b-", ignore_cleanup_errors=True)
        directory = Path(stack.enter_context(made))
        backend = directory / "backend.sock"
        command = [sys.executable, "-m", "loadtests.bench.large", "backend", str(backend)]
        stack.enter_context(running(command, LOAD_CORE))
        wait_for(backend.exists, "the backend")
        proxies = [stack.enter_context(start_gateway(directory, backend))]
        nginx = find_program("nginx")
        if nginx is not None:
            for name, more in (("nginx", STREAMING + LARGE_BUFFERS), (OWN_BUFFERS, STREAMING)):
                own = directory / str(len(proxies))
                own.mkdir()
                proxy = stack.enter_context(start_nginx(nginx, own, backend, more))
                proxies.append(dataclasses.replace(proxy, name=name))
        measured: dict[str, dict[str, list[Round]]] = {
            case.name: {proxy.name: [] for proxy in proxies} for case in cases
        }
        for number in range(rounds):
            first = number % len(proxies)
            for case in cases:
                measured_round(proxies[first - 1], case)
                for proxy in (*proxies[first:], *proxies[:first]):
                    measured[case.name][proxy.name].append(measured_round(proxy, case))
        peaks = {proxy.name: peak_mib(proxy.pid) for proxy in proxies}
    return {**summary(measured), "peak_resident_mib": peaks, "goal": {"ratio": GOAL_RATIO, "resident_mib": GOAL_MIB}}


def measured_round(proxy: Proxy, case: Case) -> Round:
    before_s = cpu_s(proxy.pid)
    moved = measure(proxy.port, PATH, case.way, case.body_bytes, case.connections, case.seconds, LOAD_CORE)
    used_s = cpu_s(proxy.pid) - before_s
    return Round(moved.mb_per_s, used_s / (moved.body_bytes / (1 << 30)), min(1.0, used_s / moved.seconds))


def summary(measured: dict[str, dict[str, list[Round]]]) -> dict[str, object]:
    """Medians of each case, and the gateway's ratios to nginx: above 1, the gateway is the faster. Pure."""
    cases: dict[str, object] = {}
    ratios: dict[str, float | None] = {}
    notes: list[str] = []
    for case, by_name in measured.items():
        medians = {name: median_of(rounds) for name, rounds in by_name.items()}
        ours, theirs = medians["gateway"], medians.get("nginx")
        ratios[case] = None if theirs is None else round(ours.mb_per_s / theirs.mb_per_s, 3)
        cases[case] = {
            "median": {name: dataclasses.asdict(each) for name, each in medians.items()},
            # The kernel counts in hundredths of a second: a short round may have taken none.
            "cpu_ratio_to_nginx": round(theirs.cpu_s_per_gib / ours.cpu_s_per_gib, 3)
            if theirs is not None and ours.cpu_s_per_gib
            else None,
            "rounds": {name: [dataclasses.asdict(each) for each in rounds] for name, rounds in by_name.items()},
        }
        notes += [
            f"{case}: {name} was busy for {each.busy:.0%} of its core: the load was the limit, see processor time"
            for name, each in medians.items()
            if each.busy < BUSY
        ]
        if theirs is None:
            notes.append(f"{case}: nginx is not installed, nothing to compare with")
    return {"ratio_to_nginx": ratios, "cases": cases, "notes": notes}


def peak_mib(pid: int) -> float:
    """The most that a process has had resident, in MiB (proc(5), status, VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise SystemExit(f"process {pid} is gone")


if __name__ == "__main__":
    sys.exit(main())
