"""The whole path, gateway and one built-in instance, against nginx in front of uvicorn, Starlette and ONNX Runtime.

The same small model (the digits sample's), the same JSON in and out, one thread for inference: in a handler, and served
without code (`handler: digits.onnx`), each against Starlette with the same JSON; and KServe's Python model server with
nothing in front of it, with the same numbers in its own JSON. Everything that serves shares core 0; the load, and the
parts of Stoke that only look on, have core 1. Rounds are interleaved.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from loadtests.bench import kserve
from loadtests.bench.footprint import instance_pids, parts
from loadtests.bench.rivals import LOAD_CORE, PROXY_CORE, cpu_s, find_program, running, start_nginx, wait_for
from loadtests.bench.rounds import measure_and_write, median_of
from loadtests.bench.wire import Load, Seen, measure
from loadtests.local import LocalStoke

CONNECTIONS: Final = 32
MODEL: Final = Path(__file__).parents[2] / "functions" / "digits" / "digits.onnx"
BODY: Final = json.dumps({"ink": [[(7 * row + 3 * column) % 17 for column in range(8)] for row in range(8)]}).encode()
IMAGE: Final = [[[[(7 * row + 3 * column) % 17 for column in range(8)] for row in range(8)]]]
TENSOR_BODY: Final = json.dumps({"inputs": {"image": IMAGE}}).encode()
KSERVE_BODY: Final = json.dumps({"instances": IMAGE}).encode()
SERVICE, FUNCTION = "bench", "digits"
STOKE_MODEL, STARLETTE_MODEL, KSERVE = "stoke, model", "nginx, uvicorn, Starlette, tensors", "KServe"

# What both sides do with a body. The handler's is awaited in the instance's loop, as the other side's endpoint is.
_SHARED: Final = """
import json
import numpy as np

def answer(session, body):
    ink = np.asarray(json.loads(body)["ink"], dtype=np.float32).reshape(1, 1, 8, 8) / np.float32(16)
    (found,) = session.run(None, {"image": ink})
    return json.dumps({"digit": int(found[0].argmax()), "probabilities": [round(float(p), 6) for p in found[0]]})
"""
_TENSORS: Final = """
import json
import numpy as np

def answer(session, body):
    image = np.asarray(json.loads(body)["inputs"]["image"], dtype=np.float32)
    (found,) = session.run(None, {"image": image})
    return json.dumps({"outputs": {"probabilities": found.tolist()}})
"""
HANDLER: Final = (
    _SHARED
    + """
from pathlib import Path
from runtime.instance import load_session

session = load_session(Path(__file__).with_name("digits.onnx"), threads=1)

%s handler(event, context):
    body = answer(session, json.loads(event)["body"])
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": body}
"""
)
STARLETTE: Final = """
import sys
import onnxruntime, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])

async def predict(request):
    return Response(answer(session, await request.body()), media_type="application/json")

app = Starlette(routes=[Route("/{path:path}", predict, methods=["POST"])])
uvicorn.run(app, uds=sys.argv[2], loop="uvloop", http="httptools", log_level="warning", access_log=False)
"""


@dataclass(frozen=True, slots=True)
class Side:
    """One way to serve it: where it listens, what is asked, and whose processor time counts."""

    name: str
    port: int
    path: str
    pids: tuple[int, ...]
    body: bytes = BODY


@dataclass(frozen=True, slots=True)
class Round:
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_request: float


def main(arguments: list[str] | None = None) -> int:
    return measure_and_write("path", __doc__, run, arguments)


def run(rounds: int, seconds: float) -> dict[str, object]:
    """Measure. Without nginx, or KServe, their figures are missing, and the ratios to them are None."""
    load = Load.found()
    left_out = {KSERVE: kserve.why_not()} if kserve.why_not() else {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stoke-p-", ignore_cleanup_errors=True)))
        sides = [
            stack.enter_context(start_stoke(folder, "stoke", "async def", CONNECTIONS)),
            stack.enter_context(start_stoke(folder, "stoke, sync handler", "def", CONNECTIONS)),
            stack.enter_context(start_stoke(folder, STOKE_MODEL, "", CONNECTIONS)),
        ]
        nginx = find_program("nginx")
        if nginx is not None:
            sides.append(stack.enter_context(start_starlette(folder, nginx)))
            sides.append(stack.enter_context(start_starlette(folder, nginx, STARLETTE_MODEL)))
        if KSERVE not in left_out:
            port, pid = stack.enter_context(kserve.start_kserve(folder, MODEL))
            sides.append(Side(KSERVE, port, kserve.PATH, (pid,), KSERVE_BODY))
        for side in sides:
            measured_round(side, load, min(1.0, seconds))
        measured: dict[str, list[Round]] = {side.name: [] for side in sides}
        for _ in range(rounds):
            for side in sides:
                measured[side.name].append(measured_round(side, load, seconds))
    medians = {name: median_of(each) for name, each in measured.items()}
    other, other_model = medians.get("nginx, uvicorn, Starlette"), medians.get(STARLETTE_MODEL)
    stoke, model, lone = medians["stoke"], medians[STOKE_MODEL], medians.get(KSERVE)
    return {
        "load": load.name,
        "left_out": left_out,
        "connections": CONNECTIONS,
        "request_bytes": {"handler": len(BODY), "model": len(TENSOR_BODY)},
        "median": {name: dataclasses.asdict(each) for name, each in medians.items()},
        "rounds": {name: [dataclasses.asdict(each) for each in rounds] for name, rounds in measured.items()},
        "ratio_to_nginx_uvicorn": _ratio(stoke, other),
        "cpu_ratio_to_nginx_uvicorn": _cpu_ratio(stoke, other),
        "model_ratio_to_nginx_uvicorn": _ratio(model, other_model),
        "model_cpu_ratio_to_nginx_uvicorn": _cpu_ratio(model, other_model),
        "model_ratio_to_kserve": _ratio(model, lone),
        "model_cpu_ratio_to_kserve": _cpu_ratio(model, lone),
        "ratio_to_kserve": _ratio(stoke, lone),
        "cpu_ratio_to_kserve": _cpu_ratio(stoke, lone),
    }


def _ratio(ours: Round, theirs: Round | None) -> float | None:
    """How many times as many requests per second."""
    return None if theirs is None else round(ours.requests_per_s / theirs.requests_per_s, 3)


def _cpu_ratio(ours: Round, theirs: Round | None) -> float | None:
    """How many times the processor time that they need for a request."""
    return None if theirs is None else round(theirs.cpu_us_per_request / ours.cpu_us_per_request, 3)


def measured_round(side: Side, load: Load, seconds: float) -> Round:
    before_s = sum(map(cpu_s, side.pids))
    seen: Seen = measure(load, side.port, side.path, CONNECTIONS, seconds, LOAD_CORE, side.body)
    used_s = sum(map(cpu_s, side.pids)) - before_s
    if seen.failed:
        raise SystemExit(f"{seen.failed} of {seen.requests} requests through {side.name} failed: nothing to compare")
    return Round(seen.requests_per_s, seen.p50_ms, seen.p99_ms, 1e6 * used_s / max(seen.requests, 1))


@contextlib.contextmanager
def start_stoke(folder: Path, name: str, definition: str, concurrency: int) -> Iterator[Side]:
    """A Stoke with one provisioned instance; gateway and instance moved to the core that is measured.

    `definition` begins the handler's; without one the model itself is the handler.
    """
    home = folder / name.replace(" ", "-").replace(",", "")
    code = home / "code"
    code.mkdir(parents=True)
    if definition:
        (code / "index.py").write_text(HANDLER % definition)
    shutil.copy(MODEL, code)
    manifest = home / "s.yaml"
    manifest.write_text(yaml.safe_dump(_manifest(code, concurrency, "index.handler" if definition else MODEL.name)))
    with LocalStoke(home / "data") as stoke:
        stoke.stoke("deploy", "-t", str(manifest), "-y")
        names = ("--service-name", SERVICE, "--function-name", FUNCTION)
        stoke.stoke("provision", "put", "--target", "1", "-t", str(manifest), *names)
        instances = instance_pids(stoke, SERVICE, FUNCTION)
        pids = (parts(stoke)["gateway"], *instances.values())
        for pid in (*parts(stoke).values(), *pids):
            pin(pid, PROXY_CORE if pid in pids else LOAD_CORE)
        port = int(stoke.endpoint.rpartition(":")[2])
        yield Side(name, port, f"/2016-08-15/proxy/{SERVICE}/{FUNCTION}/", pids, BODY if definition else TENSOR_BODY)


@contextlib.contextmanager
def start_starlette(folder: Path, nginx: str, name: str = "nginx, uvicorn, Starlette") -> Iterator[Side]:
    serves_tensors = name == STARLETTE_MODEL
    folder = folder / ("tensors" if serves_tensors else "ink")
    folder.mkdir()
    script, backend = folder / "starlette_app.py", folder / "starlette.sock"
    script.write_text((_TENSORS if serves_tensors else _SHARED) + STARLETTE)
    with running([sys.executable, str(script), str(MODEL), str(backend)], PROXY_CORE) as process:
        wait_for(backend.exists, "uvicorn")
        with start_nginx(nginx, folder, backend) as proxy:
            body = TENSOR_BODY if serves_tensors else BODY
            yield Side(name, proxy.port, "/", (proxy.pid, process.pid), body)


def _manifest(code: Path, concurrency: int, handler: str) -> dict[str, object]:
    function = {
        "name": FUNCTION,
        "runtime": "python3.11",
        "codeUri": str(code),
        "handler": handler,
        "memorySize": 512,
        "timeout": 60,
        "instanceConcurrency": concurrency,
    }
    trigger = {"name": "http", "type": "http", "config": {"authType": "anonymous", "methods": ["POST"]}}
    props = {"region": "cn-local", "service": {"name": SERVICE}, "function": function, "triggers": [trigger]}
    return {"edition": "1.0.0", "name": "bench", "services": {FUNCTION: {"component": "fc", "props": props}}}


def pin(pid: int, core: int) -> None:
    """The process and the threads it has."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), [core])


if __name__ == "__main__":
    sys.exit(main())
