"""A model that is a function: what the Open Inference Protocol asks of one, without ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from runtime.models.batching import Job
from runtime.models.errors import ModelError, ModelUnavailable
from runtime.models.providers import CPU
from runtime.models.spec import ModelSpec
from runtime.models.statistics import Statistics
from runtime.models.tensors import Array, TensorSpec

Run = Callable[[dict[str, Array]], dict[str, Array]]


class FakeModel:
    """Runs `run` at once; a `run` that raises a ModelError fails the request."""

    def __init__(
        self,
        run: Run,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        name: str = "simple",
        max_batch_size: int = 8,
    ) -> None:
        self.name = name
        self.version = "1"
        self.platform = "onnxruntime_onnx"
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.max_batch_size = max_batch_size
        self.spec = ModelSpec()
        self.provider = CPU
        self.state = "READY"
        self.reason = ""
        self.statistics = Statistics()
        self.seen: list[dict[str, Array]] = []
        self.waiting: list[Job] = []  # that were submitted
        self._run = run

    async def infer(self, inputs: dict[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        if self.state != "READY":
            raise ModelUnavailable(f"model '{self.name}' is {self.state}: {self.reason}")
        self.seen.append(inputs)
        results = self._run(inputs)
        rows = len(next(iter(inputs.values()))) if self.max_batch_size else 1
        self.statistics.executed(rows=rows, requests=1, input_ns=1000, infer_ns=2000, output_ns=1000)
        self.statistics.queue.add(1000)
        self.statistics.success.add(5000)
        return {spec.name: results[spec.name] for spec in self.outputs if outputs is None or spec.name in outputs}

    def submit(
        self, inputs: dict[str, Array], done: Callable[[Job], None], outputs: Sequence[str] | None = None
    ) -> Job:
        job = Job(inputs, tuple(outputs or ()), 1, (), done)
        self.waiting.append(job)
        return job

    async def run_waiting(self) -> None:
        """Of what was submitted, all that was not cancelled."""
        jobs, self.waiting = self.waiting, []
        for job in jobs:
            if job.cancelled:
                continue
            try:
                job.results = await self.infer(job.inputs, job.outputs)
            except ModelError as error:
                job.error = error
            job.done(job)

    async def load(self) -> None:
        self.state, self.reason = "READY", ""

    async def unload(self) -> None:
        self.state, self.reason = "UNAVAILABLE", "unloaded"


def adder(max_batch_size: int = 8) -> FakeModel:
    """Triton's example: the sum and the difference of two rows of 16 integers."""
    shape = (-1, 16) if max_batch_size else (16,)

    def run(inputs: dict[str, Array]) -> dict[str, Array]:
        one, other = inputs["INPUT0"], inputs["INPUT1"]
        return {"OUTPUT0": one + other, "OUTPUT1": one - other}

    return FakeModel(
        run,
        [TensorSpec(name, "INT32", shape) for name in ("INPUT0", "INPUT1")],
        [TensorSpec("OUTPUT0", "INT32", shape, ("cat", "dog")), TensorSpec("OUTPUT1", "INT32", shape)],
        max_batch_size=max_batch_size,
    )


def echo(datatype: str, shape: tuple[int, ...] = (-1,), max_batch_size: int = 0) -> FakeModel:
    """Gives what it got."""
    return FakeModel(
        lambda inputs: {"out": inputs["in"]},
        [TensorSpec("in", datatype, shape)],
        [TensorSpec("out", datatype, shape)],
        name="echo",
        max_batch_size=max_batch_size,
    )


def constant(values: Array, labels: tuple[str, ...] = ()) -> FakeModel:
    """Gives the same for every input, a value alone."""
    datatype = {"f": "FP32", "i": "INT64", "O": "BYTES"}[values.dtype.kind]
    shape = tuple(-1 for _ in values.shape)
    return FakeModel(
        lambda _: {"out": values.astype(np.float32) if datatype == "FP32" else values},
        [TensorSpec("in", "FP32", (1,))],
        [TensorSpec("out", datatype, shape, labels)],
        name="constant",
        max_batch_size=0,
    )
