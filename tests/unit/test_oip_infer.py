"""Inferences that need no task: they are answered as all others are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from runtime.models.oip.api import OipApi, OipSettings
from runtime.models.routes import Answer, Request
from runtime.models.tensors import TensorSpec
from tests.support.fake_model import FakeModel, adder, echo

PATH = "/v2/models/simple/infer"
ROW = list(range(16))


def api(*models: FakeModel) -> OipApi:
    return OipApi(models, OipSettings(lambda: "1.2"))


def asked(datatype: str = "INT32", **more: Any) -> bytes:
    tensors = [{"name": n, "shape": [1, 16], "datatype": datatype, "data": ROW} for n in ("INPUT0", "INPUT1")]
    return json.dumps({"inputs": tensors, **more}).encode()


def binary(**more: Any) -> tuple[bytes, str]:
    data = np.array(ROW, np.int32).tobytes()
    tensors = [
        {"name": n, "shape": [1, 16], "datatype": "INT32", "parameters": {"binary_data_size": len(data)}}
        for n in ("INPUT0", "INPUT1")
    ]
    head = json.dumps({"inputs": tensors, **more}).encode()
    return head + 2 * data, str(len(head))


async def directly(model: FakeModel, path: str, body: bytes, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    direct = api(model).direct("POST", path, named)
    assert direct is not None
    answers: list[Answer | Exception] = []
    direct([body[:100], body[100:]] if len(body) > 100 else [body], answers.append)
    await model.run_waiting()
    [answer] = answers
    assert isinstance(answer, Answer)
    return answer


@pytest.mark.parametrize(
    ("path", "body", "length"),
    [
        (PATH, asked(), None),
        (PATH, asked(id="x", outputs=[{"name": "OUTPUT1"}]), None),
        (PATH, asked(outputs=[{"name": "OUTPUT0", "parameters": {"classification": 2}}]), None),
        (PATH, asked(parameters={"binary_data_output": True}), None),
        (PATH, *binary()),
        ("/v2/models/simple/versions/1/infer", *binary(parameters={"binary_data_output": True, "timeout": 60_000_000})),
        (PATH, asked("FP32"), None),
        (PATH, asked(parameters={"timeout": -1}), None),
        (PATH, asked(outputs=[{"name": "OUTPUT2"}]), None),
        (PATH, b"{", None),
        (PATH, b"{}", "3"),
        (PATH, b"", None),
        ("/v2/models/other/infer", asked(), None),
        ("/v2/models/simple/versions/2/infer", asked(), None),
    ],
)
async def test_a_direct_answer_is_that_of_the_handler(path: str, body: bytes, length: str | None) -> None:
    headers = {} if length is None else {"inference_header_content_length": length}
    found = await directly(adder(), path, body, **headers)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    wanted = await api(adder()).answer(Request("POST", path, "", named, [body]))
    assert (found.status, found.headers) == (wanted.status, wanted.headers)
    assert b"".join(map(bytes, found.body)) == b"".join(map(bytes, wanted.body))


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", PATH, {}),
        ("POST", "/v2/models/simple/generate", {}),
        ("POST", PATH, {"content-encoding": "gzip"}),
        ("POST", PATH, {"accept-encoding": "gzip"}),
    ],
)
async def test_what_is_no_inference_or_is_compressed_goes_to_the_handler(
    method: str, path: str, headers: dict[str, str]
) -> None:
    assert api(adder()).direct(method, path, headers) is None


async def test_a_request_whose_client_has_left_is_not_run() -> None:
    model = adder()
    direct = api(model).direct("POST", PATH, {})
    assert direct is not None
    answers: list[Any] = []
    cancel = direct([asked()], answers.append)
    cancel()
    await model.run_waiting()
    assert (model.seen, answers) == ([], [])


async def test_a_request_that_waits_longer_than_its_timeout_is_refused_once_and_not_run() -> None:
    model = adder()
    direct = api(model).direct("POST", PATH, {})
    assert direct is not None
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    direct([asked(parameters={"timeout": 1})], answered.set_result)
    answer = await asyncio.wait_for(answered, 5.0)
    assert (answer.status, json.loads(answer.body[0])) == (503, {"error": "Request timeout expired"})
    await model.run_waiting()
    assert model.seen == []


@pytest.mark.parametrize("timeout_us", [2**63, pytest.param(10**400, id="400 digits")])
async def test_a_timeout_may_be_longer_than_any_clock(timeout_us: int) -> None:
    model = adder()
    direct = api(model).direct("POST", PATH, {})
    assert direct is not None
    answers: list[Any] = []
    direct([asked(parameters={"timeout": timeout_us})], answers.append)
    await model.run_waiting()
    assert [answer.status for answer in answers] == [200]


async def test_a_model_that_is_not_loaded_is_asked_again_with_the_next_request() -> None:
    model = adder()
    direct = api(model).direct("POST", PATH, {})
    assert direct is not None
    answers: list[Any] = []
    await model.unload()
    direct([asked()], answers.append)
    await model.load()
    direct([asked()], answers.append)
    await model.run_waiting()
    assert [answer.status for answer in answers] == [404, 200]


async def test_an_answer_that_cannot_be_made_fails_its_request_and_not_the_batch() -> None:
    model = echo("FP32", (-1,))
    model.outputs = (TensorSpec("nobody", "FP32", (-1,)),)
    direct = api(model).direct("POST", "/v2/models/echo/infer", {})
    assert direct is not None
    answers: list[Any] = []
    one = {"name": "in", "shape": [1], "datatype": "FP32", "data": [1.0]}
    direct([json.dumps({"inputs": [one]}).encode()], answers.append)
    [job] = model.waiting
    job.results = {}
    job.done(job)
    assert [type(answer) for answer in answers] == [KeyError]
