"""Requests without a slot count at once, and without the room that the target leaves."""

from __future__ import annotations

from typing import Any

from provision.decide import Decision, Memory, Seen, step
from tests.unit.provision_story import START, config, tracking

SLOTS = 2


def told(policy: dict[str, Any], *looks: tuple[float, int]) -> list[Decision]:
    """Decisions of a minute with one request at once, then of `looks`: (requests on average, pressed), 0.1 s apart."""
    memory, made, now = Memory(), [], START
    for _ in range(60):
        now += 1.0
        memory, _ = step(config(policy), memory, seen(now, 1.0, 1.0, 0))
    for demand, pressed in looks:
        now += 0.1
        memory, decision = step(config(policy), memory, seen(now, 0.1, demand, pressed))
        made.append(decision)
    return made


def seen(now: float, interval_s: float, demand: float, pressed: int) -> Seen:
    return Seen(now, 1, slots_per_instance=SLOTS, demand=demand, demand_peak=8, interval_s=interval_s, pressed=pressed)


def test_a_queue_is_answered_in_the_first_look_with_as_many_as_hold_all_requests() -> None:
    (decision,) = told(tracking(minCapacity=1, maxCapacity=20, metricTarget=0.5), (1.2, 8))
    assert decision.target == 4, "8 requests in 4 × 2 slots; by the target of a half it would be 8"
    assert "waiting=4" in decision.reasons[0]


def test_without_a_queue_the_average_decides_as_before() -> None:
    (decision,) = told(tracking(minCapacity=1, maxCapacity=20, metricTarget=0.5), (1.2, 0))
    assert decision.target <= 2


def test_bounds_and_the_limit_of_growth_hold_for_a_queue_too() -> None:
    (decision,) = told(tracking(minCapacity=1, maxCapacity=3, metricTarget=0.5), (1.2, 80))
    assert decision.target == 3
    (decision,) = told(tracking(minCapacity=1, maxCapacity=50, metricTarget=0.5, scaleOutLimit=2), (1.2, 80))
    assert decision.target == 3


def test_a_queue_that_the_panic_threshold_leaves_out_is_left_out() -> None:
    threshold = tracking(minCapacity=1, maxCapacity=50, metricTarget=1.0, panicThreshold=10.0)
    (decision,) = told(threshold, (1.2, 8))
    assert decision.target == 1, "4 is less than 10 times what the stable window asks for"


def test_what_a_queue_has_asked_for_is_kept_for_the_stable_window() -> None:
    policy = tracking(minCapacity=1, maxCapacity=20, metricTarget=1.0, stableWindowSeconds=10)
    memory, now = Memory(), START
    targets = []
    for second in range(60):
        now += 1.0
        memory, decision = step(config(policy), memory, seen(now, 1.0, 1.0, 8 if second == 12 else 0))
        targets.append(decision.target)
    assert targets[11:13] == [1, 4]
    assert targets[13:22] == [4] * 9, "nothing is taken that was asked for within the window"
    assert targets[-1] == 1
