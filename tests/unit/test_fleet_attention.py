"""Who is looked at, what is counted, and whose memory is saved when."""

from __future__ import annotations

import math

from control_plane.fleet.attention import Attention
from control_plane.fleet.ledger import Ledger
from control_plane.fleet.memories import SAVED_AT_ONCE_LEAST, SAVED_AT_ONCE_MOST, Unsaved
from control_plane.fleet.placement import Need, Taken

A, B = ("s", "LATEST", "a"), ("s", "LATEST", "b")


def test_what_rests_is_not_awake_until_it_is_woken_or_its_time_comes() -> None:
    attention = Attention()
    assert attention.wake([A, B]) == set(), "they did not rest"
    attention.rest(A, 10.0)
    attention.rest(B, math.inf)
    assert (attention.awake, attention.rests(A), attention.rests(B)) == (set(), True, True)
    assert attention.wake_due(9.9) == set()
    assert attention.wake_due(10.0) == {A}
    assert attention.wake([B]) == {B}
    assert attention.awake == {A, B}


def test_a_rest_that_was_cut_short_leaves_no_time_behind() -> None:
    attention = Attention()
    attention.rest(A, 10.0)
    attention.wake([A])
    attention.rest(A, 20.0)
    assert attention.wake_due(15.0) == set()
    assert attention.wake_due(20.0) == {A}


def test_resting_again_until_the_same_time_is_kept_once() -> None:
    attention = Attention()
    for _ in range(1000):
        attention.rest(A, 1e9)
        attention.wake([A])
    attention.rest(A, 1e9)
    assert len(attention._due) == 1
    assert attention.wake_due(1e9) == {A}


def test_what_is_forgotten_is_neither_awake_nor_at_rest() -> None:
    attention = Attention()
    attention.wake([A])
    attention.rest(B, 5.0)
    attention.forget(A)
    attention.forget(B)
    assert (len(attention), attention.wake_due(9.0)) == (0, set())


def test_the_ledger_adds_up_what_is_there_now() -> None:
    ledger = Ledger()
    ledger.put(A, 3, Need(512, 1000))
    ledger.put(B, 2, Need(100, cpu=0.05, disk_mib=512))
    assert ledger.taken({}) == Taken(1736, 0.1, 1024)
    assert set(ledger.gpu_sizes) == {1000}
    ledger.put(A, 1, Need(1024, 0))
    assert ledger.taken({}) == Taken(1224, 0.1, 1024)
    assert set(ledger.gpu_sizes) == set()
    ledger.put(B, 7, None)
    ledger.put(A, 0, Need(1024))
    assert ledger.taken({}) == Taken()


def test_a_memory_is_saved_once_it_is_old_enough_the_oldest_first() -> None:
    unsaved: Unsaved[str] = Unsaved(every_s=5.0, tick_s=1.0)
    unsaved.note("a", 0.0)
    unsaved.note("b", 3.0)
    unsaved.note("a", 4.0)
    assert unsaved.due(4.9) == []
    assert unsaved.due(5.0) == ["a"]
    unsaved.saved(["a"])
    assert unsaved.due(8.0) == ["b"]


def test_many_memories_take_turns_and_all_have_had_theirs_in_time() -> None:
    unsaved: Unsaved[int] = Unsaved(every_s=5.0, tick_s=1.0)
    many = SAVED_AT_ONCE_LEAST * 10
    for name in range(many):
        unsaved.note(name, 0.0)
    saved: set[int] = set()
    for now in range(5, 10 + 20):
        due = unsaved.due(float(now))
        assert len(due) <= many // 5
        unsaved.saved(due)
        saved.update(due)
    assert saved == set(range(many))


def test_without_a_time_between_everything_is_saved_at_once() -> None:
    unsaved: Unsaved[int] = Unsaved(every_s=0.0, tick_s=1.0)
    for name in range(SAVED_AT_ONCE_LEAST * 3):
        unsaved.note(name, 0.0)
    assert len(unsaved.due(0.0)) == SAVED_AT_ONCE_LEAST * 3


def test_however_many_are_due_a_tick_saves_no_more_than_its_most_and_all_have_their_turn() -> None:
    unsaved: Unsaved[int] = Unsaved(every_s=5.0, tick_s=1.0)
    many = SAVED_AT_ONCE_MOST * 8
    for name in range(many):
        unsaved.note(name, 0.0)
    saved: list[int] = []
    for now in range(5, 40):
        due = unsaved.due(float(now))
        assert len(due) <= SAVED_AT_ONCE_MOST
        unsaved.saved(due)
        saved += due
    assert sorted(saved) == list(range(many))
