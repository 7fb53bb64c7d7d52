"""A model that is served: what it takes and gives, and the way to run it. What all protocols are built on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from runtime.models import warm_up
from runtime.models.batch_rules import BatchRules, in_order
from runtime.models.batching import Batcher, Job
from runtime.models.errors import InvalidInput, ModelUnavailable, ModelUnusable
from runtime.models.graph import Graph, Shape, shape_of, unbatched
from runtime.models.session import Opened, SessionOptions, give_back_memory, open_session
from runtime.models.spec import FILE_NAME, MIB, ModelSpec
from runtime.models.statistics import Statistics
from runtime.models.tensors import FREE, Array, TensorSpec
from runtime.models.threads import Threads

log = logging.getLogger(__name__)

PLATFORM: Final = "onnxruntime_onnx"
_TIMER_S: Final = 0.002  # how much too early a loop's timer may ring


class ModelState(StrEnum):
    """In the words of the Open Inference Protocol's repository index."""

    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"


class Model:
    """One model of one version. All methods are for the loop's thread.

    Loading and unloading go one after the other, however many ask for them, and what was begun is finished even if who
    asked has gone.

    `inputs` and `outputs` have the batch axis in their shapes (-1) when `max_batch_size` is above 0; at 0 requests are
    run one by one, as they are. They are known once it was opened, and stay so while it is unloaded.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        version: str = "1",
        *,
        spec: ModelSpec | None = None,
        options: SessionOptions | None = None,
        concurrency: int = 1,
        opens: Callable[[Path, SessionOptions], Opened] = open_session,
    ) -> None:
        """`concurrency` is how many requests can be inside at once: what batches are made ready for."""
        self.name = name
        self.version = version
        self.platform = PLATFORM
        self.spec = spec or ModelSpec()
        self.state = ModelState.UNAVAILABLE
        self.reason = "not loaded yet"  # of a state that is not READY
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        self.max_batch_size = 0
        self.rules = BatchRules()
        self.provider = ""  # ONNX Runtime's name of what it runs on
        self.statistics = Statistics()
        self.is_asleep = False  # ready, and its sessions are opened by the next request
        self._path = path
        self._options = options or SessionOptions()
        self._concurrency = concurrency
        self._opens = opens
        self._opened: list[Opened] = []
        self._batcher: Batcher | None = None
        self._threads = Threads(self.spec.instances_per_device, "model")
        self._by_name: dict[str, TensorSpec] = {}
        self._all_outputs: tuple[str, ...] = ()
        self.bf16_outputs: frozenset[str] = frozenset()  # arrays of them have the bits
        self._shape = Shape((), (), 0, self.rules)
        self._shapes_vary = False
        self._tensor_bytes_max = int(self.spec.tensor_mib_max * MIB)
        self._idle_s = self.spec.idle_seconds
        self._last_used_s = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._waking: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._changes: set[asyncio.Task[None]] = set()

    @property
    def is_ready(self) -> bool:
        return self.state is ModelState.READY

    # -- its life ------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open its sessions. Does nothing if they are. Raises ModelUnusable."""
        await self._change(self._open)

    async def load(self) -> None:
        """Open it and run each batch bucket; ready after it. Does nothing if it is already. Raises ModelUnusable."""
        await self._change(self._load)

    async def unload(self) -> None:
        """Requests that come from now on are refused; those inside are answered before this returns."""
        await self._change(self._unload)

    async def _change(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def in_turn() -> None:
            async with self._changing:
                await change()

        task = asyncio.ensure_future(in_turn())
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        await asyncio.shield(task)

    async def _open(self) -> None:
        if self._batcher is not None:
            return
        self.state, self.reason = ModelState.LOADING, "being loaded"
        try:
            opened = await self._open_sessions()
            graph = Graph(opened[0].inputs, opened[0].outputs, opened[0].first_axes)
            self._serve_as(shape_of(graph, self.spec, self._concurrency, self._labels), opened)
        except Exception as error:
            self.state, self.reason = ModelState.UNAVAILABLE, str(error)
            raise

    async def _load(self) -> None:
        if self.is_ready:
            return
        await self._open()
        try:
            await self._warm_up()
        except Exception as error:
            await self._close()
            self.state, self.reason = ModelState.UNAVAILABLE, str(error)
            raise
        self.state, self.reason = ModelState.READY, ""
        self._note_use()

    async def _unload(self) -> None:
        if not self.is_ready:
            return
        self.state, self.reason = ModelState.UNLOADING, "being unloaded"
        await self._close()
        self.state, self.reason = ModelState.UNAVAILABLE, "unloaded"

    def sleep(self) -> None:
        """Give back what the sessions hold, of a GPU above all; does nothing while requests are inside.

        The next request opens them again, and waits for that: the file is in the machine's memory still.
        """
        if not self.is_ready or self.is_asleep or self._batcher is None or not self._batcher.is_idle:
            return
        self.is_asleep = True
        self._drop_sessions(self._batcher)
        give_back_memory()
        log.info("model %s is asleep", self.name)

    # -- requests ------------------------------------------------------------------------------------------------------

    def submit(
        self, inputs: dict[str, Array], done: Callable[[Job], None], outputs: Sequence[str] | None = None
    ) -> Job:
        """Run it when its turn comes; `done` is called with the job then, in the loop. For who wants no future.

        Raises:
            InvalidInput: the tensors are not what the model takes; says which and how.
            ModelUnavailable: it is not loaded, or too many requests wait.
        """
        if self.state is not ModelState.READY:
            raise ModelUnavailable(f"model '{self.name}' is {self.state}: {self.reason}")
        rows = self._checked(inputs)
        wanted = self._all_outputs if outputs is None else self._wanted(outputs)
        signature: Hashable = ()
        if self._shapes_vary:
            signature = tuple([inputs[spec.name].shape[1:] for spec in self.inputs])
        job = Job(inputs, wanted, rows, signature, done)
        assert self._batcher is not None, "a ready model has one"
        self._batcher.submit(job)
        if self._idle_s is not None:
            self._note_use()
        return job

    async def infer(self, inputs: dict[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """The outputs asked for (all, if None) by name. Cancelling the task takes the request out of the queue.

        Texts (BYTES) come in as object arrays of `str` (`as_texts` makes them of bytes), and go out so.

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

    def _checked(self, inputs: dict[str, Array]) -> int:
        """How many rows they have."""
        by_name, batched = self._by_name, self.max_batch_size
        rows = 0
        for name, array in inputs.items():
            spec = by_name.get(name)
            if spec is None:
                raise InvalidInput(f"input '{name}' is not one of the model's: {', '.join(by_name)} are")
            if array.nbytes > self._tensor_bytes_max:
                raise InvalidInput(
                    f"input '{name}' has {array.nbytes} bytes: at most {self._tensor_bytes_max} are allowed"
                )
            spec.check(array)
            if batched:
                if rows and len(array) != rows:
                    raise InvalidInput(f"input '{name}' has {len(array)} rows, others {rows}: one number is allowed")
                rows = len(array)
                if not 1 <= rows <= batched:
                    raise InvalidInput(f"input '{name}' has {rows} rows: 1 to {batched} are allowed")
        if len(inputs) != len(by_name):
            missing = ", ".join(f"'{name}'" for name in by_name if name not in inputs)
            raise InvalidInput(f"input {missing} is missing: the model takes {', '.join(by_name)}")
        return rows or 1

    def _wanted(self, outputs: Sequence[str]) -> tuple[str, ...]:
        for name in outputs:
            if name not in self._all_outputs:
                raise InvalidInput(f"output '{name}' is not one of the model's: {', '.join(self._all_outputs)} are")
        return tuple(dict.fromkeys(outputs)) or self._all_outputs

    # -- sessions ------------------------------------------------------------------------------------------------------

    async def _open_sessions(self) -> list[Opened]:
        loop = asyncio.get_running_loop()
        return [
            await loop.run_in_executor(self._threads, self._opens, self._path, self._options)
            for _ in range(self.spec.instances_per_device)
        ]

    def _serve_as(self, shape: Shape, opened: list[Opened]) -> None:
        self.inputs, self.outputs = shape.inputs, shape.outputs
        self.max_batch_size, self.rules = shape.max_batch_size, shape.rules
        self._shape = shape
        self._by_name = {spec.name: spec for spec in self.inputs}
        self._all_outputs = tuple(spec.name for spec in self.outputs)
        self.bf16_outputs = frozenset(spec.name for spec in self.outputs if spec.datatype == "BF16")
        self._shapes_vary = any(FREE in spec.shape[1:] for spec in self.inputs)
        self._opened = opened
        self.provider = opened[0].provider
        self._batcher = Batcher(shape.rules, self.statistics, self._threads)
        self._batcher.use([each.runner for each in opened])

    async def _warm_up(self) -> None:
        """Run each bucket on each session, for what is made at the first run and to learn how long one takes."""
        runs = self.spec.warm_up.runs
        if not runs:
            return
        row = warm_up.row(self.inputs, self.spec.warm_up, self._path.parent, has_batch_axis=self.max_batch_size > 0)
        buckets = self.rules.buckets
        for rows in in_order(buckets, self.provider):
            results: list[Array] | None
            try:
                results = await self._run_bucket(row, rows, runs)
            except ModelUnusable:
                # One row is fine, and two are not: the graph's axes are free in name only.
                if self._is_batched_by_word or rows == 1 or rows != buckets[1]:
                    raise
                results = None
            if results is None or (self.max_batch_size and any(array.shape[:1] != (rows,) for array in results)):
                if results is not None and self._is_batched_by_word:
                    shapes = ", ".join(str(list(array.shape)) for array in results)
                    raise ModelUnusable(
                        f"{FILE_NAME}: batching.maxBatchSize is {self.rules.rows_max}: {rows} rows give outputs of the "
                        f"shapes {shapes}, which have no batch axis"
                    )
                log.info("model %s is not batched: it does not take %d rows together", self.name, rows)
                self._serve_as(unbatched(self._shape), self._opened)
                await self._run_bucket(row, 1, runs)
                return

    @property
    def _is_batched_by_word(self) -> bool:
        batching = self.spec.batching
        return bool(batching.max_batch_size or batching.buckets)

    async def _run_bucket(self, row: dict[str, Array], rows: int, runs: int) -> list[Array]:
        """The results. Raises ModelUnusable: the model fails."""
        inputs = warm_up.repeated(row, rows)
        loop, outputs = asyncio.get_running_loop(), self._all_outputs
        assert self._batcher is not None, "opened"
        for opened in self._opened:
            ran = await loop.run_in_executor(self._threads, warm_up.run, opened.runner, outputs, inputs, runs)
            self._batcher.times.note(rows, ran.took_s)
            for ns in ran.ns:
                self.statistics.success.add(ns)
                self.statistics.queue.add(0)
                self.statistics.executed(rows=rows, requests=1, input_ns=0, infer_ns=ns, output_ns=0)
        return ran.results

    def _labels(self, name: str) -> Sequence[str]:
        try:
            text = (self._path.parent / name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelUnusable(f"{FILE_NAME}: labels '{name}' cannot be read: {error}") from error
        return text.rstrip("\n").split("\n")  # universal newlines: what ends a line is read as that

    async def _close(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        batcher = self._batcher
        if batcher is None:
            return
        if self._waking is not None:  # for requests that are inside
            await self._waking
        await batcher.drain()
        self._drop_sessions(batcher)
        self._batcher = None
        self.is_asleep = False

    def _drop_sessions(self, batcher: Batcher) -> None:
        batcher.use(())
        opened, self._opened = self._opened, []
        for each in opened:
            each.runner.close()

    # -- idle mode -----------------------------------------------------------------------------------------------------

    def _note_use(self) -> None:
        """For a model that sleeps when it is idle: it is not, and if it slept, it wakes."""
        if self._idle_s is None:
            return
        loop = asyncio.get_running_loop()
        self._last_used_s = loop.time()
        if self.is_asleep and self._waking is None:
            self._waking = loop.create_task(self._wake())
        if self._idle_timer is None:
            self._idle_timer = loop.call_later(self._idle_s, self._look_at_idleness)

    def _look_at_idleness(self) -> None:
        self._idle_timer = None
        batcher, loop = self._batcher, asyncio.get_running_loop()
        if batcher is None or self.is_asleep or self._idle_s is None:
            return
        if not batcher.is_idle:
            self._last_used_s = loop.time()
        left_s = self._last_used_s + self._idle_s - loop.time()
        if left_s > _TIMER_S:
            self._idle_timer = loop.call_later(left_s, self._look_at_idleness)
        else:
            self.sleep()

    async def _wake(self) -> None:
        """What waits is run, or told why it cannot be; the next request tries again."""
        assert self._batcher is not None, "an unloaded model is not woken"
        try:
            self._opened = await self._open_sessions()
        except Exception as error:
            log.exception("model %s cannot be opened again", self.name)
            self._batcher.fail_all(ModelUnavailable(f"model '{self.name}' could not be opened again: {error}"))
        else:
            self.is_asleep = False
            self._batcher.use([each.runner for each in self._opened])
        finally:
            self._waking = None
