"""How soon a step from 1 to 8 requests at once is answered, on a Stoke of its own: decided, served by a new instance.

Then how long the way back to the minimum takes, and whether constant load leaves the decision as it is. Times are those
of the wall clock, from the moment at which the step's requests are sent: the control plane's own time of the decision,
and the arrival here of the first answer from an instance that was not there before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
from rich.console import Console

from control_plane.cli.endpoint import find_credentials
from control_plane.cli.signed import FcAuth
from loadtests.local import LocalStoke, StokeFailed
from loadtests.payload import trigger_path
from runtime.contract import HEADER_INSTANCE_ID

SERVICE: Final = "bench"
FUNCTION: Final = "reaction"
LOW: Final = 1
HIGH: Final = 8
TIMEOUT_S: Final = 60.0
LOOK_EVERY_S: Final = 0.1

# Holds its slot without using the processor, so that few cores carry eight instances.
HANDLER: Final = """
import time


def handler(environ, start_response):
    time.sleep(0.3)
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"done"]
"""
MANIFEST: Final = f"""
edition: 1.0.0
name: {FUNCTION}
access: default
services:
  {FUNCTION}:
    component: fc
    props:
      region: cn-local
      service: {{name: {SERVICE}}}
      function:
        name: {FUNCTION}
        runtime: python3.11
        codeUri: ./code
        handler: app.handler
        timeout: 30
        memorySize: 128
        instanceConcurrency: 1
      triggers:
        - name: http
          type: http
          config: {{authType: anonymous, methods: [GET]}}
"""
LEAST: Final = 2  # what 1 request at once comes to at a target of a half
POLICY: Final = {
    "name": "follow-the-requests",
    "metricType": "ProvisionedConcurrencyUtilization",
    "metricTarget": 0.5,
    "minCapacity": LEAST,
    "maxCapacity": 16,
}
DELAY_S: Final = 10  # before anything is taken back
HASTY: Final = {**POLICY, "stableWindowSeconds": DELAY_S}  # for the steps, so that the way back is a short one
# What is promised of a quiet machine.
DECIDED_S_MAX: Final = 0.3
FIRST_S_MAX: Final = 1.5


@dataclass(frozen=True, slots=True)
class Step:
    """One step up and back, in seconds."""

    decided_s: float
    first_answer_s: float
    back_s: float  # from the end of the load until there are `LEAST` again


@dataclass(slots=True)
class Load:
    """Clients that ask again as soon as they are answered."""

    url: str
    client: httpx.AsyncClient
    answered: dict[str, float] = field(default_factory=dict)  # instance id → UTC seconds of its first answer
    done: int = 0
    failures: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def add(self, clients: int) -> None:
        self.tasks += [asyncio.create_task(self._ask()) for _ in range(clients)]

    async def keep(self, clients: int) -> None:
        """Let the others go when they are answered."""
        going, self.tasks = self.tasks[clients:], self.tasks[:clients]
        for task in going:
            task.cancel("enough")
        await asyncio.gather(*going, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            # A client that is let go waits for its answer first: a broken connection would be one request less served.
            asked = asyncio.ensure_future(self.client.get(self.url))
            try:
                self._answered(await asyncio.shield(asked))
            except asyncio.CancelledError:
                self._answered(await asked)
                raise
            except httpx.HTTPError as error:
                self.failures.append(repr(error))

    def _answered(self, answer: httpx.Response) -> None:
        self.done += 1
        if answer.status_code != 200:
            self.failures.append(f"{answer.status_code} {answer.text}")
        self.answered.setdefault(answer.headers.get(HEADER_INSTANCE_ID, ""), time.time())


class Watch:
    """What the control plane says of the function."""

    def __init__(self, stoke: LocalStoke, client: httpx.AsyncClient) -> None:
        key = find_credentials(stoke.data, {})
        self._auth = None if key is None else FcAuth(key.access_key_id, key.access_key_secret)
        self._base = f"{stoke.endpoint}/stoke/v1"
        self._client = client

    async def _get(self, path: str, **query: str) -> Any:
        answer = await self._client.get(f"{self._base}/{path}", params=query, auth=self._auth)
        return answer.raise_for_status().json()

    async def instances(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self._get("instances", service=SERVICE, function=FUNCTION))["instances"]
        return rows

    async def targets(self, since_s: float) -> list[tuple[float, int]]:
        """Time and target of each decision that changed something since then, the oldest first."""
        found = await self._get("provision/explain", service=SERVICE, qualifier="LATEST", function=FUNCTION)
        told = [(one["at_s"], one["target"]) for one in found["decisions"] if one["at_s"] >= since_s]
        return sorted(told)

    async def until_least(self) -> None:
        """Wait until nothing but the minimum is there. Raises TimeoutError."""
        async with asyncio.timeout(TIMEOUT_S * 5):
            while True:
                if await self._is_least():
                    return
                await asyncio.sleep(LOOK_EVERY_S)

    async def _is_least(self) -> bool:
        rows = await self.instances()
        return len(rows) == LEAST and all(row["state"] == "READY" for row in rows)


async def one_step(load: Load, watch: Watch, hold_s: float) -> Step:
    """From LOW clients to HIGH, for `hold_s`, and back."""
    before = {row["instance_id"] for row in await watch.instances()}
    load.answered.clear()
    began_s = time.time()
    load.add(HIGH - LOW)
    await asyncio.sleep(hold_s)
    answered = [at_s for instance_id, at_s in load.answered.items() if instance_id not in before]
    decided = [at_s for at_s, target in await watch.targets(began_s) if target > LEAST]
    await load.keep(LOW)
    ended_s = time.time()
    await watch.until_least()
    if not answered or not decided:
        raise RuntimeError(f"no new instance answered, or nothing was decided, within {hold_s:g} s")
    return Step(min(decided) - began_s, min(answered) - began_s, time.time() - ended_s)


async def constant(load: Load, watch: Watch, seconds: float) -> list[int]:
    """Each target that differed from the one before, while HIGH clients went on asking; from the first second on."""
    began_s = time.time()
    load.add(HIGH - LOW)
    await asyncio.sleep(seconds)
    targets = [target for _, target in await watch.targets(began_s)]
    await load.keep(LOW)
    return [target for target, _ in groupby(targets)]


def turns(targets: Sequence[int]) -> int:
    """How often growth was followed by shrinking, or shrinking by growth."""
    moves = [after > before for before, after in pairwise(targets) if after != before]
    return sum(one != other for one, other in pairwise(moves))


async def measure(
    stoke: LocalStoke, folder: Path, repetitions: int, hold_s: float, constant_s: float, console: Console
) -> dict[str, Any]:
    """Everything, as JSON has it."""
    (folder / "code").mkdir()
    (folder / "code" / "app.py").write_text(HANDLER, encoding="utf-8")
    (folder / "s.yaml").write_text(MANIFEST, encoding="utf-8")
    stoke.stoke("deploy", "-t", str(folder / "s.yaml"), "-y")
    provision(stoke, folder, HASTY)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits, trust_env=False) as client:
        watch = Watch(stoke, client)
        await watch.until_least()
        load = Load(stoke.endpoint + trigger_path(SERVICE, FUNCTION), client)
        load.add(LOW)
        steps = []
        for number in range(repetitions):
            steps.append(await one_step(load, watch, hold_s))
            console.print(f"step {number + 1}: {show(steps[-1])}")
        await asyncio.to_thread(provision, stoke, folder, POLICY)
        targets = [] if constant_s <= 0.0 else await constant(load, watch, constant_s)
        await load.keep(0)
    middle = Step(*(median(values) for values in zip(*(asdict(step).values() for step in steps), strict=True)))
    return {
        "steps": [asdict(step) for step in steps],
        "median": asdict(middle),
        "constant_s": constant_s,
        "targets": targets,
        "direction_changes": turns(targets),
        "requests": load.done,
        "failures": load.failures,
    }


def provision(stoke: LocalStoke, folder: Path, policy: dict[str, Any]) -> None:
    """Put a config with this policy."""
    file = folder / "provision.json"
    file.write_text(json.dumps({"target": LOW, "targetTrackingPolicies": [policy]}), encoding="utf-8")
    stoke.stoke("provision", "put", "-t", str(folder / "s.yaml"), "--config", str(file))


def promises(found: dict[str, Any]) -> list[tuple[str, bool]]:
    """What is promised of a quiet machine, with what was measured (the worst of all steps), and whether it was kept."""
    decided_s, first_s = (max(step[name] for step in found["steps"]) for name in ("decided_s", "first_answer_s"))
    back_s = [step["back_s"] for step in found["steps"]]
    failed = len(found["failures"])
    told = [
        (f"decided within {DECIDED_S_MAX * 1e3:.0f} ms: {decided_s * 1e3:.0f} ms", decided_s <= DECIDED_S_MAX),
        (f"first answer of a new instance within {FIRST_S_MAX:g} s: {first_s:.2f} s", first_s <= FIRST_S_MAX),
        (f"back, and not before {DELAY_S:g} s: {min(back_s):.1f} to {max(back_s):.1f} s", min(back_s) >= DELAY_S),
        (f"no failed request: {failed} of {found['requests']}", not failed),
    ]
    if found["constant_s"] > 0.0:
        turned = found["direction_changes"]
        told.append((f"no change of direction in {found['constant_s']:g} s of constant load: {turned}", not turned))
    return told


def show(step: Step) -> str:
    decided = f"decided after {step.decided_s * 1e3:.0f} ms"
    return (
        f"{decided}, first answer of a new instance after {step.first_answer_s:.2f} s, back after {step.back_s:.1f} s"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.reaction", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5, help="steps (default: 5)")
    parser.add_argument("--hold-s", type=float, default=5.0, help="how long each step lasts (default: 5)")
    parser.add_argument("--constant-s", type=float, default=300.0, help="constant load after them (default: 300)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    options = parser.parse_args(arguments)
    if options.repetitions < 1:
        parser.error(f"--repetitions: {options.repetitions}; 1 or more are allowed")
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="stoke-reaction-") as name:
            folder = Path(name)
            with LocalStoke(folder / "data") as stoke:
                given = (options.repetitions, options.hold_s, options.constant_s)
                found = asyncio.run(measure(stoke, folder, *given, console))
    except (StokeFailed, RuntimeError, TimeoutError, httpx.HTTPError) as error:
        console.print(f"not measured: {error or type(error).__name__}", style="bold red", markup=False)
        return 1
    console.print(f"median: {show(Step(**found['median']))}")
    if found["constant_s"] > 0.0:
        turned, targets = found["direction_changes"], found["targets"]
        console.print(f"constant load for {found['constant_s']:g} s: {turned} changes of direction, targets {targets}")
    console.print(f"{found['requests']} requests, {len(found['failures'])} failed")
    for promise, is_kept in promises(found):
        console.print(f"{'kept' if is_kept else 'NOT KEPT'}: {promise}", highlight=False, soft_wrap=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if found["failures"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
