"""What dynamic batching leaves of a model's speed: requests through the gateway against the same session in a bare loop.

The loop runs batches of every size up to the connections, one after the other, with as many threads; its best size is
what counts. The requests have one row each. The load and the gateway are on core 1; the instance and the loop may use
both, as the loop's session does. Rounds are interleaved.

    python -m loadtests.bench.batching --json FILE [--model model.onnx] [--connections 32]

Without `--model` it is a perceptron of 33 MB with weights from a seed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import yaml

from loadtests.bench.footprint import parts
from loadtests.bench.path import pin
from loadtests.bench.rivals import LOAD_CORE
from loadtests.bench.wire import Load, measure
from loadtests.local import LocalStoke
from loadtests.onnx_graph import write_mlp
from runtime.models import warm_up
from runtime.models.batch_rules import powers_of_two
from runtime.models.session import Opened, SessionOptions, open_session
from runtime.models.spec import WarmUp

SERVICE, FUNCTION = "bench", "model"
WIDTH, LAYERS, INPUTS = 1024, 8, 64


@dataclass(frozen=True, slots=True)
class Round:
    """`loop_rows_per_s` by batch size. The two times are of one row, one at a time."""

    loop_rows_per_s: dict[int, float]
    requests_per_s: float
    loop_p50_ms: float
    request_p50_ms: float


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.batching", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--model", type=Path, help="an ONNX file with a free first axis")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each part of a round")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0 or options.connections < 1:
        parser.error("at least 1 round, 1 connection, above 0 s")
    with tempfile.TemporaryDirectory(prefix="stoke-b-", ignore_cleanup_errors=True) as folder:
        model = options.model or write_mlp(Path(folder) / "mlp.onnx", WIDTH, LAYERS, inputs=INPUTS)
        result = run(Path(folder), model, options.connections, options.rounds, options.seconds)
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return 0


def run(folder: Path, model: Path, connections: int, rounds: int, seconds: float) -> dict[str, Any]:
    load = Load.found()
    opened = open_session(model, SessionOptions(threads=1))
    row = warm_up.row(opened.inputs, WarmUp(), model.parent, has_batch_axis=True)
    body = json.dumps({"inputs": {name: array.tolist() for name, array in row.items()}}).encode()
    sizes = powers_of_two(connections)
    measured: list[Round] = []
    with start_model(folder, model, connections) as (port, path):
        for number in range(rounds + 1):  # the first warms up, and does not count
            span_s = seconds if number else min(1.0, seconds)
            loop = {size: rows_per_s(opened, row, size, span_s / len(sizes)) for size in sizes}
            many = measure(load, port, path, connections, span_s, LOAD_CORE, body)
            one = measure(load, port, path, 1, span_s / 2, LOAD_CORE, body)
            if many.failed or one.failed:
                raise SystemExit(f"{many.failed + one.failed} requests failed: nothing to compare")
            alone_ms = 1000 * p50_s(opened, row, span_s / 2)
            if number:
                measured.append(Round(loop, many.requests_per_s, alone_ms, one.p50_ms))
    best = {size: statistics.median(each.loop_rows_per_s[size] for each in measured) for size in sizes}
    requests_per_s = statistics.median(each.requests_per_s for each in measured)
    return {
        "model": model.name,
        "model_bytes": model.stat().st_size,
        "connections": connections,
        "request_bytes": len(body),
        "loop_rows_per_s": best,
        "requests_per_s": requests_per_s,
        "ratio_to_loop": round(requests_per_s / max(best.values()), 3),
        "loop_p50_ms": statistics.median(each.loop_p50_ms for each in measured),
        "request_p50_ms": statistics.median(each.request_p50_ms for each in measured),
        "added_p50_ms": round(statistics.median(each.request_p50_ms - each.loop_p50_ms for each in measured), 3),
        "rounds": [asdict(each) for each in measured],
    }


def rows_per_s(opened: Opened, row: dict[str, Any], size: int, seconds: float) -> float:
    """A bare loop with batches of one size."""
    inputs, outputs = warm_up.repeated(row, size), [spec.name for spec in opened.outputs]
    runs, began_s = 0, perf_counter()
    while perf_counter() < began_s + seconds or not runs:
        opened.runner.run(outputs, inputs)
        runs += 1
    return runs * size / (perf_counter() - began_s)


def p50_s(opened: Opened, row: dict[str, Any], seconds: float) -> float:
    """Of single rows in a bare loop."""
    outputs, took_s, began_s = [spec.name for spec in opened.outputs], [], perf_counter()
    while perf_counter() < began_s + seconds or not took_s:
        at_s = perf_counter()
        opened.runner.run(outputs, row)
        took_s.append(perf_counter() - at_s)
    return statistics.median(took_s)


@contextlib.contextmanager
def start_model(folder: Path, model: Path, concurrency: int) -> Iterator[tuple[int, str]]:
    """A Stoke with one provisioned instance of a function that is the model: its port, and the path of its trigger."""
    code = folder / "code"
    code.mkdir()
    shutil.copy(model, code / "model.onnx")
    function = {
        "name": FUNCTION,
        "runtime": "python3.11",
        "codeUri": str(code),
        "handler": "model.onnx",
        "memorySize": 2048,
        "timeout": 60,
        "instanceConcurrency": concurrency,
    }
    trigger = {"name": "http", "type": "http", "config": {"authType": "anonymous", "methods": ["POST"]}}
    props = {"region": "cn-local", "service": {"name": SERVICE}, "function": function, "triggers": [trigger]}
    manifest = folder / "s.yaml"
    services = {FUNCTION: {"component": "fc", "props": props}}
    manifest.write_text(yaml.safe_dump({"edition": "1.0.0", "name": "bench", "services": services}))
    with LocalStoke(folder / "data") as stoke:
        stoke.stoke("deploy", "-t", str(manifest), "-y")
        names = ("--service-name", SERVICE, "--function-name", FUNCTION)
        stoke.stoke("provision", "put", "--target", "1", "-t", str(manifest), *names)
        for pid in parts(stoke).values():
            pin(pid, LOAD_CORE)
        yield int(stoke.endpoint.rpartition(":")[2]), f"/2016-08-15/proxy/{SERVICE}/{FUNCTION}/"


if __name__ == "__main__":
    sys.exit(main())
