"""The gateway under ten times the load that a function can take: what is accepted, how fast, and what it costs.

The instance is this program's: so many slots, each busy for a known time with a request, so the capacity is known.
First a quarter of it is asked for, which is the latency without contention; then ten times as much comes by the clock,
whether or not what came before is answered. The function says how long a request may wait, a fraction of what one takes
(`queueWaitSeconds`): what is expected to wait longer is refused at once.

    python -m loadtests.bench.overload --json FILE [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from loadtests.bench.front import Front, front, path_of
from loadtests.bench.rounds import write

FUNCTION: Final = "slow"
SLOTS: Final = 8
SERVICE_S: Final = 0.1
CAPACITY_PER_S: Final = SLOTS / SERVICE_S
QUEUE_WAIT_S: Final = 0.3 * SERVICE_S
OVERLOAD: Final = 10
BODY_BYTES: Final = 16_384
_SEED: Final = 7


@dataclass(slots=True)
class Seen:
    """One phase as its clients saw it."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    accepted_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    bare_refusals: int = 0  # without a Retry-After of 1 to 60 s
    broken: int = 0  # no answer at all

    def summary(self) -> dict[str, object]:
        return {
            "sent": self.sent,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "accepted_p50_ms": _percentile(self.accepted_ms, 0.5),
            "accepted_p99_ms": _percentile(self.accepted_ms, 0.99),
            "refused_p50_ms": _percentile(self.refused_ms, 0.5),
            "refused_p99_ms": _percentile(self.refused_ms, 0.99),
            "refusals_without_retry_after": self.bare_refusals,
            "broken": self.broken,
        }


class Clients:
    """Sends at a rate by the clock, over as many connections as that takes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        body = b"x" * BODY_BYTES
        head = f"POST {path_of(FUNCTION)} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
        self._request = head.encode() + body

    async def load(self, per_s: float, seconds: float) -> Seen:
        """Requests at random times, as independent clients send them."""
        seen, asking, roll = Seen(), set[asyncio.Task[None]](), random.Random(_SEED)
        next_at_s = begun_at_s = time.monotonic()
        while next_at_s < begun_at_s + seconds:
            await asyncio.sleep(max(0.0, next_at_s - time.monotonic()))
            task = asyncio.create_task(self._ask(seen))
            asking.add(task)
            task.add_done_callback(asking.discard)
            next_at_s += roll.expovariate(per_s)
        await asyncio.gather(*asking)
        return seen

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()

    async def _ask(self, seen: Seen) -> None:
        seen.sent += 1
        begun_at_s = time.monotonic()
        try:
            reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(_field(head, b"content-length") or 0))
        except (OSError, asyncio.IncompleteReadError):
            seen.broken += 1
            return
        status, took_ms = int(head[9:12]), (time.monotonic() - begun_at_s) * 1000.0
        seen.statuses[status] += 1
        (seen.accepted_ms if status == 200 else seen.refused_ms).append(took_ms)
        if status != 200 and not 1 <= int(_field(head, b"retry-after") or 0) <= 60:
            seen.bare_refusals += 1
        if b"\r\nconnection: close\r\n" in head:
            writer.close()
        else:
            self._idle.append((reader, writer))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.overload", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the overload; the rest takes a quarter of it")
    options = parser.parse_args(arguments)
    if options.seconds <= 0:
        parser.error(f"--seconds {options.seconds:g}: above 0 is allowed")
    result = uvloop.run(run(options.seconds))
    write(result, options.json)
    return 0


async def run(seconds: float) -> dict[str, object]:
    async with front() as gateway:
        await gateway.put_function(FUNCTION, queue_wait_s_max=QUEUE_WAIT_S)
        address = await gateway.serve(FUNCTION, SERVICE_S)
        await gateway.put_instance(FUNCTION, "i-1", address, SLOTS)
        clients = Clients(gateway.port)
        await clients.load(CAPACITY_PER_S / 4, min(2.0, seconds))  # warm: connections made, the route known
        calm = await clients.load(CAPACITY_PER_S / 4, seconds / 4)
        resident_mib = [gateway.resident_mib()]
        watching = asyncio.create_task(_watch(gateway, resident_mib, seconds / 30))
        hard = await clients.load(CAPACITY_PER_S * OVERLOAD, seconds)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        clients.close()
    return summary(calm, hard, resident_mib, seconds)


def summary(calm: Seen, hard: Seen, resident_mib: list[float], seconds: float) -> dict[str, object]:
    uncontended, overloaded = _percentile(calm.accepted_ms, 0.99), _percentile(hard.accepted_ms, 0.99)
    ratio = overloaded / uncontended if uncontended and overloaded else None
    return {
        "capacity_per_s": CAPACITY_PER_S,
        "overload": OVERLOAD,
        "seconds": seconds,
        "uncontended": calm.summary(),
        "overloaded": hard.summary(),
        "accepted_p99_ratio": None if ratio is None else round(ratio, 3),
        "accepted_share_of_capacity": round(hard.statuses[200] / (CAPACITY_PER_S * seconds), 3),
        "resident_mib": {
            "first": resident_mib[0],
            "last": resident_mib[-1],
            "most": max(resident_mib),
            "each": [round(each, 1) for each in resident_mib],
        },
    }


async def _watch(gateway: Front, resident_mib: list[float], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        resident_mib.append(gateway.resident_mib())


def _field(head: bytes, name: bytes) -> bytes | None:
    at = head.find(b"\r\n" + name + b": ")
    return None if at < 0 else head[at + len(name) + 4 :].split(b"\r\n", 1)[0]


def _percentile(values: list[float], share: float) -> float | None:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None


if __name__ == "__main__":
    sys.exit(main())
