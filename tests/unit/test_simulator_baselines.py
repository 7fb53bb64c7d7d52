from __future__ import annotations

from collections import deque

import pytest

from loadtests.simulator.baselines import (
    FunctionComputeRule,
    HorizontalPodAutoscaler,
    KnativePodAutoscaler,
    LambdaAlarms,
    StaticTarget,
    WaitingLength,
)
from loadtests.simulator.compare import Tuned, best
from loadtests.simulator.control import Look, Moment
from loadtests.simulator.outcome import Outcome, percentile


def look(
    now_s: float, target: int, *, demand: float = 0.0, served: float = 0.0, queued: int = 0, seconds: int = 60
) -> Look:
    """The same in each of the last seconds, with as many ready as were asked for."""
    moments = deque(Moment(now_s - age, 1.0, demand, served, queued, target) for age in range(seconds - 1, -1, -1))
    return Look(now_s, target, target, 1, moments)


def test_static_is_static() -> None:
    assert StaticTarget(7).decide(look(10.0, 7, demand=100.0)) == 7


@pytest.mark.parametrize(("current", "demand", "wanted"), [(3, 32.7, 3), (3, 33.3, 4), (4, 95.0, 8), (20, 300.0, 30)])
def test_hpa_takes_the_total_over_the_target_within_a_tolerance_and_its_pace(
    current: int, demand: float, wanted: int
) -> None:
    assert HorizontalPodAutoscaler(10.0).decide(look(15.0, current, demand=demand)) == wanted


def test_hpa_goes_down_to_the_highest_proposal_of_five_minutes() -> None:
    rule = HorizontalPodAutoscaler(1.0)
    assert rule.decide(look(15.0, 10, demand=8.0)) == 8
    for now_s in range(30, 315, 15):
        assert rule.decide(look(float(now_s), 8, demand=2.0)) == 8
    assert rule.decide(look(315.0, 8, demand=2.0)) == 2


def test_kpa_follows_the_stable_average_in_calm() -> None:
    assert KnativePodAutoscaler(0.7).decide(look(100.0, 8, demand=7.0)) == 10


def test_kpa_goes_down_to_half_of_what_is_ready_at_most() -> None:
    assert KnativePodAutoscaler(1.0).decide(look(100.0, 10, demand=1.0)) == 5


def test_kpa_panics_at_twice_the_ready_pods_and_does_not_shrink_for_a_stable_window() -> None:
    rule = KnativePodAutoscaler(1.0)
    assert rule.decide(look(100.0, 2, demand=9.0)) == 9
    assert rule.decide(look(120.0, 9, demand=1.0)) == 9
    assert rule.decide(look(160.0, 9, demand=1.0)) == 9
    assert rule.decide(look(162.0, 9, demand=1.0)) == 4


@pytest.mark.parametrize(("current", "served", "wanted"), [(100, 80.0, 200), (10, 2.0, 8), (1, 0.0, 1)])
def test_function_compute_grows_by_the_ratio_and_shrinks_by_a_part(current: int, served: float, wanted: int) -> None:
    assert FunctionComputeRule(0.4).decide(look(60.0, current, served=served)) == wanted


def test_lambda_waits_three_minutes_to_grow() -> None:
    rule = LambdaAlarms(0.5)
    assert [rule.decide(look(60.0 * n, 10, served=10.0)) for n in range(1, 4)] == [10, 10, 20]


def test_lambda_waits_fifteen_minutes_to_shrink() -> None:
    rule = LambdaAlarms(0.5)
    assert [rule.decide(look(60.0 * n, 10, served=1.0)) for n in range(1, 16)] == [10] * 14 + [2]


def test_eas_grows_by_the_waiting_requests_of_each_instance_and_holds_within_a_tenth() -> None:
    assert WaitingLength(10.0).decide(look(10.0, 3, queued=33)) == 3
    assert WaitingLength(10.0).decide(look(10.0, 3, queued=60)) == 6


@pytest.mark.parametrize(
    "rule", [HorizontalPodAutoscaler, KnativePodAutoscaler, FunctionComputeRule, LambdaAlarms, WaitingLength]
)
def test_a_rule_that_has_seen_nothing_keeps_what_is_there(rule: type[HorizontalPodAutoscaler]) -> None:
    assert rule(0.5).decide(Look(10.0, 4, 4, 1, deque())) == 4


def tuned(setting: str, attainment: float, instance_seconds: float) -> Tuned:
    found = Outcome(
        100, attainment, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, instance_seconds, 10.0, 0.0, 0.0, 0.0, 0, 0, 1
    )
    return Tuned("rule", setting, found)


def test_the_cheapest_setting_that_attains_it_is_the_best_and_else_the_one_that_attains_most() -> None:
    tries = [tuned("a", 0.999, 300.0), tuned("b", 0.991, 200.0), tuned("c", 0.95, 100.0)]
    assert best(tries, 0.99).setting == "b"
    assert best(tries[2:], 0.99).setting == "c"
    assert best(tries, 0.9999).setting == "a"


def test_a_percentile_is_a_value_that_was_there() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
    assert percentile([], 0.5) is None
