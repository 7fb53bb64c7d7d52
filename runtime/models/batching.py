"""Runs the requests of one model: together, as many as wait and `batch_rules` allow, each time a session is free.

A run that takes less than a change to another thread costs is made right here in the loop; longer ones in threads.
Such a thread goes on by itself with what waits by then: the session need not wait until the loop, which has answers to
write, lets it have the next batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from time import perf_counter_ns
from typing import Final, Protocol

import numpy as np

from runtime.models.batch_rules import BatchRules, RunTimes, how_many
from runtime.models.errors import InferenceFailed, ModelError, ModelUnavailable
from runtime.models.statistics import Statistics
from runtime.models.tensors import Array

# Below this the loop may be held up by a run: two changes of threads and the wake-ups cost about 0.1 ms, and a request
# that arrives meanwhile would wait for the session anyway.
INLINE_S_MAX: Final = 0.001
WAITING_MAX: Final = 4096  # requests; the gateway's slots keep it far below


class Runner(Protocol):
    """A session: runs the model, once at a time."""

    def run(self, outputs: Sequence[str], inputs: dict[str, Array]) -> list[Array]:
        """The named outputs. Blocks. Raises whatever the runtime raises."""

    def close(self) -> None:
        """Give back what it holds of the device. Nothing may be run any more."""


class Starter(Protocol):
    """Where runs are made: `runtime.models.threads`."""

    def start(self, work: Callable[[], None]) -> object:
        """Have it done in a thread, soon."""


class Job:
    """One request. `done` is called once, with this, when `results` or `error` is there; not if it was cancelled."""

    __slots__ = ("cancelled", "done", "error", "inputs", "outputs", "results", "rows", "signature", "since_ns")

    def __init__(
        self,
        inputs: dict[str, Array],
        outputs: tuple[str, ...],
        rows: int,
        signature: Hashable,
        done: Callable[[Job], None],
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.rows = rows
        self.signature = signature  # only jobs of the same one can be run together
        self.done = done
        self.since_ns = 0
        self.cancelled = False
        self.results: dict[str, Array] | None = None
        self.error: ModelError | None = None

    def cancel(self) -> None:
        """Nobody wants the answer any more: it leaves the queue; one that runs already is run to its end."""
        self.cancelled = True


class Batcher:
    """All methods are for the loop's thread. Without runners (`use`) everything waits.

    What threads take from, `_queues`, `_idle` and `pending` of the statistics, is changed under `_lock` only.
    """

    def __init__(self, rules: BatchRules, statistics: Statistics, threads: Starter) -> None:
        self.times = RunTimes(rules)
        self._rules = rules
        self._statistics = statistics
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._queues: dict[Hashable, deque[Job]] = {}
        self._idle: list[Runner] = []
        self._runners: tuple[Runner, ...] = ()
        self._looks = False  # a look at what waits is due already
        self._running = 0  # threads that have a runner, or have not told of their last run yet
        self._drained = asyncio.Event()  # set when nothing waits or runs any more, if somebody waits for that

    @property
    def is_idle(self) -> bool:
        return not self._running and not self._queues

    async def drain(self) -> None:
        """Returns when nothing waits or runs. Nothing may be submitted meanwhile."""
        self._drained.clear()
        if not self.is_idle:
            await self._drained.wait()

    def use(self, runners: Sequence[Runner]) -> None:
        """From now on run on these; none = everything waits. Nothing may be running on others."""
        assert not self._running, "runners are changed when none of them is in use"
        with self._lock:
            self._runners = tuple(runners)
            self._idle = list(runners)
        self._look_soon()

    def submit(self, job: Job) -> None:
        """Raises ModelUnavailable: too many wait already."""
        statistics = self._statistics
        if statistics.pending >= WAITING_MAX:
            statistics.failed("REJECTED", 0)
            raise ModelUnavailable(f"{statistics.pending} requests wait for this model: at most {WAITING_MAX} may")
        job.since_ns = perf_counter_ns()
        with self._lock:
            statistics.pending += 1
            queue = self._queues.get(job.signature)
            if queue is None:
                queue = self._queues[job.signature] = deque()
            queue.append(job)
            looks = self._idle and not self._looks
        if looks:
            self._look_soon()

    def fail_all(self, error: ModelError) -> None:
        """Answer everything that waits with this."""
        with self._lock:
            jobs = [job for queue in self._queues.values() for job in queue]
            self._queues.clear()
            self._statistics.pending -= len(jobs)
        for job in jobs:
            job.error = error
            self._finish(job, perf_counter_ns())

    # -- inside --------------------------------------------------------------------------------------------------------

    def _look_soon(self) -> None:
        """Not at once: what else has come in this turn of the loop shall be in the same batch."""
        self._looks = True
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._looks = False
        while True:
            with self._lock:
                if not self._idle or not self._queues:
                    return
                run = self._take(self._idle.pop())
            if run.jobs and self._is_quick(run):
                run.execute()
                self._give_back(run.runner)
                self._executed(run)
                self._look_again()  # after what has arrived meanwhile
                return
            if run.jobs:
                self._running += 1
                self._threads.start(partial(self._work, run))
            else:
                self._give_back(run.runner)
                self._executed(run)

    def _look_again(self) -> None:
        if self._queues and self._idle and not self._looks:
            self._look_soon()

    def _is_quick(self, run: _Run) -> bool:
        least_s = self.times.least_s(sum([job.rows for job in run.jobs]))
        return least_s is not None and least_s <= INLINE_S_MAX

    def _give_back(self, runner: Runner) -> None:
        with self._lock:
            if runner in self._runners:
                self._idle.append(runner)

    def _take(self, runner: Runner) -> _Run:
        """The next batch, which may turn out to have no jobs: of the signature whose first request has waited longest.
        Under the lock."""
        queues = self._queues
        if len(queues) == 1:
            (signature,) = queues
        else:
            signature = min(queues, key=lambda each: queues[each][0].since_ns)
        queue = queues[signature]
        cancelled = [job for job in queue if job.cancelled]
        for job in cancelled:
            queue.remove(job)
        count = how_many([job.rows for job in queue], self.times.rows_allowed()) if len(queue) > 1 else len(queue)
        jobs = [queue.popleft() for _ in range(count)]
        if not queue:
            del queues[signature]
        self._statistics.pending -= len(jobs) + len(cancelled)
        return _Run(runner, jobs, self._rules, cancelled)

    def _work(self, run: _Run) -> None:
        """In a thread: this run, and what waits when it is done, until nothing does. The loop is told of each."""
        following: _Run | None = run
        while following is not None:
            run = following
            run.execute()
            following = self._following(run)
            self._tell(self._returned if following is None else self._executed, run)

    def _following(self, run: _Run) -> _Run | None:
        """What the runner of a run does next; None: it is idle. What is quick is left to the loop, which makes such
        runs itself."""
        with self._lock:
            if self._queues and run.runner in self._runners and not self._is_quick(run):
                return self._take(run.runner)
            if run.runner in self._runners:
                self._idle.append(run.runner)
            return None

    def _tell(self, what: Callable[[_Run], None], run: _Run) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
            self._loop.call_soon_threadsafe(what, run)

    def _returned(self, run: _Run) -> None:
        self._running -= 1
        self._executed(run)
        self._look_again()

    def _executed(self, run: _Run) -> None:
        statistics = self._statistics
        for rows, requests, input_ns, infer_ns, output_ns in run.executions:
            statistics.executed(rows=rows, requests=requests, input_ns=input_ns, infer_ns=infer_ns, output_ns=output_ns)
            self.times.note(rows, (input_ns + infer_ns + output_ns) / 1e9)
        now_ns = perf_counter_ns()
        for job in run.jobs:
            if job.error is None and not job.cancelled:
                statistics.queue.add(run.began_ns - job.since_ns)
            self._finish(job, now_ns)
        for job in run.cancelled:
            statistics.failed("CANCELED", now_ns - job.since_ns)
        if self.is_idle:
            self._drained.set()

    def _finish(self, job: Job, now_ns: int) -> None:
        took_ns = now_ns - job.since_ns
        if job.cancelled:
            self._statistics.failed("CANCELED", took_ns)
            return
        if job.error is None:
            self._statistics.success.add(took_ns)
        else:
            self._statistics.failed("BACKEND" if isinstance(job.error, InferenceFailed) else "OTHER", took_ns)
        job.done(job)


class _Run:
    """Jobs that are run together on one runner; one by one, if together they fail."""

    __slots__ = ("_rules", "began_ns", "cancelled", "executions", "jobs", "runner")

    def __init__(self, runner: Runner, jobs: list[Job], rules: BatchRules, cancelled: list[Job]) -> None:
        self.runner = runner
        self.jobs = jobs
        self.cancelled = cancelled  # taken from the queue with them, and not run
        self._rules = rules
        self.began_ns = perf_counter_ns()
        self.executions: list[tuple[int, int, int, int, int]] = []  # rows, requests, ns in, infer, out

    def execute(self) -> None:
        """Every job has results or an error after it. Raises nothing; may run in a thread."""
        if not self.jobs:
            return
        try:
            self._together(self.jobs)
        except Exception as error:
            if len(self.jobs) == 1:
                self.jobs[0].error = _failed(error)
                return
            for job in self.jobs:
                try:
                    self._together([job])
                except Exception as error:
                    job.error = _failed(error)

    def _together(self, jobs: list[Job]) -> None:
        began_ns = perf_counter_ns()
        outputs = jobs[0].outputs
        if len(jobs) > 1:
            for job in jobs:
                if job.outputs != outputs:
                    outputs = tuple(dict.fromkeys(name for each in jobs for name in each.outputs))
                    break
            rows = sum([job.rows for job in jobs])
        else:
            rows = jobs[0].rows
        filled = self._rules.bucket(rows) - rows if self._rules.pads else 0
        inputs = stacked([job.inputs for job in jobs], filled)
        ready_ns = perf_counter_ns()
        results = self.runner.run(outputs, inputs)
        ran_ns = perf_counter_ns()
        if len(jobs) == 1 and not filled:
            jobs[0].results = dict(zip(outputs, results, strict=True))
        else:
            _split(jobs, outputs, results, rows + filled)
        done_ns = perf_counter_ns()
        self.executions.append((rows, len(jobs), ready_ns - began_ns, ran_ns - ready_ns, done_ns - ran_ns))


def stacked(each: Sequence[dict[str, Array]], filled: int = 0) -> dict[str, Array]:
    """The inputs one below the other, and the last row again `filled` times."""
    if len(each) == 1 and not filled:
        return each[0]
    inputs = {}
    for name, last in each[-1].items():
        arrays = [one[name] for one in each]
        if filled:
            arrays.append(np.repeat(last[-1:], filled, axis=0))
        inputs[name] = np.concatenate(arrays)
    return inputs


def _split(jobs: list[Job], outputs: tuple[str, ...], results: list[Array], rows: int) -> None:
    for name, result in zip(outputs, results, strict=True):
        if result.ndim == 0 or result.shape[0] != rows:
            raise InferenceFailed(
                f"output '{name}' has the shape {list(result.shape)} for a batch of {rows}: it has no batch axis; "
                "maxBatchSize 0 in model.yaml runs requests one by one"
            )
    at = 0
    for job in jobs:
        end = at + job.rows
        found = dict(zip(outputs, [result[at:end] for result in results], strict=True))
        job.results = found if job.outputs == outputs else {name: found[name] for name in job.outputs}
        at = end


def _failed(error: Exception) -> ModelError:
    return error if isinstance(error, ModelError) else InferenceFailed(f"the model failed: {error}")
