"""Deadlines told as a story in time, on a loop whose clock the test sets."""

from __future__ import annotations

import asyncio
import math
from typing import cast

import pytest

from runtime.http.deadlines import EXPIRED_IN_A_ROUND, Deadlines
from tests.support.set_time import SetTime


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> SetTime:
    return SetTime(monkeypatch)


def watch(time: SetTime, after_s: float) -> tuple[Deadlines[str], list[str]]:
    expired: list[str] = []
    return Deadlines(cast(asyncio.AbstractEventLoop, time), after_s, expired.append), expired


def test_each_expires_in_its_own_time_and_a_discarded_one_never(time: SetTime) -> None:
    watched, expired = watch(time, 10.0)
    watched.add("a")
    time.go_to(103.0)
    watched.add("b")
    watched.add("c")
    watched.discard("b")
    time.go_to(109.9)
    assert expired == []
    time.go_to(110.1)
    assert expired == ["a"]
    time.go_to(113.1)
    assert expired == ["a", "c"]
    assert len(watched) == 0


def test_one_timer_serves_them_all_and_none_when_there_is_nothing(time: SetTime) -> None:
    watched, _ = watch(time, 10.0)
    for step in range(1000):
        time.go_to(100.0 + step / 1000)
        watched.add(str(step))
        watched.discard(str(step))
    assert time.set_times == 1
    time.go_to(120.0)
    assert time.timers == []
    watched.add("again")
    assert len(time.timers) == 1


def test_one_that_expires_may_take_others_along(time: SetTime) -> None:
    expired: list[str] = []

    def expire(item: str) -> None:
        expired.append(item)
        watched.discard("b")

    watched: Deadlines[str] = Deadlines(cast(asyncio.AbstractEventLoop, time), 1.0, expire)
    watched.add("a")
    watched.add("b")
    time.go_to(102.0)
    assert expired == ["a"]


def test_of_many_that_are_due_at_once_a_few_expire_in_a_round(time: SetTime) -> None:
    watched, expired = watch(time, 10.0)
    names = [str(number) for number in range(3 * EXPIRED_IN_A_ROUND + 1)]
    for name in names:
        watched.add(name)
    rounds = []
    while len(watched):
        (timer,) = time.timers
        time.timers.clear()
        time.now_s = max(time.now_s, timer.at_s)
        timer.callback()
        rounds.append(len(expired))
    assert rounds == [EXPIRED_IN_A_ROUND, 2 * EXPIRED_IN_A_ROUND, 3 * EXPIRED_IN_A_ROUND, len(names)]
    assert expired == names
    assert time.timers == []


def test_without_a_limit_nothing_expires_and_cleared_ones_do_not_either(time: SetTime) -> None:
    watched, expired = watch(time, math.inf)
    watched.add("a")
    assert time.timers == []
    limited, _ = watch(time, 1.0)
    limited.add("b")
    limited.clear()
    time.go_to(200.0)
    assert expired == []
    assert "a" in watched
