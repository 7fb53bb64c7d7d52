"""How long a slot takes to move between gateways: two processes at one port, one instance with one slot.

Each round the first request comes to the gateway that does not have the slot, and waits for it to move; the ones behind
it, on the same connection, find it there. What the first takes longer than those is the move. The rounds change sides,
with a rest between them in which the gateway that holds the slot is idle.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from loadtests.bench.asynchronous import process_cpu_s
from loadtests.bench.footprint import parts
from loadtests.bench.gateways import FUNCTION, PATH, TRIGGER, until_current
from loadtests.bench.registry_client import Caller
from loadtests.local import LocalStoke

GATEWAYS: Final = ("gateway-1", "gateway-2")
WITHOUT_MOVE: Final = 3  # requests of a round that find the slot where they come
CONNECTS_MAX: Final = 200  # until one has come to the gateway that is meant
TIMEOUT_S: Final = 30.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.moves", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--rest-ms", type=float, default=50.0, help="between two rounds (default: 50)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    if options.rounds < 2 or options.rest_ms < 0.0:
        parser.error(f"--rounds {options.rounds} --rest-ms {options.rest_ms:g}: at least 2 rounds and 0 ms are allowed")
    with tempfile.TemporaryDirectory(prefix="stoke-moves-") as folder:
        stoke = LocalStoke(Path(folder), "127.0.0.1:0", "--gateways", str(len(GATEWAYS)))
        with stoke:
            found = run(stoke, options.rounds, options.rest_ms / 1000.0)
    print(json.dumps({name: told for name, told in found.items() if name != "each"}, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def run(stoke: LocalStoke, rounds: int, rest_s: float) -> dict[str, Any]:
    deploy(stoke)
    pids = parts(stoke)
    port = urlsplit(stoke.endpoint).port
    assert port is not None, "an endpoint has a port"
    watched = {name: pids[name] for name in (*GATEWAYS, "control-plane", "store") if name in pids}
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(client_of(port, pids[name]))) for name in GATEWAYS]
        for client in clients:
            ask_s(client)
        before_s = {name: process_cpu_s(pid) for name, pid in watched.items()}
        first: list[float] = []
        behind: list[float] = []
        for number in range(rounds):
            client = clients[number % len(clients)]
            first.append(ask_s(client))
            behind += (ask_s(client) for _ in range(WITHOUT_MOVE))
            time.sleep(rest_s)
        used_s = {name: process_cpu_s(pid) - before_s[name] for name, pid in watched.items()}
    here_s = statistics.median(behind)
    return {
        "moves": rounds,
        "with_move_ms": told(first),
        "without_move_ms": told(behind),
        "move_ms": told([each - here_s for each in first]),
        "cpu_ms_per_round": {name: round(1e3 * s / rounds, 2) for name, s in used_s.items()},
        "each": {"with_move_s": first, "without_move_s": behind},
    }


def told(seconds: list[float]) -> dict[str, float]:
    percentiles = statistics.quantiles(seconds, n=100, method="inclusive")
    named = {"least": min(seconds), "p25": percentiles[24], "p50": percentiles[49], "p95": percentiles[94]}
    return {name: round(1e3 * each, 2) for name, each in {**named, "most": max(seconds)}.items()}


def deploy(stoke: LocalStoke) -> None:
    """A function with one instance of one slot, and a trigger. None is started for who waits, or nothing would move."""
    caller = Caller(stoke, 0)
    caller.deploy_warm()
    caller.call("PUT", FUNCTION, json.dumps({"instanceConcurrency": 1}).encode())
    caller.call("POST", f"{FUNCTION}/triggers", json.dumps(TRIGGER).encode())
    caller.call("PUT", f"{FUNCTION}/on-demand-config", json.dumps({"maximumInstanceCount": 0}).encode())
    path = f"{FUNCTION}/provision-config"
    caller.call("PUT", path, json.dumps({"target": 1}).encode())
    until_current(caller, path, 1)
    caller.close()


def ask_s(client: http.client.HTTPConnection) -> float:
    """How long one request takes."""
    begun_at_s = time.perf_counter()
    client.request("POST", PATH, b"x")
    answer = client.getresponse()
    answer.read()
    assert answer.status == 200, f"status {answer.status}"
    return time.perf_counter() - begun_at_s


def client_of(port: int, pid: int) -> http.client.HTTPConnection:
    """A connection whose other end is this process."""
    for _ in range(CONNECTS_MAX):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        client.request("GET", "/stoke/v1/status")
        client.getresponse().read()
        if client.sock is not None and owner_of_peer(port, client.sock.getsockname()[1]) == pid:
            return client
        client.close()
    raise SystemExit(f"none of {CONNECTS_MAX} connections came to process {pid}")


def owner_of_peer(port: int, local_port: int) -> int:
    """The process that has the server's end of a connection from `local_port` to `port`; 0 if none is found."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        here, there = (int(each.rpartition(":")[2], 16) for each in fields[1:3])
        if (here, there) == (port, local_port):
            return _owner_of_inode(fields[9])
    return 0


def _owner_of_inode(inode: str) -> int:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if f"socket:[{inode}]" in links:
            return int(pid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
