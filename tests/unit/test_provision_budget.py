"""How many requests were really late, told from what waits, and what that proves."""

from __future__ import annotations

import pytest

from provision.budget import Budget

START = 1_750_000_000.0


def told(*looks: tuple[float, float, float], limit_s: float = 4.0) -> Budget:
    """Looks: seconds since the start, requests that came, requests that wait."""
    budget = Budget()
    for second, arrived, waiting in looks:
        budget = budget.after(START + second, arrived, waiting, limit_s)
    return budget


def bursts(number: int, late: float, others: float) -> Budget:
    """Each of them 60 s after the one before, with as many late requests and others."""
    looks = [
        look
        for n in range(number)
        for look in ((60.0 * n, late, late), (60.0 * n + 5.0, 0.0, late), (60.0 * n + 40.0, others, 0.0))
    ]
    return told(*looks)


def test_who_waits_longer_than_the_limit_is_late_and_counts_once() -> None:
    budget = told((0.0, 10.0, 10.0), (3.0, 0.0, 8.0), (5.0, 0.0, 6.0), (6.0, 0.0, 5.0))
    assert budget.late == pytest.approx(6.0, rel=0.01)
    assert budget.came == pytest.approx(10.0, rel=0.01)


def test_who_came_within_the_limit_is_not_late_however_long_the_queue_is() -> None:
    assert told((0.0, 5.0, 0.0), (6.0, 50.0, 50.0), (9.0, 20.0, 70.0)).late == 0.0


def test_the_last_in_the_queue_came_last() -> None:
    """20 came 5 s ago and 10 since: of 12 that wait, 2 are of the 20."""
    assert told((0.0, 20.0, 20.0), (3.0, 10.0, 25.0), (5.0, 0.0, 12.0)).late == pytest.approx(2.0)


def test_a_single_burst_proves_nothing_and_four_prove_two() -> None:
    assert bursts(1, 100.0, 0.0).excess(0.01) == 0.0
    assert bursts(4, 100.0, 900.0).excess(0.01) == pytest.approx(0.05 / 0.01 - 1.0, rel=0.05)


def test_a_share_within_what_is_allowed_is_no_excess() -> None:
    assert bursts(30, 5.0, 995.0).excess(0.01) == 0.0


def test_a_few_first_requests_prove_nothing() -> None:
    assert bursts(2, 4.0, 0.0).excess(0.01) == 0.0


def test_what_is_remembered_of_the_limit_is_little_however_often_one_looks() -> None:
    budget = told(*((n / 100.0, 1.0, 0.0) for n in range(2000)), limit_s=10.0)
    assert len(budget.recent) < 80
    assert sum(count for _, count in budget.recent) == pytest.approx(1000.0, abs=35.0)


def test_outcomes_fade_but_not_what_they_say() -> None:
    budget = bursts(8, 100.0, 900.0)
    later = budget.after(budget.at + 1200.0, 0.0, 0.0, 4.0)
    assert later.late < 0.75 * budget.late
    assert later.excess(0.01) == pytest.approx(budget.excess(0.01), rel=0.05)


def test_a_budget_is_stored_whole() -> None:
    budget = bursts(3, 10.0, 90.0)
    assert Budget.from_values(budget.to_values()) == budget
