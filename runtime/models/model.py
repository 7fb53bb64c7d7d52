"""A model that is served: what it takes and gives, and the way to run it. What all protocols are built on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path

import numpy as np

from runtime.models.batch_rules import BatchRules
from runtime.models.batching import Batcher, Job
from runtime.models.errors import InvalidInput, ModelUnavailable
from runtime.models.session import OnnxSession, SessionOptions, open_session
from runtime.models.statistics import Statistics
from runtime.models.tensors import FREE, Array, TensorSpec

PLATFORM = "onnxruntime_onnx"


class ModelState(StrEnum):
    """In the words of the Open Inference Protocol's repository index."""

    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"


class Model:
    """One model of one version. All methods are for the loop's thread.

    `inputs` and `outputs` have the batch axis in their shapes (-1) when `max_batch_size` is above 0; at 0 requests are
    run one by one, as they are. They are known once `load` has run for the first time.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        version: str = "1",
        *,
        options: SessionOptions | None = None,
        rules: BatchRules | None = None,
        sessions: int = 1,
    ) -> None:
        self.name = name
        self.version = version
        self.platform = PLATFORM
        self.state = ModelState.UNAVAILABLE
        self.reason = "not loaded yet"  # of a state that is not READY
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        self.max_batch_size = 0
        self.statistics = Statistics()
        self._path = path
        self._options = options or SessionOptions()
        self._rules = rules or BatchRules()
        self._sessions_count = sessions
        self._sessions: list[OnnxSession] = []
        self._batcher: Batcher | None = None
        self._executor = ThreadPoolExecutor(sessions, thread_name_prefix="model")
        self._by_name: dict[str, TensorSpec] = {}
        self._all_outputs: tuple[str, ...] = ()
        self._shapes_vary = False

    @property
    def is_ready(self) -> bool:
        return self.state is ModelState.READY

    async def load(self) -> None:
        """Ready after it; does nothing if it is already. Raises ModelUnusable."""
        if self.is_ready:
            return
        self.state, self.reason = ModelState.LOADING, "being loaded"
        loop = asyncio.get_running_loop()
        try:
            sessions = [
                await loop.run_in_executor(self._executor, open_session, self._path, self._options)
                for _ in range(self._sessions_count)
            ]
        except Exception as error:
            self.state, self.reason = ModelState.UNAVAILABLE, str(error)
            raise
        self._sessions = sessions
        self._describe(sessions[0])
        if self._batcher is None:
            self._batcher = Batcher(self._rules, self.statistics, self._executor)
        self._batcher.use(sessions)
        self.state, self.reason = ModelState.READY, ""

    async def unload(self) -> None:
        """Requests that come from now on are refused; those inside are answered before this returns."""
        if not self.is_ready:
            return
        self.state, self.reason = ModelState.UNLOADING, "being unloaded"
        assert self._batcher is not None, "a ready model has one"
        await self._batcher.drain()
        self._batcher.use(())
        for session in self._sessions:
            session.close()
        self._sessions = []
        self.state, self.reason = ModelState.UNAVAILABLE, "unloaded"

    def submit(
        self, inputs: dict[str, Array], done: Callable[[Job], None], outputs: Sequence[str] | None = None
    ) -> Job:
        """Run it when its turn comes; `done` is called with the job then, in the loop. For who wants no future.

        Raises:
            InvalidInput: the tensors are not what the model takes; says which and how.
            ModelUnavailable: it is not loaded.
        """
        if self.state is not ModelState.READY:
            raise ModelUnavailable(f"model '{self.name}' is {self.state}: {self.reason}")
        rows = self._checked(inputs)
        wanted = self._all_outputs if outputs is None else self._wanted(outputs)
        signature: Hashable = ()
        if self._shapes_vary:
            signature = tuple([array.shape[1:] for array in inputs.values()])
        job = Job(inputs, wanted, rows, signature, done)
        assert self._batcher is not None, "a ready model has one"
        self._batcher.submit(job)
        return job

    async def infer(self, inputs: dict[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The outputs asked for (all, if None) by name. Cancelling the task takes the request out of the queue.

        Texts (BYTES) come in as object arrays of `str` or UTF-8 `bytes`, and go out as object arrays of `str`.

        Raises:
            InvalidInput, ModelUnavailable: as `submit` does.
            InferenceFailed: the model raised an error on this input.
        """
        future: asyncio.Future[dict[str, Array]] = asyncio.get_running_loop().create_future()

        def done(job: Job) -> None:
            if future.done():
                return
            if job.error is not None:
                future.set_exception(job.error)
            else:
                assert job.results is not None, "a job without an error has results"
                future.set_result(job.results)

        job = self.submit(inputs, done, outputs)
        try:
            return await future
        except asyncio.CancelledError:
            job.cancel()
            raise

    # -- inside --------------------------------------------------------------------------------------------------------

    def _describe(self, session: OnnxSession) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self._by_name = {spec.name: spec for spec in self.inputs}
        self._all_outputs = tuple(spec.name for spec in self.outputs)
        batched = all(spec.shape[:1] == (FREE,) for spec in (*self.inputs, *self.outputs))
        self.max_batch_size = self._rules.rows_max if batched else 0
        self._shapes_vary = any(FREE in spec.shape[1:] for spec in self.inputs)

    def _checked(self, inputs: dict[str, Array]) -> int:
        """How many rows they have."""
        by_name = self._by_name
        rows = 0
        for name, array in inputs.items():
            spec = by_name.get(name)
            if spec is None:
                raise InvalidInput(f"input '{name}' is not one of the model's: {', '.join(by_name)} are")
            spec.check(array)
            if self.max_batch_size:
                if rows and array.shape[0] != rows:
                    raise InvalidInput(
                        f"input '{name}' has {array.shape[0]} rows, others have {rows}: the same number is allowed"
                    )
                rows = array.shape[0]
        if len(inputs) != len(by_name):
            missing = ", ".join(name for name in by_name if name not in inputs)
            raise InvalidInput(f"input '{missing}' is missing: the model takes {', '.join(by_name)}")
        return rows or 1

    def _wanted(self, outputs: Sequence[str]) -> tuple[str, ...]:
        for name in outputs:
            if name not in self._all_outputs:
                raise InvalidInput(f"output '{name}' is not one of the model's: {', '.join(self._all_outputs)} are")
        return tuple(outputs) or self._all_outputs


def as_texts(array: Array) -> Array:
    """An array of texts, some of which may be bytes, as ONNX Runtime takes it. Raises UnicodeDecodeError."""
    return np.array(
        [each.decode() if isinstance(each, bytes) else each for each in array.ravel()], dtype=np.object_
    ).reshape(array.shape)
