"""The threads that a model's sessions are run in."""

from __future__ import annotations

import threading
from typing import Final

import pytest

from runtime.models.threads import Threads

WAIT_S: Final = 5.0


def test_work_is_done_in_as_many_threads_as_there_are_sessions() -> None:
    threads, meeting, idents = Threads(2, "model"), threading.Barrier(3), set[int]()

    def work() -> None:
        idents.add(threading.get_ident())
        meeting.wait(WAIT_S)

    for _ in range(2):
        threads.start(work)
    meeting.wait(WAIT_S)
    for _ in range(2):
        threads.start(work)
    meeting.wait(WAIT_S)
    assert len(idents) == 2
    assert threading.get_ident() not in idents


def test_as_an_executor_it_gives_the_result_or_what_was_raised() -> None:
    threads = Threads(1, "model")
    assert threads.submit(divmod, 7, 2).result(WAIT_S) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 7, 0).result(WAIT_S)
    assert threads.submit(int, "5", base=8).result(WAIT_S) == 5


def test_the_threads_end_with_the_object() -> None:
    threads = Threads(1, "model")
    thread = threads.submit(threading.current_thread).result(WAIT_S)
    del threads
    thread.join(WAIT_S)
    assert not thread.is_alive()
