"""How much of large answers one round of the loop passes on, and who goes on when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from runtime.http.turns import BYTES_A_ROUND, FLOWS_A_ROUND, Turns

PIECE_BYTES = 200 << 10
FITS = BYTES_A_ROUND // PIECE_BYTES  # pieces that a round passes on without making anybody wait


class Rounds:
    """A loop of which only rounds are known."""

    def __init__(self) -> None:
        self._soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def next(self) -> None:
        soon, self._soon = self._soon, []
        for callback in soon:
            callback()

    @property
    def is_idle(self) -> bool:
        return not self._soon


class Flow:
    waits = False

    def wait(self) -> None:
        assert not self.waits, "told to wait twice"
        self.waits = True

    def go_on(self) -> None:
        assert self.waits, "told to go on without having waited"
        self.waits = False


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


@pytest.fixture
def turns(rounds: Rounds) -> Turns:
    return Turns(cast(asyncio.AbstractEventLoop, rounds))


def pass_on(turns: Turns, flows: list[Flow]) -> None:
    """A round in which each has a piece, as far as it is asked for one."""
    for flow in flows:
        if not flow.waits:
            turns.passed(flow, PIECE_BYTES)


def test_as_many_as_a_round_passes_on_never_wait(rounds: Rounds, turns: Turns) -> None:
    flows = [Flow() for _ in range(FITS)]
    for _ in range(5):
        pass_on(turns, flows)
        assert not any(flow.waits for flow in flows)
        rounds.next()
    assert rounds.is_idle


def test_what_flows_waits_once_a_round_has_passed_on_its_share(rounds: Rounds, turns: Turns) -> None:
    flows = [Flow() for _ in range(200)]
    pass_on(turns, flows)  # the first pieces: nobody knew of them
    assert all(flow.waits for flow in flows[: FITS + 1])
    passed = [0] * len(flows)
    for _ in range(10):
        rounds.next()
        allowed = [number for number, flow in enumerate(flows) if not flow.waits]
        assert len(allowed) <= FLOWS_A_ROUND + FITS + 1
        for number in allowed:
            if not flows[number].waits:
                passed[number] += 1
                turns.passed(flows[number], PIECE_BYTES)


def test_all_have_their_turn_in_the_order_in_which_they_were_held_up(rounds: Rounds, turns: Turns) -> None:
    flows = [Flow() for _ in range(100)]
    passed = [0] * len(flows)
    for _ in range(200):
        for number, flow in enumerate(flows):
            if not flow.waits:
                passed[number] += 1
                turns.passed(flow, PIECE_BYTES)
        rounds.next()
    assert max(passed) - min(passed) <= 2
    assert sum(passed) >= 200 * FLOWS_A_ROUND


def test_one_that_has_ended_is_neither_waited_for_nor_told_to_go_on(rounds: Rounds, turns: Turns) -> None:
    flows = [Flow() for _ in range(2 * FITS)]
    pass_on(turns, flows)
    assert flows[0].waits
    turns.leave(flows[0])
    flows[0].waits = False
    while turns.waiting:
        rounds.next()
    assert not any(flow.waits for flow in flows)
    assert rounds.is_idle


def test_those_that_have_nothing_to_pass_on_keep_nobody_waiting(rounds: Rounds, turns: Turns) -> None:
    flows = [Flow() for _ in range(4 * FLOWS_A_ROUND)]
    pass_on(turns, flows)
    waiting = sum(flow.waits for flow in flows)
    for _ in range(-(-waiting // FLOWS_A_ROUND)):
        rounds.next()
    assert not any(flow.waits for flow in flows)
