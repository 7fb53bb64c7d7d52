"""What the reaction benchmark counts."""

from __future__ import annotations

import pytest

from loadtests.bench.reaction import promises, turns


@pytest.mark.parametrize(
    ("targets", "expected"),
    [([], 0), ([2], 0), ([2, 5, 9], 0), ([9, 5, 2], 0), ([2, 5, 5, 4], 1), ([2, 5, 4, 4, 5], 2), ([1, 2, 1, 2, 1], 3)],
)
def test_a_turn_is_growth_after_shrinking_or_shrinking_after_growth(targets: list[int], expected: int) -> None:
    assert turns(targets) == expected


def test_each_promise_is_told_with_the_worst_that_was_measured() -> None:
    slow = {"decided_s": 0.31, "first_answer_s": 0.6, "back_s": 9.0}
    quick = {"decided_s": 0.05, "first_answer_s": 1.6, "back_s": 60.0}
    found = {"steps": [slow, quick], "constant_s": 300.0, "direction_changes": 2, "requests": 80, "failures": ["x"]}
    told = promises(found)
    assert [is_kept for _, is_kept in told] == [False] * 5
    assert told[0][0] == "decided within 300 ms: 310 ms"
    well = {"decided_s": 0.05, "first_answer_s": 0.6, "back_s": 60.0}
    found = {"steps": [well], "constant_s": 0.0, "direction_changes": 0, "requests": 80, "failures": []}
    assert [is_kept for _, is_kept in promises(found)] == [True] * 4
