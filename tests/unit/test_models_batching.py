"""Requests of one model, put together and taken apart again, with a stand-in for the session."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pytest

from runtime.models.batch_rules import BatchRules, powers_of_two
from runtime.models.batching import WAITING_MAX, Batcher, Job
from runtime.models.errors import InferenceFailed, ModelUnavailable
from runtime.models.statistics import Statistics
from runtime.models.threads import Threads

WAIT_S: Final = 5.0


class Doubling:
    """y = 2x; fails on a batch with a negative number in it."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []

    def run(self, outputs: Sequence[str], inputs: dict[str, Any]) -> list[Any]:
        self.batches.append(inputs["x"].ravel().tolist())
        if (inputs["x"] < 0).any():
            raise RuntimeError("a negative number")
        return [2 * inputs["x"] if name == "y" else -inputs["x"] for name in outputs]

    def close(self) -> None: ...


class ByHand:
    """Runs what it was given when it is told to."""

    def __init__(self) -> None:
        self.given: list[Callable[[], None]] = []

    def start(self, work: Callable[[], None]) -> None:
        self.given.append(work)

    def run_one(self) -> None:
        self.given.pop(0)()


class World:
    def __init__(self, rules: BatchRules | None = None, sessions: int = 1) -> None:
        self.threads = ByHand()
        self.statistics = Statistics()
        self.batcher = Batcher(rules or BatchRules(powers_of_two(8)), self.statistics, self.threads)
        self.runners = [Doubling() for _ in range(sessions)]
        self.batcher.use(self.runners)
        self.answers: list[Any] = []

    def ask(self, *values: float, outputs: tuple[str, ...] = ("y",), signature: Any = ()) -> Job:
        array = np.array(values, dtype=np.float32)
        job = Job({"x": array}, outputs, len(values), signature, self.done)
        self.batcher.submit(job)
        return job

    def done(self, job: Job) -> None:
        results = job.results
        self.answers.append(job.error or {name: array.tolist() for name, array in (results or {}).items()})

    async def turn(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    async def run_one(self) -> None:
        """Unless it was so short here that it was run without a thread already."""
        await self.turn()
        if self.threads.given:
            self.threads.run_one()
        await self.turn()

    @property
    def batches(self) -> list[list[float]]:
        return self.runners[0].batches


async def test_a_request_alone_is_run_at_once() -> None:
    world = World()
    world.ask(1)
    await world.turn()
    assert len(world.threads.given) == 1
    await world.run_one()
    assert world.answers == [{"y": [2.0]}]


async def test_what_comes_while_one_runs_is_run_together_and_each_gets_its_own() -> None:
    world = World()
    world.ask(1)
    await world.turn()
    for value in (2, 3, 4):
        world.ask(value)
    await world.run_one()
    await world.run_one()
    assert world.batches == [[1.0], [2.0, 3.0, 4.0]]
    assert world.answers == [{"y": [2.0]}, {"y": [4.0]}, {"y": [6.0]}, {"y": [8.0]}]
    statistics = world.statistics
    assert (statistics.success.count, statistics.execution_count, statistics.inference_count) == (4, 2, 4)
    assert (statistics.compute_infer.count, sorted(statistics.batches), statistics.pending) == (4, [1, 3], 0)


async def test_what_comes_in_one_turn_of_the_loop_is_one_batch_up_to_the_largest() -> None:
    world = World()
    for value in range(10):
        world.ask(value)
    await world.run_one()
    await world.run_one()
    assert [len(batch) for batch in world.batches] == [8, 2]


async def test_a_run_known_to_be_short_needs_no_thread() -> None:
    world = World()
    world.batcher.times.note(1, 0.0001)
    world.batcher.times.note(2, 0.002)
    world.ask(1)
    await world.turn()
    assert world.answers == [{"y": [2.0]}]
    world.ask(1)
    world.ask(2)
    await world.turn()
    assert len(world.threads.given) == 1


async def test_requests_of_other_shapes_are_run_apart_the_oldest_first() -> None:
    world = World()
    world.ask(1, signature="a")
    world.ask(2, signature="b")
    world.ask(3, signature="a")
    await world.run_one()
    await world.run_one()
    assert world.batches == [[1.0, 3.0], [2.0]]


async def test_two_sessions_run_two_batches_at_the_same_time() -> None:
    world = World(BatchRules((1,)), sessions=2)
    for value in (1, 2, 3):
        world.ask(value)
    await world.turn()
    assert len(world.threads.given) == 2


async def test_a_cancelled_request_leaves_the_batch() -> None:
    world = World()
    world.ask(1)
    await world.turn()
    gone, stays = world.ask(2), world.ask(3)
    gone.cancel()
    await world.run_one()
    await world.run_one()
    assert world.batches == [[1.0], [3.0]]
    assert (len(world.answers), world.statistics.failures["CANCELED"], world.statistics.pending) == (2, 1, 0)
    assert not stays.cancelled


async def test_nothing_runs_when_all_that_waited_are_gone() -> None:
    world = World()
    world.ask(1).cancel()
    await world.turn()
    assert (world.threads.given, world.batcher.is_idle) == ([], True)


async def test_one_who_leaves_while_it_runs_gets_no_answer() -> None:
    world = World()
    job = world.ask(1)
    await world.turn()
    job.cancel()
    await world.run_one()
    assert (world.answers, world.statistics.failures["CANCELED"]) == ([], 1)


async def test_one_bad_request_does_not_fail_its_neighbours() -> None:
    world = World()
    for value in (1, -2, 3):
        world.ask(value)
    await world.run_one()
    assert world.answers[0] == {"y": [2.0]}
    assert isinstance(world.answers[1], InferenceFailed)
    assert "a negative number" in str(world.answers[1])
    assert world.answers[2] == {"y": [6.0]}
    assert world.batches == [[1.0, -2.0, 3.0], [1.0], [-2.0], [3.0]]
    statistics = world.statistics
    assert (statistics.success.count, statistics.failures["BACKEND"]) == (2, 1)
    assert (statistics.queue.count, statistics.compute_infer.count) == (2, 2), "durations are of those that succeeded"


async def test_requests_for_different_outputs_are_run_together_and_get_what_they_asked_for() -> None:
    world = World()
    world.ask(1, outputs=("y",))
    world.ask(2, outputs=("z", "y"))
    await world.run_one()
    assert world.answers == [{"y": [2.0]}, {"z": [-2.0], "y": [4.0]}]


async def test_with_fixed_buckets_a_batch_is_filled_up_with_its_last_row() -> None:
    world = World(BatchRules((4, 8), pads=True))
    world.ask(1)
    world.ask(2, 3)
    await world.run_one()
    world.ask(7)
    await world.run_one()
    assert world.batches == [[1.0, 2.0, 3.0, 3.0], [7.0, 7.0, 7.0, 7.0]]
    assert world.answers == [{"y": [2.0]}, {"y": [4.0, 6.0]}, {"y": [14.0]}]
    assert world.statistics.inference_count == 4


async def test_an_output_without_a_batch_axis_fails_no_request_that_is_run_alone() -> None:
    class Total(Doubling):
        def run(self, outputs: Sequence[str], inputs: dict[str, Any]) -> list[Any]:
            return [inputs["x"].sum(keepdims=True)]

    world = World()
    world.batcher.use([Total()])
    world.ask(1)
    world.ask(2)
    await world.run_one()
    assert world.answers == [{"y": [1.0]}, {"y": [2.0]}]


async def test_too_many_that_wait_are_refused() -> None:
    world = World()
    world.batcher.use([])
    for _ in range(WAITING_MAX):
        world.ask(1)
    with pytest.raises(ModelUnavailable, match=f"at most {WAITING_MAX} may"):
        world.ask(1)
    assert world.statistics.failures["REJECTED"] == 1


async def test_without_sessions_everything_waits_until_there_are_some_or_it_is_refused() -> None:
    world = World()
    world.batcher.use([])
    world.ask(1)
    await world.turn()
    assert (world.threads.given, world.statistics.pending) == ([], 1)
    world.batcher.use(world.runners)
    await world.run_one()
    assert world.answers == [{"y": [2.0]}]
    world.batcher.use([])
    world.ask(2)
    world.batcher.fail_all(ModelUnavailable("gone"))
    assert str(world.answers[1]) == "gone"
    assert (world.batcher.is_idle, world.statistics.failures["OTHER"]) == (True, 1)


async def test_a_drain_ends_with_the_last_answer() -> None:
    world = World()
    world.ask(1)
    await world.turn()
    drained = asyncio.ensure_future(world.batcher.drain())
    await world.turn()
    assert not drained.done()
    await world.run_one()
    assert drained.done()


class Meeting:
    """A session whose second run tells that it has begun."""

    def __init__(self) -> None:
        self.runs = 0
        self.may_end = threading.Event()
        self.second_began = threading.Event()

    def run(self, outputs: Sequence[str], inputs: dict[str, Any]) -> list[Any]:
        self.runs += 1
        if self.runs == 2:
            self.second_began.set()
        assert self.may_end.wait(WAIT_S)
        return [inputs["x"] for _ in outputs]

    def close(self) -> None: ...


async def test_the_next_batch_begins_while_the_loop_writes_the_answers_of_the_one_before() -> None:
    began_before_answered: list[bool] = []
    both = asyncio.Event()
    session = Meeting()

    def answered(_: Job) -> None:  # holds the loop up, as writing many answers does
        began_before_answered.append(session.second_began.wait(WAIT_S))
        if len(began_before_answered) == 2:
            both.set()

    batcher = Batcher(BatchRules((1,)), Statistics(), Threads(1, "model"))
    batcher.use([session])
    for _ in range(2):
        batcher.submit(Job({"x": np.ones(1, np.float32)}, ("y",), 1, (), answered))
    await asyncio.sleep(0)  # the first one is in its thread
    session.may_end.set()
    await asyncio.wait_for(both.wait(), WAIT_S)
    await asyncio.wait_for(batcher.drain(), WAIT_S)
    assert began_before_answered == [True, True]
    assert batcher.is_idle


async def test_a_request_that_left_while_a_thread_ran_is_not_run_by_it() -> None:
    world = World(BatchRules((1,)))
    world.ask(1)
    await world.turn()
    gone, last = world.ask(2), world.ask(3)
    gone.cancel()
    world.threads.run_one()  # takes what waits along
    await world.turn()
    assert world.runners[0].batches == [[1.0], [3.0]]
    assert last.results is not None
    assert world.statistics.failures["CANCELED"] == 1
    assert world.statistics.pending == 0
    await world.batcher.drain()
