"""NVIDIA's tritonclient against the models of functions, over HTTP: `calls_tritonclient.py BASE http|aio`.

`BASE`/adder is a function whose model `adder` gives the sum and the difference of two rows of 16 INT32 (the sum with
labels l0 to l15), `BASE`/texts one whose model `texts` gives the texts it got. Either may be unloaded.
"""

from __future__ import annotations

import asyncio
import inspect
import sys

import numpy as np
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

ONE = np.arange(16, dtype=np.int32).reshape(1, 16)
OTHER = np.full((1, 16), 3, dtype=np.int32)


class Client:
    """Either of the two clients, called in the same way."""

    def __init__(self, kind, url):
        self.package = tritonclient.http if kind == "http" else tritonclient.http.aio
        self.runner = asyncio.Runner()
        self.own = self.runner.run(self._made(url))

    async def _made(self, url):
        return self.package.InferenceServerClient(url)  # the asynchronous one wants to be made in its loop

    def __getattr__(self, name):
        def call(*arguments, **named):
            result = getattr(self.own, name)(*arguments, **named)
            result = self.runner.run(result) if inspect.isawaitable(result) else result
            print("answered", name)
            return result

        return call

    def refusal(self, name, *arguments, **named):
        try:
            getattr(self, name)(*arguments, **named)
        except InferenceServerException as error:
            print("refused", name, error.status(), error.message())
            return str(error.status()), error.message()
        raise AssertionError(f"{name} was not refused")


def tensor(name, array, datatype="INT32", binary=True):
    made = tritonclient.http.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def inputs(one=ONE, other=OTHER, binary=True):
    return [tensor("INPUT0", one, binary=binary), tensor("INPUT1", other, binary=binary)]


def output(name, **parameters):
    return tritonclient.http.InferRequestedOutput(name, **parameters)


def describes_itself(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("adder")
    assert client.is_model_ready("adder", "1")
    assert not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("adder")
    assert metadata["inputs"][0] == {"name": "INPUT0", "datatype": "INT32", "shape": [-1, 16]}, metadata
    config = client.get_model_config("adder", "1")
    assert (config["input"][0]["dims"], config["input"][0]["data_type"]) == ([16], "TYPE_INT32"), config
    assert config["max_batch_size"] >= 8, config
    assert client.get_model_repository_index() == [{"name": "adder", "version": "1", "state": "READY"}]


def infers(client):
    for binary_in in (True, False):
        for binary_out in (True, False):
            asked = [output("OUTPUT1", binary_data=binary_out), output("OUTPUT0", binary_data=not binary_out)]
            result = client.infer("adder", inputs(binary=binary_in), outputs=asked, request_id="7")
            assert (result.as_numpy("OUTPUT0") == ONE + OTHER).all()
            assert (result.as_numpy("OUTPUT1") == ONE - OTHER).all()
            assert result.get_response()["id"] == "7"
    result = client.infer("adder", inputs(np.repeat(ONE, 8, 0), np.repeat(OTHER, 8, 0)), model_version="1")
    assert result.as_numpy("OUTPUT0").tolist() == (ONE + OTHER).tolist() * 8
    for how in ("gzip", "deflate"):
        many = np.repeat(ONE, 8, 0)
        result = client.infer(
            "adder", inputs(many, many), request_compression_algorithm=how, response_compression_algorithm=how
        )
        assert (result.as_numpy("OUTPUT0") == many * 2).all()
    body, length = tritonclient.http.InferenceServerClient.generate_request_body(inputs())
    assert length is not None, body
    result = client.infer("adder", inputs(), timeout=5_000_000, priority=1, parameters={"mine": 1})
    assert result.as_numpy("OUTPUT1").dtype == np.int32


def classifies(client):
    for binary in (True, False):
        asked = [output("OUTPUT0", class_count=2, binary_data=binary)]
        classes = client.infer("adder", inputs(), outputs=asked).as_numpy("OUTPUT0")
        assert classes.shape == (1, 2)
        assert [getattr(text, "decode", lambda text=text: text)() for text in classes[0]] == ["18:15:l15", "17:14:l14"]


def is_refused_what_the_model_does_not_take(client):
    def of(*arguments, **named):
        return client.refusal("infer", *arguments, **named)

    assert of("other", inputs()) == ("404", "Request for unknown model: 'other' is not found")
    status, text = of("adder", inputs(ONE[:, :15].copy(), OTHER))
    assert (status, "Expected [-1,16], got [1,15]" in text) == ("400", True)
    status, text = of("adder", inputs()[:1])
    assert (status, "expected 2 inputs but got 1" in text) == ("400", True)
    status, text = of("adder", inputs(), outputs=[output("OUT")])
    assert (status, "unexpected inference output 'OUT'" in text) == ("400", True)
    many = np.repeat(ONE, 100, 0)
    status, text = of("adder", inputs(many, many))
    assert (status, "batch-size must be <=" in text) == ("400", True)
    shared = tritonclient.http.InferInput("INPUT0", [1, 16], "INT32")
    shared.set_shared_memory("region", 64)
    assert of("adder", [shared, inputs()[1]])[0] == "501"
    assert client.refusal("get_model_metadata", "other")[0] == "404"


def counts(client):
    before = client.get_inference_statistics("adder")["model_stats"][0]
    client.infer("adder", inputs(np.repeat(ONE, 8, 0), np.repeat(OTHER, 8, 0)))
    after = client.get_inference_statistics()["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 8
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 1


def has_settings(client):
    assert client.get_log_settings()["log_info"] is True
    assert client.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
    assert client.update_log_settings({"log_verbose_level": 0})["log_verbose_level"] == 0
    assert client.get_trace_settings("adder")["trace_level"] == ["OFF"]
    assert client.get_trace_settings()["trace_level"] == ["OFF"]
    assert client.refusal("update_trace_settings", settings={"trace_level": ["TIMESTAMPS"]})[0] == "501"
    for kind in ("system", "cuda"):
        assert getattr(client, f"get_{kind}_shared_memory_status")() == []
        getattr(client, f"unregister_{kind}_shared_memory")()
    assert client.refusal("register_system_shared_memory", "region", "/key", 64)[0] == "501"
    assert client.refusal("register_cuda_shared_memory", "region", b"aGFuZGxl", 0, 64)[0] == "501"


def unloads_and_loads(client):
    client.unload_model("adder")
    assert not client.is_model_ready("adder")
    assert client.get_model_repository_index()[0]["state"] == "UNAVAILABLE"
    assert client.refusal("infer", "adder", inputs())[0] == "404"
    client.load_model("adder")
    assert client.is_model_ready("adder")
    assert client.refusal("load_model", "adder", config="{}")[0] == "501"
    assert client.refusal("load_model", "other")[0] == "404"


def carries_texts(client):
    texts = np.array([["ä".encode(), b"", b"a\0b"]], dtype=np.object_)
    for binary in (True, False):
        result = client.infer(
            "texts", [tensor("in", texts, "BYTES", binary)], outputs=[output("out", binary_data=binary)]
        )
        got = [text if isinstance(text, bytes) else text.encode() for text in result.as_numpy("out").ravel()]
        assert got == texts.ravel().tolist(), got


def runs_at_once(kind, url):
    """Many at the same time: futures of the synchronous client, tasks of the other."""
    if kind == "http":
        with tritonclient.http.InferenceServerClient(url, concurrency=8) as client:
            asked = [client.async_infer("adder", inputs(ONE + number)) for number in range(32)]
            results = [each.get_result() for each in asked]
    else:

        async def all_at_once():
            async with tritonclient.http.aio.InferenceServerClient(url, conn_limit=8) as client:
                return await asyncio.gather(*(client.infer("adder", inputs(ONE + number)) for number in range(32)))

        results = asyncio.run(all_at_once())
    for number, result in enumerate(results):
        assert (result.as_numpy("OUTPUT0") == ONE + number + OTHER).all()
    print("answered 32 at once")


def main():
    base, kind = sys.argv[1:]
    adder = Client(kind, f"{base}/adder")
    for step in (describes_itself, infers, classifies, is_refused_what_the_model_does_not_take, counts, has_settings):
        step(adder)
    unloads_and_loads(adder)
    adder.close()
    texts = Client(kind, f"{base}/texts")
    carries_texts(texts)
    texts.close()
    runs_at_once(kind, f"{base}/adder")


main()
