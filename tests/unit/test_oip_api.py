"""The Open Inference Protocol's paths over written models: what each answers, and how it refuses."""

from __future__ import annotations

import gzip
import json
import logging
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from runtime.models.errors import InferenceFailed, ModelUnavailable
from runtime.models.oip.api import OipApi, OipSettings
from runtime.models.oip.binary import objects
from runtime.models.routes import Answer, Request
from runtime.models.tensors import TensorSpec
from tests.support.fake_model import FakeModel, adder, constant, echo

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROW = list(range(16))


class Client:
    def __init__(self, *models: FakeModel, may_unload: bool = True) -> None:
        self.api = OipApi(models, OipSettings(lambda: "1.2", may_unload=may_unload))

    async def ask(self, method: str, path: str, body: Any = b"", **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.api.answer(Request(method, path, "", named, [raw] if raw else []))

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer
        return said(answer)

    async def post(self, path: str, body: Any = b"", **headers: str) -> Any:
        answer = await self.ask("POST", path, body, **headers)
        assert answer.status == 200, answer
        return said(answer) if answer.body else None

    async def refusal(self, method: str, path: str, body: Any = b"") -> tuple[int, str]:
        answer = await self.ask(method, path, body)
        assert answer.headers[0] == ("content-type", "application/json")
        (error,) = said(answer).items()
        assert error[0] == "error"
        return answer.status, error[1]


def whole(answer: Answer) -> bytes:
    return b"".join(map(bytes, answer.body))


def said(answer: Answer) -> Any:
    return json.loads(whole(answer))


def two_rows(rows: int = 1, **more: Any) -> dict[str, Any]:
    tensors = [
        {"name": name, "shape": [rows, 16], "datatype": "INT32", "data": ROW * rows} for name in ("INPUT0", "INPUT1")
    ]
    return {"inputs": tensors, **more}


@pytest.fixture
def simple() -> Client:
    return Client(adder())


# -- the server and its models -----------------------------------------------------------------------------------------


async def test_health_is_said_in_json_as_kserves_client_needs_it(simple: Client) -> None:
    assert await simple.get("/v2/health/live") == {"live": True}
    assert await simple.get("/v2/health/ready") == {"ready": True}


async def test_a_server_whose_model_is_not_ready_is_alive_and_not_ready() -> None:
    model = adder()
    await model.unload()
    client = Client(model)
    assert await client.get("/v2/health/live") == {"live": True}
    answer = await client.ask("GET", "/v2/health/ready")
    assert (answer.status, said(answer)) == (400, {"ready": False})


async def test_the_server_says_only_extensions_that_it_has(simple: Client) -> None:
    metadata = await simple.get("/v2")
    assert (metadata["name"], metadata["version"]) == ("stoke", "1.2")
    assert {"classification", "binary_tensor_data", "statistics", "model_repository"} <= set(metadata["extensions"])
    assert not {"system_shared_memory", "cuda_shared_memory", "sequence", "trace"} & set(metadata["extensions"])


@pytest.mark.parametrize("path", ["/v2/models/simple", "/v2/models/simple/versions/1"])
async def test_a_models_metadata_has_its_tensors_with_the_batch_axis(simple: Client, path: str) -> None:
    metadata = await simple.get(path)
    assert metadata["inputs"][0] == {"name": "INPUT0", "datatype": "INT32", "shape": [-1, 16]}
    assert [output["name"] for output in metadata["outputs"]] == ["OUTPUT0", "OUTPUT1"]
    assert (metadata["versions"], metadata["platform"]) == (["1"], "onnxruntime_onnx")


async def test_a_models_config_has_its_dims_without_the_batch_axis(simple: Client) -> None:
    config = await simple.get("/v2/models/simple/config")
    assert config["max_batch_size"] == 8
    assert (config["input"][0]["dims"], config["input"][0]["data_type"]) == ([16], "TYPE_INT32")
    assert "dynamic_batching" in config
    assert config["instance_group"][0]["kind"] == "KIND_CPU"


async def test_a_model_that_does_not_batch_has_all_dims_in_its_config() -> None:
    config = await Client(echo("BYTES", (-1, 2))).get("/v2/models/echo/config")
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (0, [-1, 2])
    assert config["input"][0]["data_type"] == "TYPE_STRING"
    assert "dynamic_batching" not in config


@pytest.mark.parametrize("path", ["/v2/models/simple/ready", "/v2/models/simple/versions/1/ready"])
async def test_a_ready_model_is_ready(simple: Client, path: str) -> None:
    assert (await simple.ask("GET", path)).status == 200


@pytest.mark.parametrize("path", ["/v2/models/other/ready", "/v2/models/simple/versions/2/ready"])
async def test_an_unknown_model_is_not_ready(simple: Client, path: str) -> None:
    assert await simple.refusal("GET", path) == (400, "Model version not ready")


UNKNOWN = [
    ("GET", "/v2/models/other", "Request for unknown model: 'other' is not found"),
    ("GET", "/v2/models/simple/versions/7", "Request for unknown model: 'simple' version 7 is not found"),
    ("GET", "/v2/models/other/config", "Request for unknown model: 'other' is not found"),
    ("GET", "/v2/models/other/stats", "Request for unknown model: 'other' is not found"),
    ("POST", "/v2/models/a%20b/infer", "Request for unknown model: 'a b' is not found"),
    ("GET", "/v2/models/other/trace/setting", "Request for unknown model: 'other' is not found"),
    ("GET", "/v2/nothing", "Not Found"),
    ("GET", "/v2/models/simple/nothing", "Not Found"),
    ("GET", "/v2/models/", "Not Found"),
]


@pytest.mark.parametrize(("method", "path", "words"), UNKNOWN)
async def test_what_is_not_there_is_a_404_in_tritons_words(simple: Client, method: str, path: str, words: str) -> None:
    assert await simple.refusal(method, path) == (404, words)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/simple/infer", "POST"),
        ("GET", "/v2/repository/index", "POST"),
        ("POST", "/v2/health/ready", "GET"),
        ("DELETE", "/v2/logging", "GET, POST"),
    ],
)
async def test_a_wrong_method_is_a_405_that_says_which_are_right(
    simple: Client, method: str, path: str, allowed: str
) -> None:
    answer = await simple.ask(method, path)
    assert (answer.status, said(answer)) == (405, {"error": "Method Not Allowed"})
    assert ("allow", allowed) in answer.headers


# -- inference ---------------------------------------------------------------------------------------------------------


async def test_json_in_is_json_out(simple: Client) -> None:
    answer = await simple.ask("POST", "/v2/models/simple/infer", two_rows(2, id="7"))
    assert answer.headers == [("content-type", "application/json")]
    assert said(answer) == {
        "model_name": "simple", "model_version": "1", "id": "7", "outputs": [
            {"name": "OUTPUT0", "datatype": "INT32", "shape": [2, 16], "data": [2 * value for value in ROW] * 2},
            {"name": "OUTPUT1", "datatype": "INT32", "shape": [2, 16], "data": [0] * 32}]}  # fmt: skip


async def test_outputs_come_as_asked_for_each_in_its_form(simple: Client) -> None:
    outputs = [{"name": "OUTPUT1", "parameters": {"binary_data": True}}, {"name": "OUTPUT0"}]
    answer = await simple.ask("POST", "/v2/models/simple/infer", two_rows(outputs=outputs))
    headers = dict(answer.headers)
    assert headers["content-type"] == "application/octet-stream"
    body, length = whole(answer), int(headers["inference-header-content-length"])
    first, second = json.loads(body[:length])["outputs"]
    assert (first["name"], first["parameters"], "data" in first) == ("OUTPUT1", {"binary_data_size": 64}, False)
    assert second["data"][:3] == [0, 2, 4]
    assert body[length:] == bytes(64)


async def test_a_packed_request_is_unpacked_and_its_answer_packed_if_that_is_liked() -> None:
    body = gzip.compress(json.dumps(two_rows(32)).encode())
    answer = await Client(adder(32)).ask(
        "POST", "/v2/models/simple/infer", body, content_encoding="gzip", accept_encoding="gzip, deflate"
    )
    assert ("content-encoding", "gzip") in answer.headers
    assert json.loads(gzip.decompress(whole(answer)))["outputs"][0]["shape"] == [32, 16]


async def test_a_short_answer_is_not_packed() -> None:
    client = Client(echo("INT32", (1,)))
    asked = {"inputs": [{"name": "in", "datatype": "INT32", "shape": [1], "data": [1]}]}
    answer = await client.ask("POST", "/v2/models/echo/infer", asked, accept_encoding="gzip")
    assert "content-encoding" not in dict(answer.headers)


@pytest.mark.parametrize(
    ("model", "body", "data", "shape"),
    [
        (echo("FP32", (-1, 2), 8), struct.pack("<2f", 1, 2), struct.pack("<2f", 1, 2), [1, 2]),
        (echo("FP32", (-1,)), struct.pack("<3f", 1, 2, 3), struct.pack("<3f", 1, 2, 3), [3]),
        (echo("BYTES", (-1, 1), 8), b"a text", b"\6\0\0\0a text", [1, 1]),
    ],
)
async def test_a_body_without_json_is_the_only_inputs_bytes(
    model: FakeModel, body: bytes, data: bytes, shape: list[int]
) -> None:
    answer = await Client(model).ask("POST", "/v2/models/echo/infer", body, inference_header_content_length="0")
    length = int(dict(answer.headers)["inference-header-content-length"])
    assert json.loads(whole(answer)[:length])["outputs"][0]["shape"] == shape
    assert whole(answer)[length:] == data


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (adder(), "'simple' has 2"),
        (echo("FP32", (-1, -1)), "do not tell in full"),
        (echo("FP32", (2,)), "binary_data_size 4: its shape [2] of FP32 takes 8 bytes"),
        (echo("BYTES", (2,)), "has the shape [2]: a body without a JSON header is one"),
    ],
)
async def test_a_body_without_json_that_does_not_tell_its_tensor_is_refused(model: FakeModel, words: str) -> None:
    path = f"/v2/models/{model.name}/infer"
    answer = await Client(model).ask("POST", path, bytes(4), inference_header_content_length="0")
    assert answer.status == 400
    assert words in said(answer)["error"]


def changed(**more: Any) -> dict[str, Any]:
    asked = two_rows()
    asked["inputs"][0] |= more
    return asked


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (two_rows(9), "[request id: <id_unknown>] inference request batch-size must be <= 8 for 'simple'"),
        (two_rows(0), "inference request batch-size must be >= 1 for 'simple'"),
        (two_rows(9, id="a"), "[request id: a] inference"),
        (changed(shape=[1, 15], data=ROW[:15]), "unexpected shape for input 'INPUT0' for model 'simple'. "
         "Expected [-1,16], got [1,15]"),
        (changed(shape=[16]), "Expected [-1,16], got [16]"),
        (changed(shape=[2, 16], data=ROW * 2), "batch size does not match other inputs for 'simple'"),
        (changed(datatype="INT64"), "inference input 'INPUT0' data-type is 'INT64', but model 'simple' expects"),
        (changed(name="IN"), "unexpected inference input 'IN' for model 'simple'"),
        ({"inputs": two_rows()["inputs"][:1]}, "expected 2 inputs but got 1 inputs for model 'simple'. Got input(s) "
         "['INPUT0'], but missing required input(s) ['INPUT1']"),
        (two_rows(outputs=[{"name": "OUT"}]), "unexpected inference output 'OUT' for model 'simple'"),
        (two_rows(parameters={"timeout": "1"}), "parameter 'timeout' is '1': a number of microseconds"),
        (b"{", "failed to parse the request as JSON"),
    ],
)  # fmt: skip
async def test_a_request_that_the_model_does_not_take_is_a_400(simple: Client, asked: Any, words: str) -> None:
    status, error = await simple.refusal("POST", "/v2/models/simple/infer", asked)
    assert status == 400
    assert words in error


@pytest.mark.parametrize(
    ("raised", "status"), [(InferenceFailed("it broke"), 500), (ModelUnavailable("too many wait"), 503)]
)
async def test_what_fails_in_a_model_is_said_with_its_status(raised: Exception, status: int) -> None:
    def run(inputs: Any) -> Any:
        raise raised

    model = FakeModel(run, [TensorSpec("in", "FP32", (1,))], [TensorSpec("out", "FP32", (1,))], max_batch_size=0)
    asked = {"inputs": [{"name": "in", "datatype": "FP32", "shape": [1], "data": [1]}]}
    assert await Client(model).refusal("POST", "/v2/models/simple/infer", asked) == (status, str(raised))


async def test_a_request_that_waits_longer_than_its_timeout_is_refused() -> None:
    import asyncio

    class Stuck(FakeModel):
        async def infer(self, inputs: Any, outputs: Any = None) -> Any:
            await asyncio.Event().wait()

    model = Stuck(lambda inputs: inputs, adder().inputs, adder().outputs)
    asked = two_rows(parameters={"timeout": 1000})
    assert await Client(model).refusal("POST", "/v2/models/simple/infer", asked) == (503, "Request timeout expired")


# -- classification ----------------------------------------------------------------------------------------------------


async def classes(model: FakeModel, count: int) -> tuple[list[int], list[str]]:
    asked = {
        "inputs": [{"name": "in", "datatype": "FP32", "shape": [1], "data": [1]}],
        "outputs": [{"name": "out", "parameters": {"classification": count}}],
    }
    (output,) = (await Client(model).post(f"/v2/models/{model.name}/infer", asked))["outputs"]
    assert output["datatype"] == "BYTES"
    return output["shape"], output["data"]


async def test_the_best_classes_come_largest_first_with_their_labels() -> None:
    model = constant(np.array([0.05, 0.9, 0.05]), ("cat", "dog"))
    assert await classes(model, 2) == ([2], ["0.900000:1:dog", "0.050000:0:cat"])
    assert await classes(model, 9) == ([3], ["0.900000:1:dog", "0.050000:0:cat", "0.050000:2"])


async def test_what_is_no_number_is_no_best_class() -> None:
    scores = constant(np.array([np.nan, 0.5, -1.0, np.inf]))
    assert await classes(scores, 4) == ([4], ["inf:3", "0.500000:1", "-1.000000:2", "nan:0"])


async def test_classes_of_integers_have_integers() -> None:
    assert await classes(constant(np.array([5, 7])), 1) == ([1], ["7:1"])


async def test_each_row_of_a_batch_has_its_own_classes(simple: Client) -> None:
    asked = two_rows(2, outputs=[{"name": "OUTPUT0", "parameters": {"classification": 2}}])
    (output,) = (await simple.post("/v2/models/simple/infer", asked))["outputs"]
    assert (output["shape"], output["data"]) == ([2, 2], ["30:15", "28:14"] * 2)


async def test_texts_have_no_classes() -> None:
    asked = {"inputs": [{"name": "in", "datatype": "FP32", "shape": [1], "data": [1]}],
             "outputs": [{"name": "out", "parameters": {"classification": 1}}]}  # fmt: skip
    client = Client(constant(objects(["a"])))
    status, error = await client.refusal("POST", "/v2/models/constant/infer", asked)
    assert (status, "has no numbers" in error) == (400, True)


# -- generate ----------------------------------------------------------------------------------------------------------


async def test_generate_takes_and_gives_one_flat_object() -> None:
    client = Client(echo("BYTES", (-1, 1), 8))
    answer = await client.post("/v2/models/echo/generate", {"in": "hello", "temperature": 0.5, "id": "1"})
    assert answer == {"model_name": "echo", "model_version": "1", "id": "1", "out": "hello"}


async def test_generate_gives_a_list_where_an_output_has_several_values() -> None:
    assert (await Client(echo("INT32", (-1,))).post("/v2/models/echo/generate", {"in": [1, 2]}))["out"] == [1, 2]


async def test_generate_stream_is_one_event_of_a_model_that_answers_once() -> None:
    answer = await Client(echo("INT32", (-1,))).ask("POST", "/v2/models/echo/generate_stream", {"in": 3})
    assert dict(answer.headers)["content-type"] == "text/event-stream; charset=utf-8"
    assert whole(answer) == b'data: {"model_name":"echo","model_version":"1","out":3}\n\n'


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"in": [1, 2, 3]}, "input 'in' has 3 values"), ({"in": ["a", "b"]}, "has a text in data"),
     ({}, "expected 1 inputs"), ({"in": [1, 2], "id": 4}, "id 4: a text")],
)  # fmt: skip
async def test_generate_refuses_what_the_model_does_not_take(asked: Any, words: str) -> None:
    status, error = await Client(echo("INT32", (2,))).refusal("POST", "/v2/models/echo/generate", asked)
    assert (status, words in error) == (400, True), error


# -- statistics --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v2/models/stats", "/v2/models/simple/stats", "/v2/models/simple/versions/1/stats"])
async def test_statistics_count_requests_rows_and_runs(simple: Client, path: str) -> None:
    await simple.post("/v2/models/simple/infer", two_rows(8))
    (counted,) = (await simple.get(path))["model_stats"]
    assert (counted["inference_count"], counted["execution_count"]) == (8, 1)
    assert counted["inference_stats"]["success"] == {"count": 1, "ns": 5000}
    assert counted["inference_stats"]["compute_infer"] == {"count": 1, "ns": 2000}
    assert counted["batch_stats"][0]["batch_size"] == 8


# -- the repository ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/any/index"])
async def test_the_index_has_every_model_with_its_state(simple: Client, path: str) -> None:
    assert await simple.post(path) == [{"name": "simple", "version": "1", "state": "READY"}]


async def test_a_model_can_be_unloaded_and_loaded_again(simple: Client) -> None:
    assert await simple.post("/v2/repository/models/simple/unload", {"parameters": {"unload_dependents": True}}) is None
    index = [{"name": "simple", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}]
    assert await simple.post("/v2/repository/index", {}) == index
    assert await simple.post("/v2/repository/index", {"ready": True}) == []
    assert await simple.refusal("POST", "/v2/models/simple/infer", two_rows()) == (
        404, "Request for unknown model: 'simple' has no available versions")  # fmt: skip
    assert await simple.get("/v2/models/stats") == {"model_stats": []}
    await simple.post("/v2/repository/models/simple/load", {})
    await simple.post("/v2/models/simple/infer", two_rows())


async def test_an_unknown_model_cannot_be_loaded(simple: Client) -> None:
    assert await simple.refusal("POST", "/v2/repository/models/other/load") == (
        404, "failed to load 'other', failed to poll from model repository")  # fmt: skip


async def test_nothing_is_loaded_or_unloaded_where_that_was_not_allowed() -> None:
    client = Client(adder(), may_unload=False)
    for action in ("load", "unload"):
        assert await client.refusal("POST", f"/v2/repository/models/simple/{action}") == (
            503, "explicit model load / unload is not allowed if polling is enabled")  # fmt: skip


@pytest.mark.parametrize(
    ("action", "asked", "status"),
    [
        ("load", {"parameters": {"config": "{}"}}, 501),
        ("load", {"parameters": {"file:1/model.onnx": "AA=="}}, 501),
        ("load", {"parameters": {"other": 1}}, 400),
        ("load", {"parameters": []}, 400),
        ("unload", {"parameters": {"unload_dependents": 1}}, 400),
        ("unload", {"parameters": {"other": True}}, 400),
    ],
)
async def test_models_are_loaded_as_they_were_deployed(simple: Client, action: str, asked: Any, status: int) -> None:
    assert (await simple.refusal("POST", f"/v2/repository/models/simple/{action}", asked))[0] == status


# -- settings, shared memory -------------------------------------------------------------------------------------------


@pytest.fixture
def _logger_as_before() -> Iterator[None]:
    logger = logging.getLogger("runtime.models")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("_logger_as_before")
async def test_log_settings_are_kept_and_followed(simple: Client) -> None:
    assert (await simple.get("/v2/logging"))["log_info"] is True
    assert (await simple.post("/v2/logging", {"log_info": False}))["log_info"] is False
    assert logging.getLogger("runtime.models").level == logging.WARNING
    await simple.post("/v2/logging", {"log_verbose_level": 1})
    assert logging.getLogger("runtime.models").level == logging.DEBUG
    assert (await simple.get("/v2/logging"))["log_info"] is False


@pytest.mark.parametrize(
    ("asked", "status"),
    [({"log_file": "x"}, 501), ({"log_info": 1}, 400), ({"log_verbose_level": -1}, 400), ({"log_format": "x"}, 400),
     ({"other": 1}, 400), ([], 400)],
)  # fmt: skip
async def test_log_settings_that_cannot_be_are_refused(simple: Client, asked: Any, status: int) -> None:
    assert (await simple.refusal("POST", "/v2/logging", asked))[0] == status


@pytest.mark.parametrize("path", ["/v2/trace/setting", "/v2/models/simple/trace/setting"])
async def test_trace_settings_say_that_nothing_is_traced_and_stay_so(simple: Client, path: str) -> None:
    assert (await simple.get(path))["trace_level"] == ["OFF"]
    assert (await simple.post(path, {"trace_level": ["OFF"], "trace_rate": None}))["trace_rate"] == "1000"
    assert (await simple.refusal("POST", path, {"trace_level": ["TIMESTAMPS"]}))[0] == 501
    assert (await simple.refusal("POST", path, {"other": 1}))[0] == 400


@pytest.mark.parametrize(("kind", "word"), [("system", "system"), ("cuda", "CUDA")])
async def test_no_shared_memory_is_registered_and_none_can_be(simple: Client, kind: str, word: str) -> None:
    base = f"/v2/{kind}sharedmemory"
    assert await simple.get(f"{base}/status") == []
    assert await simple.post(f"{base}/unregister") is None
    assert await simple.post(f"{base}/region/a/unregister") is None
    status, error = await simple.refusal("POST", f"{base}/region/a/register", {"key": "/k"})
    assert (status, f"{word} shared memory is not supported" in error) == (501, True)
    assert (await simple.refusal("GET", f"{base}/region/a/status"))[0] == 404
