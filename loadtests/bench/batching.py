"""What dynamic batching leaves of a model's speed: requests through the gateway against its session in a bare loop.

The loop runs batches of every size up to the connections, one after the other, with as many threads. It is compared by
the batch sizes that the instance came to, as its log tells at its end, and by the loop's best size. The requests have
one row each. The load and the gateway are on core 1; the instance and the loop may use both, and each has a session of
one thread. Rounds are interleaved.
What one request at a time takes longer than a run is printed whole, with the load's own part. Beside it stands what the
same body takes through nginx to a server that reads it and answers at once: less than that no two hops can add.
The two `cpu_…` ratios compare the loop's processor time with the instance's: they hold on a busy machine, too.

    python -m loadtests.bench.batching --json FILE [--model mlp | resnet50 | FILE.onnx] [--binary] [--connections 32]

mlp is a perceptron of 30 MB, resnet50 the sample function with its model.yaml; the weights of both come from a seed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import httpx
import numpy as np
import yaml

from loadtests.bench.footprint import instance_pids, parts
from loadtests.bench.path import pin
from loadtests.bench.rivals import LOAD_CORE, PROXY_CORE, cpu_s, find_program, running, start_nginx, wait_for
from loadtests.bench.rounds import write
from loadtests.bench.wire import Load, Seen, measure
from loadtests.local import LocalStoke
from loadtests.onnx_graph import write_mlp
from runtime.models import warm_up
from runtime.models.batch_rules import powers_of_two
from runtime.models.session import Opened, SessionOptions, open_session
from runtime.models.spec import FILE_NAME, WarmUp

SERVICE, FUNCTION = "bench", "model"
WIDTH, LAYERS, INPUTS = 1024, 8, 64
RESNET50 = Path(__file__).parents[2] / "functions" / "resnet50"


@dataclass(frozen=True, slots=True)
class Round:
    """Of the loop by batch size. The two p50 are of one row, one at a time."""

    loop_rows_per_s: dict[int, float]
    loop_cpu_us_per_row: dict[int, float]
    requests_per_s: float
    cpu_us_per_request: float  # of the instance
    run_s: dict[int, tuple[int, float]]  # by batch size, of the instance: runs, and seconds in them
    loop_p50_ms: float
    request_p50_ms: float


@dataclass(frozen=True, slots=True)
class Asked:
    """One row, as a client sends it: below which path, with which header fields beside the usual ones."""

    path: str
    body: bytes
    headers: dict[str, str]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.batching", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--model", default="mlp", help="mlp, resnet50, or an ONNX file with a free first axis")
    parser.add_argument("--binary", action="store_true", help="tensors as bytes, by the Open Inference Protocol")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each part of a round")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0 or options.connections < 1:
        parser.error("at least 1 round, 1 connection, above 0 s")
    with tempfile.TemporaryDirectory(prefix="stoke-b-", ignore_cleanup_errors=True) as folder:
        model = found_model(options.model, Path(folder))
        result = run(Path(folder), model, options.connections, options.rounds, options.seconds, binary=options.binary)
    write(result, options.json)
    return 0


def found_model(name: str, folder: Path) -> Path:
    """The file of that name, or one that is made in the folder."""
    if name == "mlp":
        return write_mlp(folder / "mlp.onnx", WIDTH, LAYERS, inputs=INPUTS)
    if name == "resnet50":
        subprocess.run([sys.executable, str(RESNET50 / "make.py"), "--out", str(folder / "resnet50.onnx")], check=True)
        shutil.copy(RESNET50 / FILE_NAME, folder)
        return folder / "resnet50.onnx"
    return Path(name)


def run(
    folder: Path, model: Path, connections: int, rounds: int, seconds: float, *, binary: bool = False
) -> dict[str, Any]:
    load = Load.found()
    opened = open_session(model, SessionOptions(threads=1))
    row = warm_up.row(opened.inputs, WarmUp(), model.parent, has_batch_axis=True)
    sizes = powers_of_two(connections)
    measured: list[Round] = []
    singles = 0  # requests that came one at a time
    with start_model(folder, model, connections) as (port, path, pid):
        asked = as_bytes(row, statistics_of(port, path)["name"]) if binary else as_json(row)
        sides = Sides(load, opened, row, port, path, pid, asked)
        for number in range(rounds + 1):  # the first warms up, and does not count
            found, alone = sides.measured(sizes, connections, seconds if number else min(1.0, seconds))
            singles += alone
            measured += [found] if number else []
    batches = batches_in(folder / "data")
    batches[1] = batches.get(1, 0) - singles
    return {
        "model": model.name,
        "model_bytes": model.stat().st_size,
        "connections": connections,
        "request_bytes": len(asked.body),
        "nginx_p50_ms": _through_nginx_p50_ms(folder, load, asked, seconds),  # None: there is no nginx
        **summary(measured, batches),
    }


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared: the loop over a session in this process, and the instance that is asked over HTTP."""

    load: Load
    opened: Opened
    row: dict[str, Any]
    port: int
    path: str
    pid: int
    asked: Asked

    def measured(self, sizes: Sequence[int], connections: int, span_s: float) -> tuple[Round, int]:
        """One round, and how many of its requests came one at a time."""
        loop = {size: looped(self.opened, self.row, size, span_s / len(sizes)) for size in sizes}
        before_s, runs_before = cpu_s(self.pid), runs_so_far(self.port, self.path)
        many = self._asking(connections, span_s)
        used_s, runs = cpu_s(self.pid) - before_s, runs_so_far(self.port, self.path)
        run_s = {
            size: (count - before[0], in_s - before[1])
            for size, (count, in_s) in runs.items()
            if count > (before := runs_before.get(size, (0, 0.0)))[0]
        }
        one = self._asking(1, span_s / 2)
        if many.failed or one.failed:
            raise SystemExit(f"{many.failed + one.failed} requests failed: nothing to compare")
        found = Round(
            loop_rows_per_s={size: each[0] for size, each in loop.items()},
            loop_cpu_us_per_row={size: each[1] for size, each in loop.items()},
            requests_per_s=many.requests_per_s,
            cpu_us_per_request=1e6 * used_s / many.requests,
            run_s=run_s,
            loop_p50_ms=1000 * p50_s(self.opened, self.row, span_s / 2),
            request_p50_ms=one.p50_ms,
        )
        return found, one.requests

    def _asking(self, connections: int, span_s: float) -> Seen:
        path, asked = self.path + self.asked.path, self.asked
        return measure(self.load, self.port, path, connections, span_s, LOAD_CORE, asked.body, headers=asked.headers)


def summary(measured: Sequence[Round], batches: dict[int, int]) -> dict[str, Any]:
    """Medians, and the instance's ratios to the loop; `batches` is how often it has run a batch of which size. Pure."""
    sizes = measured[0].loop_rows_per_s.keys()
    rates = {size: statistics.median(each.loop_rows_per_s[size] for each in measured) for size in sizes}
    loop_us = {size: statistics.median(each.loop_cpu_us_per_row[size] for each in measured) for size in sizes}
    requests_per_s = statistics.median(each.requests_per_s for each in measured)
    request_us = statistics.median(each.cpu_us_per_request for each in measured)
    run_rows = sum(size * count for size, count in batches.items())
    run_ratios = [_run_ratio(each) for each in measured if each.run_s]  # one round may be shorter than a run
    # What the loop would take for the batches that the instance has run.
    same_s = _taken({size: size / rate for size, rate in rates.items()}, batches)
    same_us = _taken({size: size * us for size, us in loop_us.items()}, batches)
    return {
        "loop_rows_per_s": rates,
        "requests_per_s": requests_per_s,
        "loop_cpu_us_per_row": loop_us,
        "cpu_us_per_request": request_us,
        "cpu_ratio_to_loop": round(same_us / run_rows / request_us, 3),
        "cpu_ratio_to_best_loop": round(min(loop_us.values()) / request_us, 3),
        "batches": batches,
        "mean_batch": round(run_rows / sum(batches.values()), 2),
        "ratio_to_loop": round(requests_per_s / (run_rows / same_s), 3),
        # What of that the runs have, with their waits for the interpreter; the rest is the time between them.
        "run_ratio_to_loop": round(statistics.median(run_ratios), 3) if run_ratios else None,
        "ratio_to_best_loop": round(requests_per_s / max(rates.values()), 3),
        "loop_p50_ms": statistics.median(each.loop_p50_ms for each in measured),
        "request_p50_ms": statistics.median(each.request_p50_ms for each in measured),
        "added_p50_ms": round(statistics.median(each.request_p50_ms - each.loop_p50_ms for each in measured), 3),
        "rounds": [asdict(each) for each in measured],
    }


def _through_nginx_p50_ms(folder: Path, load: Load, asked: Asked, seconds: float) -> float | None:
    program, backend = find_program("nginx"), folder / "backend.sock"
    if program is None:
        return None
    more = "client_max_body_size 0; proxy_request_buffering off;"
    with (
        running([sys.executable, "-m", "loadtests.bench.wire", "backend", str(backend)], PROXY_CORE),
        start_nginx(program, folder, backend, more) as nginx,
    ):
        wait_for(backend.exists, "the backend")
        seen = measure(load, nginx.port, "/", 1, seconds, LOAD_CORE, asked.body, headers=asked.headers)
    return None if seen.failed else seen.p50_ms


def as_json(row: dict[str, Any]) -> Asked:
    return Asked("", json.dumps({"inputs": {name: array.tolist() for name, array in row.items()}}).encode(), {})


def as_bytes(row: dict[str, Any], model: str) -> Asked:
    """With the binary tensor extension: https://github.com/triton-inference-server/server (protocol, extensions)."""
    inputs = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": "FP32",
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in row.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"content-type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    body = head + b"".join(array.tobytes() for array in row.values())
    return Asked(f"v2/models/{model}/infer", body, headers)


def _run_ratio(one: Round) -> float:
    """What the loop takes for the instance's batches by what the instance's runs took."""
    loop_s = {size: size / rate for size, rate in one.loop_rows_per_s.items()}
    counts = {size: count for size, (count, _) in one.run_s.items()}
    return _taken(loop_s, counts) / sum(in_s for _, in_s in one.run_s.values())


def runs_so_far(port: int, path: str) -> dict[int, tuple[int, float]]:
    """By batch size: how many runs the instance has made, and the seconds they took, as its model's statistics tell."""
    found = {each["batch_size"]: each["compute_infer"] for each in statistics_of(port, path)["batch_stats"]}
    return {size: (int(infer["count"]), infer["ns"] / 1e9) for size, infer in found.items()}


def statistics_of(port: int, path: str) -> Any:
    """What the instance tells of its one model."""
    answer = httpx.get(f"http://127.0.0.1:{port}{path}v2/models/stats", trust_env=False, timeout=30.0)
    [model] = answer.raise_for_status().json()["model_stats"]
    return model


def _taken(by_size: dict[int, float], batches: dict[int, int]) -> float:
    """What so many batches take by what one of each measured size takes."""
    sizes = sorted(by_size)
    values = [by_size[size] for size in sizes]
    return sum(count * float(np.interp(size, sizes, values)) for size, count in batches.items())


def batches_in(data: Path) -> dict[int, int]:
    """How many batches of each size the instance has run, by its log."""
    for output in data.rglob("*"):
        if output.is_file() and output.suffix in ("", ".log", ".txt"):
            found = re.search(rb"model\.ended .* batches=\{(.*)\}", output.read_bytes())
            if found is not None:
                pairs = (pair.split(b":") for pair in found[1].split(b", "))
                return {int(size): int(count) for size, count in pairs}
    raise SystemExit("the instance's log does not tell of its batches")


def looped(opened: Opened, row: dict[str, Any], size: int, seconds: float) -> tuple[float, float]:
    """A bare loop with batches of one size: rows in a second, and microseconds of processor time for each."""
    inputs, outputs = warm_up.repeated(row, size), [spec.name for spec in opened.outputs]
    runs, began_s, cpu_began_s = 0, perf_counter(), process_time()
    while perf_counter() < began_s + seconds or not runs:
        opened.runner.run(outputs, inputs)
        runs += 1
    rows = runs * size
    return rows / (perf_counter() - began_s), 1e6 * (process_time() - cpu_began_s) / rows


def p50_s(opened: Opened, row: dict[str, Any], seconds: float) -> float:
    """Of single rows in a bare loop."""
    outputs, began_s = [spec.name for spec in opened.outputs], perf_counter()
    took_s: list[float] = []
    while perf_counter() < began_s + seconds or not took_s:
        at_s = perf_counter()
        opened.runner.run(outputs, row)
        took_s.append(perf_counter() - at_s)
    return statistics.median(took_s)


@contextlib.contextmanager
def start_model(folder: Path, model: Path, concurrency: int) -> Iterator[tuple[int, str, int]]:
    """A Stoke with one provisioned instance of a function that is the model: its port, the path of its trigger, and the
    instance's pid."""
    code = folder / "code"
    code.mkdir()
    shutil.copy(model, code)
    if model.with_name(FILE_NAME).is_file():
        shutil.copy(model.with_name(FILE_NAME), code)
    function = {
        "name": FUNCTION,
        "runtime": "python3.11",
        "codeUri": str(code),
        "handler": model.name,
        "cpu": 1,  # as many threads as the loop's session has
        "memorySize": 2048,
        "timeout": 60,
        "instanceConcurrency": concurrency,
    }
    trigger = {"name": "http", "type": "http", "config": {"authType": "anonymous", "methods": ["GET", "POST"]}}
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
        [pid] = instance_pids(stoke, SERVICE, FUNCTION).values()
        yield int(stoke.endpoint.rpartition(":")[2]), f"/2016-08-15/proxy/{SERVICE}/{FUNCTION}/", pid


if __name__ == "__main__":
    sys.exit(main())
