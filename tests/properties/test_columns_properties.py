"""What is read column by column is what reading piece by piece would give."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.columns import Piece, Totals, sliding_mean_max

PIECES = st.lists(
    st.tuples(st.sampled_from([1, 1, 1, 2, 5]), st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.0]), st.floats(0.0, 1e3)),
    max_size=30,
)


@given(st.booleans(), PIECES, st.floats(0.0, 40.0), st.integers(1, 30), st.integers(1, 10))
def test_an_average_read_by_columns_is_the_one_of_its_pieces(
    seamless: bool, steps: list[tuple[int, float, float]], now: float, window_s: int, slide_s: int
) -> None:
    """Pieces of whole seconds without a gap are added up in another way than others."""
    second, pieces = -1, []
    for step_s, weight, total in steps:
        second += 1 if seamless else step_s
        pieces.append(Piece(second, 1.0 if seamless else weight, total))
    first = math.floor(now - window_s)
    ends = [piece.second for piece in pieces if piece.second >= first]
    spans = [[piece for piece in pieces if end - slide_s < piece.second <= end] for end in ends]
    means = [sum(p.total for p in span) / weight for span in spans if (weight := sum(p.weight for p in span)) > 0.0]
    found = sliding_mean_max(Totals.of(pieces), now, window_s, slide_s)
    assert found == (pytest.approx(max(means), abs=1e-9) if means else None)
