"""How long a launch takes: a fork of the node's zygote against a fresh interpreter, launched by the node too or bare.

All end when the function has answered its first request, so imports, the model and its first inference are in every
figure. The node's launches also have what a user waits for besides: the durable record, the ready pipe, /initialize;
the bare one is uvicorn on the same app, started by hand. Rounds are interleaved, so that what the machine does besides
weighs on all alike.

    python -m loadtests.bench.coldstart [--function functions/digits] [--handler app.app] [--rounds 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from runtime.contract import InstanceState
from runtime.node.client import NodeClient, NodeUnavailable
from runtime.node_contract import LaunchSpec

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_S: Final = 60.0
CODE: Final = "0" * 64
# The same code with an empty folder "numpy": a node takes that for a function with its own libraries, which cannot be
# forked. Python itself passes over a folder without a module in it, so nothing else differs.
UNFORKED: Final = "1" * 64
INITIALIZE: Final = {"x-fc-control-path": "/initialize"}
CHECK_PERIOD_S: Final = 0.0005  # how exactly the fresh interpreter's start is seen; it costs that one next to nothing

# What a plain deployment of the same function is: uvicorn on the app, with uvloop and httptools as ours has them.
BARE: Final = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
import uvicorn
module, _, attribute = sys.argv[2].rpartition(".")
app = getattr(importlib.import_module(module), attribute)
uvicorn.run(app, uds=sys.argv[3], loop="uvloop", http="httptools", log_level="warning", access_log=False)
"""


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds from the order to the first answer (the answer to /initialize, which runs the model once)."""

    function: str
    zygote_s: list[float]
    fresh_s: list[float]  # a fresh interpreter, launched by the node
    bare_s: list[float]  # uvicorn started by hand

    @property
    def zygote_median_s(self) -> float:
        return statistics.median(self.zygote_s)

    @property
    def fresh_median_s(self) -> float:
        return statistics.median(self.fresh_s)

    @property
    def bare_median_s(self) -> float:
        return statistics.median(self.bare_s)

    @property
    def times_faster(self) -> float:
        return self.fresh_median_s / self.zygote_median_s

    def to_dict(self) -> dict[str, Any]:
        medians = {
            "zygote_median_s": self.zygote_median_s,
            "fresh_median_s": self.fresh_median_s,
            "bare_median_s": self.bare_median_s,
            "times_faster": self.times_faster,
        }
        return {**asdict(self), **medians}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.coldstart", description=__doc__.splitlines()[0])
    parser.add_argument("--function", type=Path, default=ROOT / "functions" / "digits", help="the folder of its code")
    parser.add_argument("--handler", default="app.app", help="an ASGI app that answers POST /initialize")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the result here too")
    options = parser.parse_args()
    result = asyncio.run(measure(options.function, options.handler, options.rounds))
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result.to_dict(), indent=2) + "\n")


def table(result: Result) -> str:
    lines = [f"{result.function}, {len(result.zygote_s)} rounds, seconds to the first answer", ""]
    lines.append(f"{'':20}{'median':>9}{'fastest':>9}{'slowest':>9}")
    rows = (("zygote", result.zygote_s), ("fresh interpreter", result.fresh_s), ("bare uvicorn", result.bare_s))
    for name, seconds in rows:
        lines.append(f"{name:20}{statistics.median(seconds):9.3f}{min(seconds):9.3f}{max(seconds):9.3f}")
    lines += ["", f"the zygote is {result.times_faster:.1f} times faster"]
    return "\n".join(lines)


async def measure(function: Path, handler: str, rounds: int) -> Result:
    """Raises RuntimeError when a launch fails, with its reason."""
    with tempfile.TemporaryDirectory(prefix="stoke-") as folder:
        data = Path(folder)
        # Bytecode of the function is what neither side may have: deployed code comes without it.
        shutil.copytree(function, data / "code" / CODE, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(data / "code" / CODE, data / "code" / UNFORKED)
        (data / "code" / UNFORKED / "numpy").mkdir()
        async with serving_node(data) as client:
            await client.prepare("python3")
            result = Result(function.name, [], [], [])
            for counted in (False, *[True] * rounds):  # the first round fills the page cache
                zygote_s = await _launched(client, handler, CODE)
                fresh_s = await _launched(client, handler, UNFORKED)
                bare_s = await asyncio.to_thread(_bare, data, handler)
                if counted:
                    result.zygote_s.append(zygote_s)
                    result.fresh_s.append(fresh_s)
                    result.bare_s.append(bare_s)
            return result


async def _launched(client: NodeClient, handler: str, code_sha256: str) -> float:
    instance_id = f"c-{uuid.uuid4().hex[:12]}"
    spec = LaunchSpec(
        instance_id=instance_id,
        service="bench",
        function="coldstart",
        version="LATEST",
        revision="1",
        runtime="python3",
        handler=handler,
        code_sha256=code_sha256,
        initializer="true",
        initialization_timeout_s=TIMEOUT_S,
        import_before_fork=code_sha256 != UNFORKED,  # nor is there a zygote of its own
    )
    began_s = time.perf_counter()
    await client.launch(spec)
    async for status in client.watch():
        if status.instance_id == instance_id and status.state is InstanceState.READY:
            break
        if status.instance_id == instance_id and status.state is InstanceState.FAILED:
            raise RuntimeError(status.reason)
    took_s = time.perf_counter() - began_s
    await client.stop(instance_id, 0.0)
    return took_s


def _bare(data: Path, handler: str) -> float:
    code, socket = str(data / "code" / CODE), str(data / "bare.sock")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "ORT_DISABLE_TELEMETRY": "1"}  # as instances have them
    with httpx.Client(transport=httpx.HTTPTransport(uds=socket), timeout=TIMEOUT_S) as client:
        began_s = time.perf_counter()
        server = subprocess.Popen([sys.executable, "-c", BARE, code, handler, socket], env=environment)
        try:
            _until_initialized(client, server)
            return time.perf_counter() - began_s
        finally:
            server.kill()
            server.wait()
            Path(socket).unlink(missing_ok=True)


def _until_initialized(client: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        try:
            answer = client.post("http://instance/initialize", headers=INITIALIZE)
        except httpx.ConnectError:
            if server.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError("the bare server did not serve") from None
            time.sleep(CHECK_PERIOD_S)
        else:
            answer.raise_for_status()
            return


@asynccontextmanager
async def serving_node(data: Path) -> AsyncIterator[NodeClient]:
    """A node of its own, ended with its instances."""
    node = _start_node(data)
    client = NodeClient(data / "node.sock")
    try:
        await _until_it_serves(client)
        yield client
    finally:
        await client.shutdown(0.0)
        await client.close()
        node.send_signal(signal.SIGTERM)
        node.wait(TIMEOUT_S)


def _start_node(data: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "runtime.node", "--data", str(data), "--socket", str(data / "node.sock")]
    return subprocess.Popen(command, env={**os.environ, "STOKE_LOG_LEVEL": "ERROR"})


async def _until_it_serves(client: NodeClient) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                await client.hello()
            except NodeUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


if __name__ == "__main__":
    main()
