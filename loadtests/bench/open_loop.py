"""A load that does not wait: requests come by the clock, whether or not those before are answered.

One thread, blocking sends and `select`, whose timeouts are as fine as the kernel's: an event loop's timers count whole
milliseconds, which is more than what is measured here. Each latency counts from when its request was due, so what
waits for a server that has stopped is seen, and so is this program's own lateness, which is told beside it.
"""

from __future__ import annotations

import json
import math
import os
import random
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

CONNECTIONS_MAX: Final = 256
_PATIENCE_S: Final = 5.0  # for the last answers
_READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds, from when a request was due to the end of its answer."""

    requests: int
    p50_ms: float
    p99_ms: float
    late_p50_ms: float  # of these, until it was sent
    late_p99_ms: float
    failed: int


def measure(port: int, path: str, per_s: float, seconds: float, core: int, seed: int, body: bytes) -> Latency:
    """So many a second for so long, from one core. The same seed gives the same moments."""
    command = [sys.executable, "-m", "loadtests.bench.open_loop", str(port), path, str(per_s), str(seconds), str(seed)]
    done = subprocess.run(
        [*command, body.decode()],
        check=True,
        capture_output=True,
        preexec_fn=lambda: os.sched_setaffinity(0, [core]),
    )
    return Latency(**json.loads(done.stdout))


def moments(per_s: float, seconds: float, seed: int) -> Iterator[float]:
    """When requests are due, in seconds from the first: a Poisson process. Pure."""
    pick, at_s = random.Random(seed), 0.0
    while at_s < seconds:
        yield at_s
        at_s += pick.expovariate(per_s)


def answer_end(data: bytes) -> int:
    """Where the answer that `data` begins with ends; 0: not all of it is there. Pure.

    Raises:
        ValueError: it does not say how long it is.
    """
    head_end = data.find(b"\r\n\r\n") + 4
    if head_end < 4:
        return 0
    _, found, rest = data[:head_end].lower().partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError(f"an answer without content-length: {data[:head_end]!r}")
    end = head_end + int(rest.partition(b"\r\n")[0])
    return end if len(data) >= end else 0


class Load:
    """Sends each request on a connection that is idle, or on a new one."""

    def __init__(self, port: int, request: bytes) -> None:
        self._port = port
        self._request = request
        self._idle: list[socket.socket] = []
        self._busy: dict[socket.socket, tuple[float, bytes]] = {}  # since when, and what there is of the answer
        self.latencies_s: list[float] = []
        self.lateness_s: list[float] = []
        self.failed = 0

    def connect(self, count: int) -> None:
        for _ in range(count):
            made = socket.create_connection(("127.0.0.1", self._port))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._idle.append(made)

    def run(self, per_s: float, seconds: float, seed: int) -> None:
        begun_at_s = time.perf_counter()
        for after_s in moments(per_s, seconds, seed):
            due_at_s = begun_at_s + after_s
            while (wait_s := due_at_s - time.perf_counter()) > 0:
                self._hear(wait_s)
            self._send(due_at_s)
            self._hear(0.0)
        until_s = time.perf_counter() + _PATIENCE_S
        while self._busy and (wait_s := until_s - time.perf_counter()) > 0:
            self._hear(wait_s)
        self.failed += len(self._busy)

    def close(self) -> None:
        for each in (*self._idle, *self._busy):
            each.close()

    def _send(self, due_at_s: float) -> None:
        if not self._idle:
            if len(self._busy) >= CONNECTIONS_MAX:
                self.failed += 1
                return
            self.connect(1)
        connection = self._idle.pop()
        self._busy[connection] = due_at_s, b""
        self.lateness_s.append(time.perf_counter() - due_at_s)
        connection.sendall(self._request)

    def _hear(self, wait_s: float) -> None:
        for connection in select.select(list(self._busy), (), (), wait_s)[0]:
            due_at_s, before = self._busy.pop(connection)
            read = connection.recv(_READ_BYTES)
            data = before + read
            if not read:
                self.failed += 1
                connection.close()
            elif answer_end(data):
                self.latencies_s.append(time.perf_counter() - due_at_s)
                self.failed += b" 200 " not in data[:16]
                self._idle.append(connection)
            else:
                self._busy[connection] = due_at_s, data


def summary(load: Load) -> Latency:
    """Raises ValueError: nothing was answered."""
    if not load.latencies_s:
        raise ValueError(f"none of {load.failed} requests was answered")
    p50_s, p99_s = percentiles(load.latencies_s)
    late_p50_s, late_p99_s = percentiles(load.lateness_s)
    answered = len(load.latencies_s)
    return Latency(answered, 1e3 * p50_s, 1e3 * p99_s, 1e3 * late_p50_s, 1e3 * late_p99_s, load.failed)


def percentiles(values: list[float]) -> tuple[float, float]:
    """p50 and p99. Pure."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered), math.ceil(0.99 * len(ordered))) - 1]


def main(arguments: list[str]) -> None:
    port, path, per_s, seconds, seed, body = arguments
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    load = Load(int(port), f"{head}\r\n\r\n{body}".encode())
    load.connect(8)
    load.run(float(per_s), float(seconds), int(seed))
    load.close()
    print(json.dumps(asdict(summary(load))))


if __name__ == "__main__":
    main(sys.argv[1:])
