"""When a simulated course of targets counts as the same as the one that was lived."""

from __future__ import annotations

import pytest

from loadtests.truth import compare, course_of, target_at

LIVE = [(0.0, 1), (10.4, 5), (20.4, 2)]


def test_the_same_course_agrees_exactly() -> None:
    found = compare(LIVE, LIVE, 0.0, 30.0)
    assert (found.share, found.within_share, found.exact_share, found.holds) == (1.0, 1.0, 1.0, True)
    assert len(found.ticks) == 30


def test_one_instance_more_or_less_agrees_and_two_do_not() -> None:
    assert compare(LIVE, [(at_s, target + 1) for at_s, target in LIVE], 0.0, 30.0).share == 1.0
    two_more = [(at_s, target + 2) for at_s, target in LIVE]
    assert compare(LIVE, two_more, 0.0, 30.0).share == pytest.approx(2 / 30), "only where the live one jumps"


def test_a_change_may_come_a_tick_earlier_or_later_and_no_more() -> None:
    for shift_s, share in ((1.0, 1.0), (-1.0, 1.0), (3.0, 26 / 30), (-3.0, 26 / 30)):
        shifted = [(0.0, 1), *((at_s + shift_s, target) for at_s, target in LIVE[1:])]
        assert compare(LIVE, shifted, 0.0, 30.0).share == pytest.approx(share), shift_s
    assert compare(LIVE, [(0.0, 1), (11.4, 5), (21.4, 2)], 0.0, 30.0).within_share == pytest.approx(28 / 30)


def test_less_than_95_percent_is_not_the_truth() -> None:
    assert not compare(LIVE, [(0.0, 1)], 0.0, 30.0).holds


def test_before_the_first_decision_there_is_nothing() -> None:
    assert [target_at(LIVE, at_s) for at_s in (-1.0, 0.0, 10.3, 10.4, 99.0)] == [0, 1, 1, 5, 2]


def test_the_live_course_is_what_explain_gives_in_order() -> None:
    assert course_of([{"at_s": 9.0, "target": 3}, {"at_s": 4.0, "target": 1}]) == [(4.0, 1), (9.0, 3)]


def test_a_span_without_a_tick_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the span is 0.5 s; 1 s or more are needed"):
        compare(LIVE, LIVE, 0.0, 0.5)
