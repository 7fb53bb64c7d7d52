"""Threads for functions that block."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from runtime.instance.threads import Threads

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


async def test_a_call_gives_its_result_or_raises_as_the_function_does() -> None:
    threads = Threads(1, "t")

    def fail() -> None:
        raise KeyError("no")

    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(KeyError, match="no"):
        await threads.run(fail)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(next, iter(()))
    assert await threads.run(len, "abc") == 3


async def test_as_many_run_at_once_as_there_are_threads_and_no_more() -> None:
    threads, count = Threads(3, "t"), 3
    all_there, go = threading.Barrier(count + 1), threading.Event()
    inside: list[str] = []

    def work() -> None:
        inside.append(threading.current_thread().name)
        if len(inside) <= count:
            all_there.wait(10.0)
            go.wait(10.0)

    calls = [threads.run(work) for _ in range(2 * count)]
    await asyncio.to_thread(all_there.wait, 10.0)
    assert sorted(inside) == ["t_1", "t_2", "t_3"]
    assert not any(call.done() for call in calls)
    go.set()
    await asyncio.gather(*calls)
    assert len(inside) == 2 * count
    assert len(set(inside)) == count


async def test_no_thread_is_made_while_those_that_are_there_have_nothing_to_do() -> None:
    threads = Threads(8, "t")
    names = [await threads.run(lambda: threading.current_thread().name) for _ in range(20)]
    assert set(names) == {"t_1"}


async def test_a_call_sees_its_callers_context() -> None:
    threads = Threads(1, "t")
    WHO.set("me")
    assert await threads.run(WHO.get) == "me"


async def test_a_cancelled_call_runs_on_and_takes_nobodys_answer() -> None:
    threads = Threads(1, "t")
    begun, go = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        go.wait(10.0)
        return "late"

    late = threads.run(work)
    await asyncio.to_thread(begun.wait, 10.0)
    late.cancel()
    go.set()
    assert await threads.run(str, "next") == "next"
    assert late.cancelled()
