"""Models that cannot be served and requests that cannot be answered, through the gateway: what is wrong is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support import models
from tests.support.stoke import Stoke, eventually


@pytest.fixture(scope="module")
def stoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    folder = tmp_path_factory.mktemp("bad")
    with Stoke(folder / "d", "--listen", "127.0.0.1:0") as running:
        small = "name: doubles\ntensorMibMax: 0.001\n"
        file = models.sequences(folder / "model.onnx").read_bytes()
        running.deploy("doubles", {"model.onnx": file, "model.yaml": small}, handler="./", instanceConcurrency=4)
        yield running


def infer(**changes: Any) -> bytes:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0], **changes}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("", b'{"inputs": {"x": [1.0]}}', "input 'x' has the shape [1]: [-1, -1] is allowed"),
        ("", b'{"inputs": {"x": [["a"]]}}', "input 'x' has \"a\": numbers (FP32) are allowed"),
        ("", b'{"inputs": {"y": [[1.0]]}}', "input 'y' is not one of the model's: x are"),
        ("", b'{"inputs": {"x": [[1.0, NaN]]}}', "input 'x'[0][1] is NaN: JSON has no such number"),
        ("", b'{"inputs": {"x": [[1e39]]}}', "input 'x' has 1e+39: FP32 up to"),
        ("", b"[[1.0", "the body is not JSON"),
        (
            "",
            json.dumps({"inputs": {"x": [[0.5] * 300]}}).encode(),
            "has 1200 bytes: at most 1048 are allowed",
        ),
        ("v2/models/doubles/infer", infer(shape=[2]), "x"),
        ("v2/models/doubles/infer", infer(datatype="INT64"), "INT64"),
        ("v2/models/doubles/infer", infer(data=[1.0, float("nan")]), "NaN"),
        ("v2/models/doubles/infer", infer(shape=[1, 300], data=[0.5] * 300), "at most 1048 are allowed"),
    ],
)
def test_a_request_that_is_wrong_is_told_how_and_is_the_callers_fault(
    stoke: Stoke, path: str, body: bytes, message: str
) -> None:
    answer = httpx.post(stoke.trigger_url("doubles", path), content=body, timeout=30.0)
    assert answer.status_code == 400, answer.text
    assert message in answer.json()["error"]
    assert "x-fc-error-type" not in answer.headers


@pytest.mark.parametrize(
    ("files", "handler", "message"),
    [
        ({"model.onnx": b"no model"}, "model.onnx", "model 'model.onnx' is not an ONNX model"),
        ({"model.onnx": b""}, "model.onnx", "model 'model.onnx' is "),
        ({"model.yaml": "threads: none\n", "model.onnx": b"x"}, "./", "model.yaml: threads"),
        ({"a.txt": b"x"}, "model.onnx", "the code has no such file"),
    ],
)
def test_a_model_that_cannot_be_served_is_told_in_the_current_error(
    stoke: Stoke, files: dict[str, str | bytes], handler: str, message: str
) -> None:
    function = f"bad{len(handler)}{'-'.join(str(len(text)) for text in files.values())}"
    stoke.deploy(function, files, handler=handler)
    stoke.provision(function, 1)
    eventually(lambda: message in stoke.status(function)["currentError"], f"currentError says {message}")
    stoke.provision(function, 0)
