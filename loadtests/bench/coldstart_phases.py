"""Where a cold start goes: until the function's module is imported, the import, the session, the first run, the rest.

The function is launched by a node in three ways, in turn: forked from its own zygote, which has imported it; forked
from the plain zygote; in a fresh interpreter. A probe in front of it notes when what began, by the wall clock of the
machine. Times of one launch add up to what the node took from the order to READY.

    python -m loadtests.bench.coldstart_phases [--functions digits spam_detection mlp] [--rounds 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import httpx

from loadtests.bench.coldstart import ROOT, TIMEOUT_S, serving_node
from loadtests.onnx_graph import write_mlp
from runtime.contract import InstanceState
from runtime.node.client import NodeClient
from runtime.node_contract import InstanceStatus, LaunchSpec

WAYS: Final = ("function's zygote", "plain zygote", "fresh interpreter")
PHASES: Final = ("start_s", "import_s", "session_s", "first_run_s", "rest_s")
# 32 MiB of weights: 8 layers of 1024 by 1024, and one of 1024 by 10.
MLP_WIDTH: Final = 1024
MLP_LAYERS: Final = 8

PROBE: Final = """
import os, time
NOTED = {"import_begin": time.time(), "pid": os.getpid(), "session_s": 0.0, "first_run_s": 0.0}
import onnxruntime

class Timed(onnxruntime.InferenceSession):
    def __init__(self, *arguments, **more):
        began = time.perf_counter()
        super().__init__(*arguments, **more)
        NOTED["session_s"] += time.perf_counter() - began

    def run(self, *arguments, **more):
        began = time.perf_counter()
        answer = super().run(*arguments, **more)
        NOTED["first_run_s"] = NOTED["first_run_s"] or time.perf_counter() - began
        return answer

onnxruntime.InferenceSession = Timed
from app import app
NOTED["import_end"] = time.time()

async def probed(scope, receive, send):
    if scope.get("path") == "/probe":
        import json
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(NOTED | {"own_pid": os.getpid()}).encode()})
        return
    if scope["type"] == "http":
        NOTED.setdefault("first_request", time.time())
    await app(scope, receive, send)
"""

MLP_APP: Final = """
import numpy as np
from runtime.instance import load_session

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError("this app has no lifespan")
    session = load_session("mlp.onnx")
    session.run(None, {"x": np.zeros((1, 1024), np.float32)})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""


@dataclass(frozen=True, slots=True)
class Launch:
    """Seconds of one launch, in the order in which they pass."""

    start_s: float  # from the order to the function's first line, or to its initializer if it was imported already
    import_s: float
    session_s: float
    first_run_s: float
    rest_s: float  # listening, /initialize besides the model, and the news of it

    @property
    def total_s(self) -> float:
        return self.start_s + self.import_s + self.session_s + self.first_run_s + self.rest_s

    @property
    def ratio(self) -> float:
        """To what no launch can save: the session and its first run, as measured in this very process."""
        return self.total_s / (self.session_s + self.first_run_s)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench.coldstart_phases", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--functions", nargs="+", default=["digits", "spam_detection", "mlp"], help="of functions/, or mlp"
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the result here too")
    options = parser.parse_args()
    found = {name: asyncio.run(measure(name, options.rounds)) for name in options.functions}
    print("\n\n".join(table(name, launches) for name, launches in found.items()))
    if options.json:
        plain = {
            name: {way: [asdict(launch) | {"ratio": launch.ratio} for launch in many] for way, many in launches.items()}
            for name, launches in found.items()
        }
        options.json.write_text(json.dumps(plain, indent=2) + "\n")


def table(name: str, launches: dict[str, list[Launch]]) -> str:
    rounds = len(next(iter(launches.values())))
    lines = [f"{name}, {rounds} rounds, medians in milliseconds", ""]
    lines.append(f"{'':20}" + "".join(f"{phase.removesuffix('_s').replace('_', ' '):>11}" for phase in PHASES))
    lines[-1] += f"{'total':>11}{'÷ model':>11}"
    for way, many in launches.items():
        values = [statistics.median(getattr(launch, phase) for launch in many) for phase in PHASES]
        values.append(statistics.median(launch.total_s for launch in many))
        ratio = statistics.median(launch.ratio for launch in many)
        lines.append(f"{way:20}" + "".join(f"{value * 1000:11.1f}" for value in values) + f"{ratio:11.2f}")
    return "\n".join(lines)


async def measure(function: str, rounds: int) -> dict[str, list[Launch]]:
    """Raises RuntimeError when a launch fails, with its reason."""
    with tempfile.TemporaryDirectory(prefix="stoke-") as folder:
        data = Path(folder)
        plain, fresh = _put_code(function, data)
        async with serving_node(data) as client:
            await client.prepare("python3")
            await _make_zygote(client, function, plain)
            found: dict[str, list[Launch]] = {way: [] for way in WAYS}
            specs = (_spec(function, plain), _spec(function, plain, forks=False), _spec(function, fresh, forks=False))
            for counted in (False, *[True] * rounds):  # the first round fills the page cache
                for way, spec in zip(WAYS, specs, strict=True):
                    launch = await _launched(client, spec, is_imported=way == WAYS[0])
                    if counted:
                        found[way].append(launch)
            return found


def _put_code(function: str, data: Path) -> tuple[str, str]:
    """The function with the probe, as the code store has it; and the same with an empty folder "numpy", which a node
    takes for a function with its own libraries and so does not fork."""
    names = tuple(sha256(f"{function} {way}".encode()).hexdigest() for way in ("plain", "fresh"))
    for name in names:
        code = data / "code" / name
        if function == "mlp":
            code.mkdir(parents=True)
            (code / "app.py").write_text(MLP_APP)
            write_mlp(code / "mlp.onnx", MLP_WIDTH, MLP_LAYERS)
        else:
            shutil.copytree(ROOT / "functions" / function, code, ignore=shutil.ignore_patterns("__pycache__"))
        (code / "probe.py").write_text(PROBE)
    (data / "code" / names[1] / "numpy").mkdir()
    return names[0], names[1]


def _spec(function: str, code_sha256: str, *, forks: bool = True) -> LaunchSpec:
    return LaunchSpec(
        instance_id=f"c-{uuid.uuid4().hex[:12]}",
        service="bench",
        function=function,
        version="LATEST",
        revision="1",
        runtime="python3",
        handler="probe.probed",
        code_sha256=code_sha256,
        initializer="true",
        initialization_timeout_s=TIMEOUT_S,
        memory_mib=2048,
        import_before_fork=forks,
    )


async def _make_zygote(client: NodeClient, function: str, code_sha256: str) -> None:
    await _launched(client, _spec(function, code_sha256), is_imported=False)
    async with asyncio.timeout(TIMEOUT_S):
        while not (made := await client.zygotes()):  # noqa: ASYNC110 - the node tells of them when asked
            await asyncio.sleep(0.01)
    if made[0]["refused"]:
        raise RuntimeError(f"{function} has no zygote: {made[0]['refused']}")


async def _launched(client: NodeClient, like: LaunchSpec, *, is_imported: bool) -> Launch:
    spec = LaunchSpec(**{**asdict(like), "instance_id": f"c-{uuid.uuid4().hex[:12]}"})
    began_s = time.time()
    await client.launch(spec)
    status = await _until(client, spec.instance_id, InstanceState.READY)
    total_s = time.time() - began_s
    noted = await _noted(status)
    await client.stop(spec.instance_id, 0.0)
    await _until(client, spec.instance_id, InstanceState.STOPPED)  # the node has nothing left to do for it
    if (noted["pid"] != noted["own_pid"]) != is_imported:
        raise RuntimeError(f"instance {spec.instance_id} did not start as it was to")
    imported_s = 0.0 if is_imported else noted["import_end"] - noted["import_begin"]
    start_s = (noted["first_request"] if is_imported else noted["import_begin"]) - began_s
    session_s, first_run_s = noted["session_s"], noted["first_run_s"]
    rest_s = total_s - start_s - imported_s - session_s - first_run_s
    return Launch(start_s, imported_s, session_s, first_run_s, rest_s)


async def _until(client: NodeClient, instance_id: str, state: InstanceState) -> InstanceStatus:
    async for status in client.watch():
        if status.instance_id == instance_id and status.state is state:
            return status
        if status.instance_id == instance_id and status.state is InstanceState.FAILED:
            raise RuntimeError(status.reason)
    raise RuntimeError("the node has gone away")


async def _noted(status: InstanceStatus) -> dict[str, Any]:
    transport = httpx.AsyncHTTPTransport(uds=status.address.removeprefix("unix:"))
    async with httpx.AsyncClient(transport=transport, timeout=TIMEOUT_S) as client:
        noted: dict[str, Any] = (await client.get("http://instance/probe")).json()
        return noted


if __name__ == "__main__":
    main()
