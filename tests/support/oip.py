"""Functions whose models tests/sdk's clients of the Open Inference Protocol ask, and how those are run."""

from __future__ import annotations

import os
import subprocess

import pytest

from loadtests import onnx_graph
from loadtests.onnx_graph import Node, Tensor
from tests.support.sdk import ROOT, SCRIPTS, python_of
from tests.support.stoke import Stoke

TIMEOUT_S = 120.0

_ADDER_YAML = """
name: adder
modelControl: explicit
batching: {maxBatchSize: 64}
outputs:
  - {name: OUTPUT0, labels: [l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, l10, l11, l12, l13, l14, l15]}
"""


_TEXTS_PBTXT = """
platform: "onnxruntime_onnx"
max_batch_size: 8
input { name: "in" data_type: TYPE_STRING dims: -1 }
output { name: "out" data_type: TYPE_STRING dims: -1 }
model_warmup { name: "zeros" inputs { key: "in" value { data_type: TYPE_STRING dims: 1 zero_data: true } } }
"""


def adder() -> dict[str, str | bytes]:
    """The sum and the difference of two rows of 16 integers, as Triton's own examples have them."""
    file, _ = onnx_graph.model(
        [Node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]), Node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"])],
        [Tensor(name, "int32", ["n", 16]) for name in ("INPUT0", "INPUT1")],
        [Tensor(name, "int32", ["n", 16]) for name in ("OUTPUT0", "OUTPUT1")],
    )
    return {"model.onnx": file, "model.yaml": _ADDER_YAML}


def texts() -> dict[str, str | bytes]:
    """Gives the texts it got; in a folder as Triton's repositories have them."""
    file, _ = onnx_graph.model(
        [Node("Identity", ["in"], ["out"])], [Tensor("in", "str", ["n", "m"])], [Tensor("out", "str", ["n", "m"])]
    )
    return {"texts/1/model.onnx": file, "texts/config.pbtxt": _TEXTS_PBTXT}


def deploy(stoke: Stoke) -> str:
    """`adder` and `texts`, one ready instance each. Gives what their names come behind, without a scheme."""
    stoke.deploy("adder", adder(), handler="./", instanceConcurrency=64)
    stoke.deploy("texts", texts(), handler="texts/", instanceConcurrency=8)
    for function in ("adder", "texts"):
        stoke.provision(function, 1)
    for function in ("adder", "texts"):
        stoke.await_current(function, 1)
    return stoke.trigger_url("").removeprefix("http://").rstrip("/")


def run(script: str, *arguments: str) -> list[str]:
    """What a script of tests/sdk prints; the test fails if it does."""
    done = subprocess.run(
        [str(python_of("oip")), str(SCRIPTS / script), *arguments], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout.splitlines()


def analyze(base: str, model: str, *options: str) -> str:
    """What perf_analyzer says of the function that has the name of its model. Skips the test where it cannot run."""
    folder = ROOT / ".venv-sdk" / "perf_analyzer"
    if not (folder / ".installed").exists():
        pytest.skip(f"{folder.relative_to(ROOT)} is missing: scripts/install-sdks makes it where it runs")
    command = [str(folder / "perf_analyzer"), "-m", model, "-u", f"{base}/{model}", *options]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout
