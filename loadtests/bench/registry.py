"""What a large registry costs: latencies, memory and start-up with many functions beside the same with ten.

Two Stokes run side by side. Functions are written through the registry layer straight into their stores, ten in each
service and an HTTP trigger for each; everything measured is asked over HTTP through the gateway. Each question is put
to both in turn, so that whatever else the machine does weighs on both alike, and the ratio is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rich.console import Console
from rich.table import Table

from control_plane.model import Function, Service, Trigger
from control_plane.registry import RedisRegistry
from control_plane.registry.redis_store import CHANGES_AT_ONCE_MAX
from loadtests.bench.footprint import parts, weigh
from loadtests.bench.registry_client import FEW, PER_SERVICE, Asked, Caller, spread
from loadtests.local import LocalStoke
from runtime.contract import ROUTES_KEY
from runtime.gateway.feeds import decode
from runtime.gateway.routes import Routes

SETTLE_S: Final = 5.0
START_TIMEOUT_S: Final = 60.0
FEW_NAME: Final = f"{FEW} functions"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.registry", description=__doc__)
    parser.add_argument("--functions", type=int, default=10_000, help="in the large registry (default: 10000)")
    parser.add_argument("--rounds", type=int, default=300, help="of each question (default: 300)")
    parser.add_argument("--starts", type=int, default=3, help="of each Stoke (default: 3)")
    parser.add_argument(
        "--settle-s", type=float, default=SETTLE_S, help=f"before memory is read (default: {SETTLE_S:g})"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    if options.functions <= FEW or options.functions % PER_SERVICE or options.rounds < 1 or options.starts < 1:
        given = f"--functions {options.functions} --rounds {options.rounds} --starts {options.starts}"
        parser.error(f"{given}: more than {FEW} functions, in tens; at least 1 round and 1 start are allowed")
    found = run(options.functions, options.rounds, options.starts, options.settle_s)
    show(Console(), found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def run(functions: int, rounds: int, starts: int, settle_s: float) -> dict[str, Any]:
    sizes = {FEW_NAME: FEW, f"{functions} functions": functions}
    with tempfile.TemporaryDirectory(prefix="stoke-registry-") as folder:
        stokes = {name: LocalStoke(Path(folder) / str(at)) for at, name in enumerate(sizes)}
        callers: dict[str, Caller] = {}
        try:
            filled_s = {}
            for name, stoke in stokes.items():
                stoke.__enter__()
                began_s = time.perf_counter()
                asyncio.run(fill(str(stoke.facts()["store"]), sizes[name]))
                filled_s[name] = time.perf_counter() - began_s
                callers[name] = Caller(stoke, sizes[name])
                callers[name].deploy_warm()
            asked = ask_all(callers, rounds)
            time.sleep(settle_s)
            found = {
                "functions": functions,
                "filled_s": filled_s,
                "latency": {question: each.told() for question, each in asked.items()},
                "memory_mib": {name: memory(stoke) for name, stoke in stokes.items()},
                "routes": {name: load_routes(str(stoke.facts()["store"])) for name, stoke in stokes.items()},
                "gateway_restart_s": restarts(callers, starts),
                "start_s": start_again(stokes, callers, starts),
            }
            time.sleep(settle_s)
            return found | {"memory_after_start_mib": {name: memory(stoke) for name, stoke in stokes.items()}}
        finally:
            for stoke in stokes.values():
                stoke.__exit__()


async def fill(store_url: str, functions: int) -> None:
    """Services of ten functions, each with a trigger, through the registry layer."""
    client: AsyncRedis = AsyncRedis.from_url(store_url)
    registry = RedisRegistry(client)
    free = asyncio.Semaphore(CHANGES_AT_ONCE_MAX)
    config = {"authType": "anonymous", "methods": ["GET", "POST"]}
    trigger = Trigger.model_validate({"triggerName": "http", "triggerType": "http", "triggerConfig": config})

    async def one(number: int) -> None:
        service, name = spread(number)
        new = Function.model_validate(
            {"serviceName": service, "functionName": name, "runtime": "custom", "handler": "none", "description": name}
        )
        async with free:
            await registry.create_function(new)
            await registry.create_trigger(service, name, trigger)

    for number in range(0, functions, PER_SERVICE):
        await registry.create_service(Service(service_name=spread(number)[0]))
    await asyncio.gather(*map(one, range(functions)))
    await client.aclose()


def ask_all(callers: dict[str, Caller], rounds: int) -> dict[str, Asked]:
    """Each question so many times, to one Stoke and then the other; a tenth as often where an answer is long."""
    asked = {}
    for question, ask, share in Caller.QUESTIONS:
        listed = {name: caller.listed(question) for name, caller in callers.items()}
        asked[question] = each = Asked(FEW_NAME, listed)
        for at in range(max(2, int(rounds * share) + 1)):
            for name in list(callers)[:: 1 if at % 2 else -1]:
                began_s = time.perf_counter()
                ask(callers[name], at)
                if at:  # the first one warms up
                    each.took(name, time.perf_counter() - began_s)
    return asked


def memory(stoke: LocalStoke) -> dict[str, float]:
    return {name: round(weight.pss_mib, 1) for name, weight in weigh(parts(stoke), apart=set()).items()}


def load_routes(store_url: str) -> dict[str, float]:
    """What a gateway does when it reads all routes: in this process, by its own code."""
    with Redis.from_url(store_url, decode_responses=True) as client:
        began_s = time.perf_counter()
        read: dict[str, str] = client.hgetall(ROUTES_KEY)
        read_s, routes = time.perf_counter() - began_s, Routes()
        began_s = time.process_time()
        for field, value in read.items():
            routes.put(field, decode(value))
        return {"routes": len(read), "read_s": read_s, "take_in_cpu_s": time.process_time() - began_s}


def restarts(callers: dict[str, Caller], times: int) -> dict[str, list[float]]:
    """From kill -9 of the gateway to the next answer of the warm function."""
    found: dict[str, list[float]] = {name: [] for name in callers}
    for _ in range(times):
        for name, caller in callers.items():
            old = parts(caller.stoke)["gateway"]
            os.kill(old, signal.SIGKILL)
            found[name].append(until(lambda c=caller: c.invoke(0)))  # type: ignore[misc]
    return found


def start_again(stokes: dict[str, LocalStoke], callers: dict[str, Caller], times: int) -> dict[str, Any]:
    """From `stoke up` to the first answer of the API, and to that of the warm function, whose instance starts too."""
    found: dict[str, dict[str, list[float]]] = {name: {"first_answer": [], "first_invocation": []} for name in stokes}
    for _ in range(times):
        for name, stoke in stokes.items():
            stoke.__exit__()
            began_s = time.perf_counter()
            stoke.__enter__()
            until(lambda c=callers[name]: c.get(0))  # type: ignore[misc]
            found[name]["first_answer"].append(time.perf_counter() - began_s)
            until(lambda c=callers[name]: c.invoke(0))  # type: ignore[misc]
            found[name]["first_invocation"].append(time.perf_counter() - began_s)
    return found


def until(ask: Callable[[], object]) -> float:
    """Ask until it is answered; gives the seconds."""
    began_s = time.perf_counter()
    while True:
        try:
            ask()
            return time.perf_counter() - began_s
        except (OSError, AssertionError):
            if time.perf_counter() - began_s > START_TIMEOUT_S:
                raise
            time.sleep(0.005)


def show(console: Console, found: dict[str, Any]) -> None:
    names = list(found["memory_mib"])
    table = Table(title="latency, ms", title_justify="left", show_edge=False)
    for head in ("question", *(f"{name}: {of}" for name in names for of in ("p50", "p99")), "ratio"):
        table.add_column(head, justify="left" if head == "question" else "right")
    for question, told in found["latency"].items():
        cells = [f"{told[name][of]:.2f}" for name in names for of in ("p50_ms", "p99_ms")]
        table.add_row(question, *cells, f"{told['ratio']:.2f}")
    console.print(table, "")
    for title, weighed in (("after the questions", "memory_mib"), ("after the last start", "memory_after_start_mib")):
        table = Table(title=f"PSS MiB, {title}", title_justify="left", show_edge=False)
        for head in ("part", *names):
            table.add_column(head, justify="left" if head == "part" else "right")
        for part in found[weighed][names[0]]:
            table.add_row(part, *(f"{found[weighed][name][part]:.1f}" for name in names))
        console.print(table, "")
    for what in ("filled_s", "routes", "gateway_restart_s", "start_s"):
        console.print(what, {name: _rounded(value) for name, value in found[what].items()})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 3)


if __name__ == "__main__":
    sys.exit(main())
