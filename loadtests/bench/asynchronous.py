"""How many asynchronous invocations a Stoke accepts a second, and how many it carries to their end.

A Stoke of its own, and a handler that does nothing. First events are accepted while no instance may run, so that
accepting is all there is to do; then instances are provisioned and the same events run. At last both happen at once.
When each event began and ended is read from its record. Processor time says what an event costs each part, whatever
else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import uvloop
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from loadtests.bench.footprint import parts
from loadtests.bench.registry_client import API, WARM, WARM_SERVICE, Caller
from loadtests.local import LocalStoke
from runtime.async_invocation.records import Invocation, Queue, Status
from runtime.async_invocation.store import AsyncStore
from runtime.contract import HEADER_ASYNC_TASK_ID, LATEST

FUNCTION: Final = f"{API}/services/{WARM_SERVICE}/functions/{WARM}"
TARGET: Final = f"{FUNCTION}/invocations"
PAYLOAD: Final = b'{"text": "hello"}'
QUEUE: Final = Queue(WARM_SERVICE, LATEST, WARM)
END_TIMEOUT_S: Final = 300.0
WATCHED: Final = ("gateway", "store", "control-plane")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.asynchronous", description=__doc__)
    parser.add_argument("--events", type=int, default=5000, help="of each round (default: 5000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--instances", type=int, default=2, help="that run them (default: 2)")
    parser.add_argument("--concurrency", type=int, default=8, help="slots of each instance (default: 8)")
    parser.add_argument("--connections", type=int, default=32, help="that send them (default: 32)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    if min(options.events, options.rounds, options.instances, options.concurrency, options.connections) < 1:
        parser.error("--events, --rounds, --instances, --concurrency and --connections: 1 or more are allowed")
    with tempfile.TemporaryDirectory(prefix="stoke-async-") as folder, LocalStoke(Path(folder)) as stoke:
        caller = Caller(stoke, 0)
        caller.deploy_warm()
        changes = {"disableOndemand": True, "instanceConcurrency": options.concurrency}
        caller.call("PUT", FUNCTION, json.dumps(changes).encode())
        rounds = [
            uvloop.run(one_round(stoke, caller, options.events, options.instances, options.connections))
            for _ in range(options.rounds)
        ]
    found = summary(rounds, vars(options))
    show(Console(), found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


async def one_round(
    stoke: LocalStoke, caller: Caller, events: int, instances: int, connections: int
) -> dict[str, dict[str, Any]]:
    store = AsyncStore(Redis.from_url(str(stoke.facts()["store"])))
    found = {}
    await provision(caller, 0)
    before, began_s = cpu_s(stoke), time.perf_counter()
    ids = await send(caller, events, connections)
    took_s = time.perf_counter() - began_s
    found["accepted"] = told(events, took_s, before, cpu_s(stoke))

    before = cpu_s(stoke)
    await provision(caller, instances)
    records = await until_ended(store, ids)
    found["executed"] = told(events, span_s(records), before, cpu_s(stoke))

    before, sent_at_s = cpu_s(stoke), time.time()
    records = await until_ended(store, await send(caller, events, connections))
    took_s = max(record.ended_at_s for record in records) - sent_at_s
    found["both at once"] = told(events, took_s, before, cpu_s(stoke))
    await store.close()
    return found


async def send(caller: Caller, events: int, connections: int) -> list[str]:
    """The ids of so many accepted events. The scheme FC has no nonce, so one signature serves for all."""
    address = urlsplit(caller.stoke.endpoint)
    request = caller.signed_request("POST", TARGET, {"x-fc-invocation-type": "Async", "host": address.netloc}, PAYLOAD)
    numbers, ids = iter(range(events)), list[str]()

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for _ in numbers:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            assert head.startswith("HTTP/1.1 202 "), head
            ids.append(head.partition(f"{HEADER_ASYNC_TASK_ID}: ")[2].partition("\r\n")[0])
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one_connection() for _ in range(connections)))
    return ids


async def provision(caller: Caller, instances: int) -> None:
    """Ask for so many instances. None: wait until there is none; else they come while events wait for them."""
    path = f"{FUNCTION}/provision-config"
    await asyncio.to_thread(caller.call, "PUT", path, json.dumps({"target": instances}).encode())
    deadline_s = time.monotonic() + END_TIMEOUT_S
    while not instances and json.loads(await asyncio.to_thread(caller.call, "GET", path))["current"]:
        assert time.monotonic() < deadline_s, "instances are still there"
        await asyncio.sleep(0.02)


async def until_ended(store: AsyncStore, ids: Sequence[str]) -> list[Invocation]:
    """The records of events that have all ended, each well."""
    deadline_s = time.monotonic() + END_TIMEOUT_S
    while any(backlog.queue == QUEUE for backlog in await store.backlogs()):
        assert time.monotonic() < deadline_s, "events are still waiting"
        await asyncio.sleep(0.02)
    found = [stored.record for stored in await store.load_many(WARM_SERVICE, WARM, ids) if stored is not None]
    assert len(found) == len(ids), f"{len(ids) - len(found)} records are missing"
    assert all(record.status is Status.SUCCEEDED for record in found), {record.status for record in found}
    return found


def span_s(records: Sequence[Invocation]) -> float:
    """From the first beginning to the last end."""
    return max(record.ended_at_s for record in records) - min(record.started_at_s for record in records)


def cpu_s(stoke: LocalStoke) -> dict[str, float]:
    """Processor time that each part has used so far."""
    pids = parts(stoke)
    return {name: process_cpu_s(pids[name]) for name in WATCHED if name in pids}


def process_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def told(events: int, took_s: float, before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    return {
        "per_s": events / took_s,
        "cpu_us_each": {name: (after[name] - before[name]) / events * 1e6 for name in after},
    }


def summary(rounds: list[dict[str, dict[str, Any]]], options: dict[str, Any]) -> dict[str, Any]:
    return {
        "options": {name: value for name, value in options.items() if name != "json"},
        "rounds": rounds,
        "median": {
            what: {
                "per_s": statistics.median(each[what]["per_s"] for each in rounds),
                "cpu_us_each": {
                    part: statistics.median(each[what]["cpu_us_each"][part] for each in rounds)
                    for part in rounds[0][what]["cpu_us_each"]
                },
            }
            for what in rounds[0]
        },
    }


def show(console: Console, found: dict[str, Any]) -> None:
    table = Table(title=f"median of {len(found['rounds'])}", title_justify="left", show_edge=False)
    parts_told = list(found["median"]["accepted"]["cpu_us_each"])
    for head in ("events", "a second", *(f"{part}, µs each" for part in parts_told)):
        table.add_column(head, justify="left" if head == "events" else "right")
    for what, each in found["median"].items():
        table.add_row(what, f"{each['per_s']:.0f}", *(f"{each['cpu_us_each'][part]:.0f}" for part in parts_told))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
