"""Models with ONNX Runtime itself, in this process: loaded, warmed up, batched, put to sleep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from runtime.models import session
from runtime.models.bound import BoundSession, Device
from runtime.models.errors import InferenceFailed, InvalidInput, ModelUnavailable, ModelUnusable
from runtime.models.model import Model, ModelState
from runtime.models.providers import Machine, Wish
from runtime.models.session import SessionOptions
from runtime.models.spec import parse_spec
from tests.support import models


@asynccontextmanager
async def loaded(
    file: Path, options: SessionOptions | None = None, concurrency: int = 8, **said: Any
) -> AsyncIterator[Model]:
    model = Model(file, file.stem, spec=parse_spec(said), options=options, concurrency=concurrency)
    await model.load()
    try:
        yield model
    finally:
        await model.unload()


async def failure(model: Model) -> str:
    with pytest.raises(ModelUnusable) as error:
        await model.load()
    assert (model.state, model.reason) == (ModelState.UNAVAILABLE, str(error.value))
    return str(error.value)


def row(*numbers: int) -> dict[str, Any]:
    return {"row": np.array(numbers, dtype=np.int64)}


async def test_a_bare_onnx_file_is_served_by_what_its_graph_says(tmp_path: Path) -> None:
    async with loaded(models.picks(tmp_path / "picks.onnx")) as model:
        assert [(s.name, s.datatype, s.shape) for s in (*model.inputs, *model.outputs)] == [
            ("row", "INT64", (-1,)), ("values", "FP32", (-1, 2))
        ]  # fmt: skip
        assert (model.state, model.rules.buckets, model.provider) == ("READY", (1, 2, 4, 8), "CPUExecutionProvider")
        assert (await model.infer(row(2, 0)))["values"].tolist() == models.ROWS[[2, 0]].tolist()


async def test_a_model_whose_card_cannot_be_used_runs_on_the_cpu_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    there = Machine(("CUDAExecutionProvider", "CPUExecutionProvider"), has_card=True)
    monkeypatch.setattr(session, "machine", lambda _: there)  # and no library of CUDA's, as here there is none
    options = SessionOptions(wish=Wish(gpu_memory_mib=64))
    async with loaded(models.picks(tmp_path / "picks.onnx"), options) as model:
        assert (await model.infer(row(2)))["values"].tolist() == models.ROWS[[2]].tolist()
        if model.provider == "CPUExecutionProvider":
            assert f"model picks.onnx: {session.WITHOUT_LIBRARIES}" in caplog.text


async def test_tensors_of_bf16_go_in_and_come_out_as_their_bits(tmp_path: Path) -> None:
    async with loaded(models.bfloats(tmp_path / "bf.onnx")) as model:
        assert [(s.name, s.datatype) for s in (*model.inputs, *model.outputs)] == [
            ("x", "BF16"), ("y", "BF16"), ("z", "FP32")
        ]  # fmt: skip
        many = [model.infer({"x": np.array([[0x3F80, bits]], np.uint16)}) for bits in (0xC000, 0x0000, 0x7F80)]
        found = await asyncio.gather(*many)
    assert [each["y"].tolist() for each in found] == [[[0x4000, bits]] for bits in (0xC080, 0x0000, 0x7F80)]
    assert found[0]["z"].tolist() == [[2.0, -4.0]]
    assert max(model.statistics.batches) > 1, "they were run together"


async def test_every_bucket_is_run_before_the_model_is_ready(tmp_path: Path) -> None:
    async with loaded(models.picks(tmp_path / "picks.onnx")) as model:
        statistics = model.statistics
        assert sorted(statistics.batches) == [1, 2, 4, 8]
        assert statistics.success.count == statistics.queue.count == statistics.compute_infer.count


async def test_requests_at_the_same_time_are_run_together_and_one_that_fails_fails_alone(tmp_path: Path) -> None:
    async with loaded(models.picks(tmp_path / "picks.onnx")) as model:
        warmed_up = model.statistics.execution_count
        asked = [model.infer(row(number)) for number in (0, 1, 99, 2)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers[2], InferenceFailed)
        assert "out of data bounds" in str(answers[2])
        good = [answer["values"].tolist() for answer in answers if isinstance(answer, dict)]
        assert good == [[each] for each in models.ROWS.tolist()]
        await asyncio.gather(*(model.infer(row(0)) for _ in range(8)))
        assert model.statistics.execution_count - warmed_up == 4  # three alone, as together they failed; then a batch


async def test_a_request_whose_task_is_cancelled_leaves_the_queue(tmp_path: Path) -> None:
    async with loaded(models.picks(tmp_path / "picks.onnx"), idleSeconds=3600) as model:
        model.sleep()  # so that the requests wait
        task = asyncio.ensure_future(model.infer(row(0)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await model.infer(row(1))
        assert model.statistics.failures["CANCELED"] == 1


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ({}, None, "input 'row' is missing: the model takes row"),
        ({"line": np.zeros(1)}, None, "input 'line' is not one of the model's: row are"),
        ({"row": np.zeros(1)}, None, "input 'row' came as float64: INT64 is allowed"),
        ({"row": np.zeros((1, 1), np.int64)}, None, "input 'row' has the shape [1, 1]: [-1] is allowed, -1 = any size"),
        (row(), None, "input 'row' has 0 rows: 1 to 4 are allowed"),
        (row(*[0] * 5), None, "input 'row' has 5 rows: 1 to 4 are allowed"),
        (row(*[0] * 200), None, "input 'row' has 1600 bytes: at most 1048 are allowed"),
        (row(0), ["value"], "output 'value' is not one of the model's: values are"),
    ],
)
async def test_what_the_model_does_not_take_is_refused(tmp_path: Path, inputs: Any, outputs: Any, message: str) -> None:
    said: dict[str, Any] = {"batching": {"maxBatchSize": 4}, "tensorMibMax": 0.001}
    async with loaded(models.picks(tmp_path / "picks.onnx"), **said) as model:
        with pytest.raises(InvalidInput) as error:
            await model.infer(inputs, outputs)
        assert str(error.value) == message


async def test_a_graph_whose_output_has_no_rows_is_not_batched(tmp_path: Path) -> None:
    file = models.uniques(tmp_path / "uniques.onnx")
    async with loaded(file) as model:
        assert model.max_batch_size == 0
        asked = [model.infer({"x": np.array([number, 1, 1], np.float32)}) for number in (1, 2)]
        assert [answer["y"].tolist() for answer in await asyncio.gather(*asked)] == [[1.0], [1.0, 2.0]]
    said = parse_spec({"batching": {"maxBatchSize": 4}})
    assert "which have no batch axis" in await failure(Model(file, "uniques", spec=said))


async def test_a_graph_that_fails_on_more_than_one_row_is_not_batched(tmp_path: Path) -> None:
    file = models.ones(tmp_path / "ones.onnx")
    async with loaded(file) as model:
        assert model.max_batch_size == 0
        asked = [model.infer({"x": np.full((1, 2), number, np.float32)}) for number in (1, 2)]
        assert [answer["y"].tolist() for answer in await asyncio.gather(*asked)] == [[[1, 1]], [[2, 2]]]
    said = parse_spec({"batching": {"maxBatchSize": 4}})
    assert "failed in its warm-up, on x [2, 2]" in await failure(Model(file, "ones", spec=said))


async def test_a_graph_with_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    async with loaded(models.fixed(tmp_path / "fixed.onnx"), batching={"maxBatchSize": 4}) as model:
        asked = [model.infer({"x": np.full((1, 2), number, np.float32)}) for number in (1, 2, 3)]
        assert [answer["y"].tolist() for answer in await asyncio.gather(*asked)] == [[[2, 2]], [[4, 4]], [[6, 6]]]


async def test_only_equal_shapes_go_together(tmp_path: Path) -> None:
    async with loaded(models.sequences(tmp_path / "s.onnx"), warmUp={"inputs": {"x": {"shape": [3]}}}) as model:
        asked = [model.infer({"x": np.ones((1, length), np.float32)}) for length in (3, 5, 3)]
        assert [answer["y"].shape for answer in await asyncio.gather(*asked)] == [(1, 3), (1, 5), (1, 3)]


async def test_texts_go_in_and_come_out(tmp_path: Path) -> None:
    async with loaded(models.echoes(tmp_path / "e.onnx")) as model:
        texts = np.array(["a", "ä", ""], dtype=np.object_)
        assert (await model.infer({"text": texts}))["said"].tolist() == ["a", "ä", ""]


async def test_an_unloaded_model_refuses_and_can_be_loaded_again(tmp_path: Path) -> None:
    async with loaded(models.picks(tmp_path / "picks.onnx")) as model:
        await model.unload()
        with pytest.raises(ModelUnavailable, match="UNAVAILABLE: unloaded"):
            await model.infer(row(0))
        await model.load()
        assert (await model.infer(row(0)))["values"].tolist() == [[1.0, 10.0]]


@pytest.mark.parametrize("text", ["cat\ndog\n", "cat\r\ndog\r\n\r\n", "cat\ndog", "\ufeffcat\ndog\n\n"])
async def test_labels_are_lines_however_their_file_ends(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.txt").write_bytes(text.encode())
    outputs = [{"name": "values", "labels": "labels.txt"}]
    async with loaded(models.picks(tmp_path / "picks.onnx"), outputs=outputs) as model:
        assert model.outputs[0].labels == ("cat", "dog")


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut, "model 'm.onnx' "),
        (lambda file: file.write_text("a text, not a model"), "model 'm.onnx' is not an ONNX model: "),
        (lambda file: file.write_bytes(b""), "model 'm.onnx' is empty"),
        (Path.unlink, "model 'm.onnx' cannot be read"),
    ],
)
async def test_a_file_that_is_no_model_is_said_to_be_none(
    tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    file = models.picks(tmp_path / "m.onnx")
    spoil(file)
    assert message in await failure(Model(file, "m"))


async def test_a_model_larger_than_its_gpu_memory_is_refused(tmp_path: Path) -> None:
    file = models.write_mlp(tmp_path / "m.onnx", 512, 2)
    options = SessionOptions(wish=Wish(gpu_memory_mib=1))
    assert "has 2 MiB of weights, gpuMemorySize is 1" in await failure(Model(file, "m", options=options))


async def test_an_idle_model_sleeps_and_the_next_requests_wake_it(tmp_path: Path) -> None:
    async with loaded(models.picks(tmp_path / "picks.onnx"), idleSeconds=0.01) as model:
        async with asyncio.timeout(10):
            while not model.is_asleep:
                await asyncio.sleep(0.005)
        assert model.is_ready
        answers = await asyncio.gather(*(model.infer(row(number)) for number in (0, 1, 2)))
        assert [answer["values"].tolist() for answer in answers] == [[each] for each in models.ROWS.tolist()]


async def test_a_model_that_cannot_wake_says_so_and_wakes_when_it_can_again(tmp_path: Path) -> None:
    file = models.picks(tmp_path / "picks.onnx")
    async with loaded(file, idleSeconds=3600) as model:
        model.sleep()
        hidden = file.rename(tmp_path / "hidden")
        with pytest.raises(ModelUnavailable, match="could not be opened again"):
            await model.infer(row(0))
        hidden.rename(file)
        assert (await model.infer(row(0)))["values"].tolist() == [[1.0, 10.0]]


async def test_external_weights_are_mapped_when_they_are_to_be_shared(tmp_path: Path) -> None:
    file = models.write_mlp(tmp_path / "m.onnx", 256, 4, external="m.onnx_data")

    def is_mapped() -> bool:
        return str(tmp_path / "m.onnx_data") in Path("/proc/self/maps").read_text()

    async with loaded(file, SessionOptions(share_weights=True)) as model:
        assert is_mapped()
        shared = await model.infer({"x": np.ones((2, 256), np.float32)})
    async with loaded(file) as model:
        own = await model.infer({"x": np.ones((2, 256), np.float32)})
    np.testing.assert_allclose(shared["y"], own["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("keeps_outputs", [False, True])
def test_a_bound_session_gives_what_a_plain_one_gives(tmp_path: Path, keeps_outputs: bool) -> None:
    file = models.write_mlp(tmp_path / "m.onnx", 16, 2)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    device = Device("cpu", onnxruntime.OrtValue.ortvalue_from_numpy, lambda _: False, lambda _: None)
    bound = BoundSession(session, device, keeps_outputs=keeps_outputs)
    draw = np.random.default_rng(1)
    for rows in (1, 4, 1, 4):
        x = draw.standard_normal((rows, 16)).astype(np.float32)
        [found], [wanted] = bound.run(["y"], {"x": x}), session.run(["y"], {"x": x})
        np.testing.assert_array_equal(found, wanted)


def test_a_bound_sessions_results_may_have_another_shape_each_time(tmp_path: Path) -> None:
    file = models.nonzeros(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    device = Device("cpu", onnxruntime.OrtValue.ortvalue_from_numpy, lambda _: False, lambda _: None)
    bound = BoundSession(session, device)
    for numbers in ([0, 5, 0], [1, 2, 3], [0, 0, 0], [0, 7, 0]):
        [found] = bound.run(["y"], {"x": np.array(numbers, np.float32)})
        assert found.tolist() == [[at for at, number in enumerate(numbers) if number]]
