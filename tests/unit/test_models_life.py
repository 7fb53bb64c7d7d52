"""A model that is loaded, unloaded and woken by several at once, with a stand-in for the sessions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from runtime.models.errors import ModelUnavailable, ModelUnusable
from runtime.models.model import Model, ModelState
from runtime.models.session import Opened, SessionOptions
from runtime.models.spec import parse_spec
from runtime.models.tensors import TensorSpec

WAIT_S: Final = 5.0
X: Final = TensorSpec("x", "FP32", (-1, 2))
Y: Final = TensorSpec("y", "FP32", (-1, 2))
ONE: Final = {"x": np.ones((1, 2), np.float32)}


class Doubling:
    def __init__(self) -> None:
        self.is_closed = False
        self.rows: list[int] = []

    def run(self, outputs: Sequence[str], inputs: dict[str, Any]) -> list[Any]:
        assert not self.is_closed, "a session that was given back is run"
        self.rows.append(len(inputs["x"]))
        return [2 * inputs["x"] for _ in outputs]

    def close(self) -> None:
        self.is_closed = True


class Opening:
    """Opens a session each time it may: at once, unless it is held up."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.may.set()
        self.fails = False
        self.provider = "CPUExecutionProvider"
        self.opened: list[Doubling] = []

    def __call__(self, path: Path, options: SessionOptions) -> Opened:
        assert self.may.wait(WAIT_S)
        if self.fails:
            raise ModelUnusable("it is broken")
        self.opened.append(Doubling())
        runner: Any = self.opened[-1]
        return Opened(runner, (X,), (Y,), ("n",), self.provider)

    @property
    def left_open(self) -> int:
        return sum(not each.is_closed for each in self.opened)


@pytest.fixture
def opening() -> Opening:
    return Opening()


def model_of(opening: Opening, **said: Any) -> Model:
    return Model(Path("m.onnx"), "m", spec=parse_spec({"warmUp": {"runs": 0}, **said}), opens=opening, concurrency=4)


async def begun(*calls: Any) -> list[asyncio.Task[Any]]:
    """Tasks that have come as far as they can."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def all_of(tasks: Sequence[asyncio.Task[Any]]) -> list[Any]:
    async with asyncio.timeout(WAIT_S):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_two_who_load_at_the_same_time_open_it_once(opening: Opening) -> None:
    model = model_of(opening)
    opening.may.clear()
    tasks = await begun(model.load(), model.load())
    opening.may.set()
    assert await all_of(tasks) == [None, None]
    assert (model.state, len(opening.opened)) == (ModelState.READY, 1)


async def test_who_loads_while_it_is_being_unloaded_gets_it_back(opening: Opening) -> None:
    model = model_of(opening, idleSeconds=3600)
    await model.load()
    model.sleep()
    opening.may.clear()
    asked, unloading, loading = await begun(model.infer(ONE), model.unload(), model.load())
    opening.may.set()
    answer, *done = await all_of([asked, unloading, loading])
    assert (answer["y"].tolist(), done) == ([[2.0, 2.0]], [None, None])
    assert (model.state, opening.left_open) == (ModelState.READY, 1)
    assert (await model.infer(ONE))["y"].tolist() == [[2.0, 2.0]]


async def test_who_unloads_while_it_is_being_loaded_has_it_unloaded(opening: Opening) -> None:
    model = model_of(opening)
    opening.may.clear()
    tasks = await begun(model.load(), model.unload())
    opening.may.set()
    assert await all_of(tasks) == [None, None]
    assert (model.state, model.reason, opening.left_open) == (ModelState.UNAVAILABLE, "unloaded", 0)


async def test_a_model_that_is_unloaded_while_it_wakes_answers_who_has_woken_it(opening: Opening) -> None:
    model = model_of(opening, idleSeconds=3600)
    await model.load()
    model.sleep()
    opening.may.clear()
    asked, unloading = await begun(model.infer(ONE), model.unload())
    with pytest.raises(ModelUnavailable, match="UNLOADING"):
        await model.infer(ONE)
    opening.may.set()
    answer, done = await all_of([asked, unloading])
    assert (answer["y"].tolist(), done) == ([[2.0, 2.0]], None)
    assert (model.state, opening.left_open) == (ModelState.UNAVAILABLE, 0)


async def test_a_model_that_cannot_wake_any_more_can_be_unloaded(opening: Opening) -> None:
    model = model_of(opening, idleSeconds=3600)
    await model.load()
    model.sleep()
    opening.may.clear()
    opening.fails = True
    tasks = await begun(model.infer(ONE), model.unload())
    opening.may.set()
    failed, done = await all_of(tasks)
    assert (type(failed), done, model.state) == (ModelUnavailable, None, ModelState.UNAVAILABLE)


@pytest.mark.parametrize("loads", [True, False])
async def test_what_was_begun_is_finished_when_its_client_has_left(opening: Opening, loads: bool) -> None:
    model = model_of(opening, idleSeconds=3600)
    waiting: list[asyncio.Task[Any]] = []
    if not loads:
        await model.load()
        model.sleep()
    opening.may.clear()
    if not loads:
        waiting = await begun(model.infer(ONE))
    (task,) = await begun(model.load() if loads else model.unload())
    task.cancel()
    assert isinstance((await all_of([task]))[0], asyncio.CancelledError)
    opening.may.set()
    await all_of(waiting)
    async with asyncio.timeout(WAIT_S):
        await (model.load() if loads else model.unload())
    assert (len(opening.opened), opening.left_open) == ((1, 1) if loads else (2, 0))


async def test_tensorrt_is_shown_the_largest_batch_early_so_that_it_builds_for_all_sizes_at_once(
    opening: Opening,
) -> None:
    opening.provider = "TensorrtExecutionProvider"
    model = model_of(opening, warmUp={}, batching={"maxBatchSize": 8})
    await model.load()
    assert list(dict.fromkeys(opening.opened[0].rows)) == [1, 8, 2, 4]
