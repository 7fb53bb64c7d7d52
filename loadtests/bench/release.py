"""How long the first request of a function that has no instance waits after one is ready.

From the moment at which the control plane begins to write that the instance is ready, to the request's arrival at the
instance: the write, the feed, the slot, the connection. The instance is a server of this program, so no start of a
process is in it; `loadtests.bench.coldstart` measures that.

    python -m loadtests.bench.release --json FILE [--rounds 200]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Final

import uvloop
from redis.asyncio.client import PubSub

from loadtests.bench.front import Front, front, path_of
from loadtests.bench.rounds import write
from runtime.contract import USAGE_CHANNEL, UsageReport

PROMISED_MS: Final = 50.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.release", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: at least 1 is allowed")
    result = uvloop.run(run(options.rounds))
    write(result, options.json)
    return 0


async def run(rounds: int) -> dict[str, object]:
    async with front() as gateway:
        waits_ms = sorted([await _released_after_ms(gateway, f"f{number}") for number in range(rounds)])
    return {
        "rounds": rounds,
        "p50_ms": round(statistics.median(waits_ms), 3),
        "p99_ms": round(waits_ms[min(rounds - 1, int(0.99 * rounds))], 3),
        "most_ms": round(waits_ms[-1], 3),
        "promised_ms": PROMISED_MS,
        "within": waits_ms[-1] <= PROMISED_MS,
    }


async def _await_demand(channel: PubSub, function: str) -> None:
    """Until the gateway has said that a request for this function waits."""
    async with asyncio.timeout(10.0):
        while True:
            message = await channel.get_message(ignore_subscribe_messages=True, timeout=5.0)
            if message is not None:
                report = UsageReport.from_json(message["data"])
                if any(each["function"] == function and each["queued"] for each in report.functions):
                    return


async def _released_after_ms(gateway: Front, function: str) -> float:
    """Of one request for a function of its own."""
    arrivals: list[float] = []
    address = await gateway.serve(function, 0.0, arrivals.append)
    await gateway.put_function(function)
    async with gateway.store.pubsub() as channel:
        await channel.subscribe(USAGE_CHANNEL)
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"GET {path_of(function)} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        await _await_demand(channel, function)
        ready_at_s = time.monotonic()
        await gateway.put_instance(function, f"i-{function}", address, 1)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    if not head.startswith(b"HTTP/1.1 200 ") or b"x-stoke-cold-start: true" not in head.lower():
        raise SystemExit(f"not the answer to a cold start: {head!r}")
    return (arrivals[0] - ready_at_s) * 1000.0


if __name__ == "__main__":
    sys.exit(main())
