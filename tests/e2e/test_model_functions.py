"""Functions whose handler names a model, as real instances of a real node."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.contract import InstanceState
from runtime.node_contract import InstanceStatus, LaunchSpec
from tests.support import models
from tests.support.node import HTTP, INVOKE, NodeProcess, eventually, http, spec

FAILED, READY = InstanceState.FAILED, InstanceState.READY


def model_function(
    node: NodeProcess, handler: str, write: Callable[[Path], Any] | None = models.picks, said: str = "", **more: Any
) -> LaunchSpec:
    """`write` makes the model file picks/model.onnx of its code."""
    digest = node.put_code({"picks/model.yaml": said, "which.txt": f"{handler} {write} {said}"})
    folder = node.data / "code" / digest / "picks"
    if not said:
        (folder / "model.yaml").unlink()
    if write is not None:
        write(folder / "model.onnx")
    values = {"runtime": "python3.11", "handler": handler, "code_sha256": digest, "instance_concurrency": 8}
    return spec(**{**values, **more})


async def reason(node: NodeProcess, function: LaunchSpec) -> str:
    return (await node.launched(function, FAILED)).reason


def anonymous_kib(status: InstanceStatus) -> int:
    found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{status.pid}/status").read_text())
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("handler", ["picks/model.onnx", "picks/", "picks/model.yaml"])
async def test_a_handler_that_names_a_model_is_served_without_code(node: NodeProcess, handler: str) -> None:
    said = "name: picks\nversion: 2\n"
    status = await node.launched(model_function(node, handler, said=said))
    async with http(status.address) as client:
        for path in ("/", "/predict"):
            answer = await client.post(path, json={"inputs": {"row": [2, 0]}}, headers=HTTP)
            assert (answer.status_code, answer.json()) == (200, {"outputs": {"values": [[3.0, 30.0], [1.0, 10.0]]}})
        for path in ("/v1/models/picks:predict", "/v1/models/picks/versions/2:predict"):
            answer = await client.post(path, json={"instances": [{"row": 1}]}, headers=HTTP)
            assert (answer.status_code, answer.json()) == (200, {"predictions": [[2.0, 20.0]]})
        answer = await client.post("/invoke", json={"inputs": [1]}, headers=INVOKE)
        assert answer.json() == {"outputs": {"values": [[2.0, 20.0]]}}
        prefixed = {**HTTP, "x-fc-base-path": "/2016-08-15/proxy/s/f"}
        answer = await client.post("/2016-08-15/proxy/s/f/predict", json={"inputs": [1]}, headers=prefixed)
        assert answer.status_code == 200


async def test_requests_that_are_wrong_get_an_error_that_says_how(node: NodeProcess) -> None:
    status = await node.launched(model_function(node, "picks/model.onnx"))
    async with http(status.address) as client:
        for method, path, body, code, message in (
            ("POST", "/", b'{"inputs": {"row": [[0]]}}', 400, "input 'row' has the shape [1, 1]: [-1] is allowed"),
            ("POST", "/", b'{"inputs": {"row": [NaN]}}', 400, "input 'row'[0] is NaN"),
            ("POST", "/", b'{"inputs": {"row": [7]}}', 500, "the model failed: "),
            ("POST", "/other", b"{}", 404, "path /other: /, /predict, "),
            ("GET", "/predict", b"", 405, "method GET: POST is allowed"),
        ):
            answer = await client.request(method, path, content=body, headers=HTTP)
            assert (answer.status_code, message in answer.json()["error"]) == (code, True), answer.text
            assert ("x-fc-error-type" in answer.headers) is (code == 500)


async def test_bf16_is_numbers_in_plain_json_and_bits_as_binary_data(node: NodeProcess) -> None:
    status = await node.launched(model_function(node, "picks/model.onnx", models.bfloats))
    asked = {
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "BF16", "parameters": {"binary_data_size": 4}}],
        "outputs": [
            {"name": "y", "parameters": {"binary_data": True}},
            {"name": "y", "parameters": {"classification": 1}},
        ],
    }
    head = json.dumps(asked).encode()
    async with http(status.address) as client:
        answer = await client.post("/", json={"inputs": {"x": [[1.0, -2.003]]}}, headers=HTTP)
        assert answer.json() == {"outputs": {"y": [[2.0, -4.0]], "z": [[2.0, -4.0]]}}
        refused = await client.post("/", json={"inputs": {"x": [[1.0, 3.4e38]]}}, headers=HTTP)
        assert refused.json()["error"].endswith("has 3.4e+38: BF16 up to 3.38953e+38 is allowed")
        headers = {**HTTP, "inference-header-content-length": str(len(head))}
        bits = np.array([0x3F80, 0xC000], "<u2").tobytes()
        answer = await client.post("/v2/models/model/infer", content=head + bits, headers=headers)
        assert answer.status_code == 200, answer.text
        length = int(answer.headers["inference-header-content-length"])
        assert answer.content[length:] == np.array([0x4000, 0xC080], "<u2").tobytes()
        assert json.loads(answer.content[:length])["outputs"][1]["data"] == ["2.000000:0"]


async def test_requests_at_the_same_time_are_answered_each_with_its_own(node: NodeProcess) -> None:
    status = await node.launched(model_function(node, "picks/model.onnx"))
    async with http(status.address) as client:
        rows = [number % 3 for number in range(32)]
        asked = [client.post("/", json={"inputs": {"row": [row]}}, headers=HTTP) for row in rows]
        answers = await asyncio.gather(*asked)
    assert [answer.json()["outputs"]["values"] for answer in answers] == [[models.ROWS[row].tolist()] for row in rows]


async def test_what_a_request_left_in_the_log_is_told_to_who_asks(node: NodeProcess) -> None:
    status = await node.launched(model_function(node, "picks/model.onnx"))
    marks = "FC Invoke Start RequestId: r-1\nFC Invoke End RequestId: r-1\n"
    async with http(status.address) as client:
        answer = await client.post("/invoke", json={"inputs": [1]}, headers={**INVOKE, "x-fc-log-type": "Tail"})
    assert base64.b64decode(answer.headers["x-fc-log-result"]).decode() == marks
    async with asyncio.timeout(20):
        while marks not in await node.output(status.instance_id):
            await asyncio.sleep(0.01)


async def test_with_an_initializer_the_model_is_warmed_up_by_it_and_before_without(node: NodeProcess) -> None:
    with_hook = await node.launched(model_function(node, "picks/model.onnx", initializer="true"))
    assert "FC Initialize Start" in await node.output(with_hook.instance_id)
    async with http(with_hook.address) as client:
        assert (await client.post("/", json={"inputs": [1]}, headers=HTTP)).status_code == 200
    without = await node.launched(model_function(node, "picks/model.onnx"))
    assert "FC Initialize Start" not in await node.output(without.instance_id)
    async with http(without.address) as client:
        assert (await client.post("/", json={"inputs": [1]}, headers=HTTP)).status_code == 200


@pytest.mark.parametrize(
    ("handler", "write", "more", "message"),
    [
        ("picks/model.onnx", lambda f: f.write_text("text"), {}, "model 'model.onnx' is not an ONNX model: "),
        ("picks/model.onnx", None, {}, "handler 'picks/model.onnx': the code has no such file"),
        (
            "picks/",
            models.picks,
            {"said": "threads: 0"},
            "model.yaml: threads is 0: int >= 1 is allowed",
        ),
        (
            "picks/",
            lambda file: models.write_mlp(file, 512, 2),
            {"gpu_memory_mib": 1},
            "model 'model.onnx' has 2 MiB of weights, gpuMemorySize is 1",
        ),
        (
            "picks/",
            models.picks,
            {"said": "warmUp: {inputs: {row: {value: 7}}}"},
            "the model failed in its warm-up, on row [1]: ",
        ),
    ],
)
async def test_a_model_that_cannot_be_served_is_why_its_instance_failed(
    node: NodeProcess, handler: str, write: Any, more: dict[str, Any], message: str
) -> None:
    assert message in await reason(node, model_function(node, handler, write, **more))


async def test_a_warm_up_that_fails_in_the_initializer_is_why_the_instance_failed(node: NodeProcess) -> None:
    said = "warmUp: {inputs: {row: {value: 7}}}"
    function = model_function(node, "picks/", said=said, initializer="true")
    assert "the model failed in its warm-up" in await reason(node, function)


async def test_an_idle_model_gives_its_memory_back_and_answers_again(node: NodeProcess) -> None:
    function = model_function(node, "picks/", lambda file: models.write_mlp(file, 1024, 8), "idleSeconds: 0.3\n")
    status = await node.launched(function)
    body = {"inputs": {"x": [[1.0] * 1024]}}
    async with http(status.address) as client:
        first = (await client.post("/", json=body, headers=HTTP)).json()
        awake_kib = anonymous_kib(status)
        await eventually(lambda: anonymous_kib(status) < awake_kib - 24 * 1024, "24 MiB of 32 are given back")
        again = (await client.post("/", json=body, headers=HTTP)).json()
    assert again == first
    assert "is asleep" in await node.output(status.instance_id)


async def test_what_serves_models_is_not_there_for_functions_that_bring_their_own(node: NodeProcess) -> None:
    source = {
        "app.py": "import msgspec, pydantic\ndef handler(event, context):\n    return [msgspec.mine, pydantic.mine]\n"
    }
    own = {f"{name}.py": "mine = True\n" for name in ("msgspec", "pydantic")}
    status = await node.launched(node.python({**source, **own}))
    async with http(status.address) as client:
        assert (await client.post("/invoke", content=b"", headers=INVOKE)).json() == [True, True]
