"""How many requests are run together: what fits into half the latency target, by what runs took."""

from __future__ import annotations

import pytest

from runtime.models.batch_rules import BatchRules, RunTimes, how_many, powers_of_two

RULES = BatchRules(powers_of_two(16), latency_target_s=0.1)


@pytest.mark.parametrize(("rows_max", "sizes"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_buckets_are_powers_of_two_and_the_largest_batch(rows_max: int, sizes: tuple[int, ...]) -> None:
    assert powers_of_two(rows_max) == sizes


@pytest.mark.parametrize(("rows", "bucket"), [(1, 1), (3, 4), (16, 16), (17, 17)])
def test_a_batch_counts_as_the_bucket_that_holds_it(rows: int, bucket: int) -> None:
    assert RULES.bucket(rows) == bucket


@pytest.mark.parametrize(
    ("waiting", "allowed", "taken"),
    [([1], 16, 1), ([1, 1, 1], 2, 2), ([20, 1], 16, 1), ([3, 2, 4], 8, 2), ([1] * 40, 16, 16), ([], 16, 0)],
)
def test_the_first_that_fit_are_taken_and_always_one(waiting: list[int], allowed: int, taken: int) -> None:
    assert how_many(waiting, allowed) == taken


def test_a_batch_grows_as_far_as_half_the_latency_target() -> None:
    times = RunTimes(RULES)
    for rows, took_s in ((1, 0.01), (2, 0.015), (4, 0.03), (8, 0.06), (16, 0.12)):
        times.note(rows, took_s)
    assert times.rows_allowed() == 4


def test_what_was_not_measured_is_expected_to_take_as_much_longer_as_it_is_larger() -> None:
    times = RunTimes(RULES)
    times.note(1, 0.02)
    assert times.rows_allowed() == 2  # 0.04 s; four rows would take 0.08, and half the target is 0.05


def test_a_model_that_is_slower_than_the_target_is_run_all_the_same_one_row_at_a_time() -> None:
    times = RunTimes(RULES)
    times.note(1, 3.0)
    assert times.rows_allowed() == 1


def test_without_a_measurement_everything_is_allowed_but_nothing_is_known() -> None:
    times = RunTimes(RULES)
    assert times.least_s(1) is None
    assert times.rows_allowed() == 16


def test_a_bucket_that_was_slow_by_chance_is_tried_again_after_a_while() -> None:
    times = RunTimes(RULES)
    times.note(1, 0.001)
    times.note(2, 0.1)
    assert times.rows_allowed() == 1
    runs = 0
    while times.rows_allowed() == 1:
        times.note(1, 0.001)
        runs += 1
    assert 20 < runs < 150


def test_a_run_that_was_interrupted_does_not_count_for_what_one_takes_undisturbed() -> None:
    times = RunTimes(RULES)
    times.note(8, 0.0002)
    times.note(8, 0.05)
    least_s = times.least_s(8)
    assert least_s is not None
    assert least_s < 0.0003


def test_a_model_that_has_become_slower_is_known_for_it_after_some_runs() -> None:
    times = RunTimes(RULES)
    times.note(8, 0.0002)
    for _ in range(120):
        times.note(8, 0.002)
    least_s = times.least_s(8)
    assert least_s is not None
    assert least_s > 0.001
