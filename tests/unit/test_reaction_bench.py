"""What the reaction benchmark counts."""

from __future__ import annotations

import pytest

from loadtests.bench.reaction import turns


@pytest.mark.parametrize(
    ("targets", "expected"),
    [([], 0), ([2], 0), ([2, 5, 9], 0), ([9, 5, 2], 0), ([2, 5, 5, 4], 1), ([2, 5, 4, 4, 5], 2), ([1, 2, 1, 2, 1], 3)],
)
def test_a_turn_is_growth_after_shrinking_or_shrinking_after_growth(targets: list[int], expected: int) -> None:
    assert turns(targets) == expected
