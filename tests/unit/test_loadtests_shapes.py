from __future__ import annotations

import pytest

from loadtests.shapes import SHAPES, users_at


def curve(shape: str, low: int, high: int, duration_s: float, points: int) -> list[int]:
    times = [duration_s * i / points for i in range(points)]
    return [users_at(shape, t, low=low, high=high, duration_s=duration_s) for t in times]


def test_steady_asks_for_the_high_number_from_the_first_moment() -> None:
    assert curve("steady", 1, 6, 40, 4) == [6, 6, 6, 6]


def test_step_climbs_in_five_equal_stays() -> None:
    assert curve("step", 1, 9, 50, 10) == [1, 1, 3, 3, 5, 5, 7, 7, 9, 9]


def test_tidal_is_low_at_both_ends_and_high_in_the_middle() -> None:
    assert curve("tidal", 2, 10, 80, 8) == [2, 3, 6, 9, 10, 9, 6, 3]


def test_burst_comes_and_goes_at_once() -> None:
    assert curve("burst", 1, 6, 40, 20) == [1] * 4 + [6] * 9 + [1] * 7


@pytest.mark.parametrize("shape", SHAPES)
def test_nobody_is_asked_for_outside_the_duration(shape: str) -> None:
    assert users_at(shape, -0.001, low=1, high=6, duration_s=10) == 0
    assert users_at(shape, 10.0, low=1, high=6, duration_s=10) == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_stays_within_its_bounds_and_reaches_the_high_one(shape: str) -> None:
    users = curve(shape, 3, 11, 7.3, 1000)
    assert min(users) >= 3
    assert max(users) == 11


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_bounds_make_every_shape_flat(shape: str) -> None:
    assert set(curve(shape, 4, 4, 10, 100)) == {4}


@pytest.mark.parametrize(
    ("shape", "low", "high", "duration_s", "says"),
    [
        ("sawtooth", 1, 6, 10.0, "shape: 'sawtooth' is not one of steady, step, tidal, burst"),
        ("burst", -1, 6, 10.0, "low: -1 users; 0 or more"),
        ("burst", 7, 6, 10.0, "high: 6 users; at least 7"),
        ("burst", 0, 0, 10.0, "high: 0 users; at least 1"),
        ("burst", 1, 6, 0.0, "duration_s: 0.0; a finite number above 0"),
        ("burst", 1, 6, float("inf"), "duration_s: inf"),
        ("burst", 1, 6, float("nan"), "duration_s: nan"),
    ],
)
def test_what_makes_no_load_is_refused_by_name(shape: str, low: int, high: int, duration_s: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        users_at(shape, 0.0, low=low, high=high, duration_s=duration_s)
