"""Behaviour as a HorizontalPodAutoscaler's: the published examples, and policies that ask for it."""

from __future__ import annotations

from typing import Any

import pytest

from provision.behavior import Behavior
from provision.config import parse
from provision.decide import Memory, MetricSample, Reading, Seen, step
from provision.hpa import Past, advise, of_each, of_total, of_value
from tests.unit.provision_story import START, Story, config, surge, tracking

DEFAULT = Behavior()


def behavior(**parts: Any) -> Behavior:
    return Behavior.model_validate(parts)


# -- proposals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "target", "wanted"),
    [
        ([200.0] * 3, 100.0, 6),  # twice the desired value: twice the pods
        ([50.0] * 4, 100.0, 2),  # half of it: half of them
        ([23.0] * 2, 10.0, 5),
        ([2.0] * 5, 10.0, 1),
        ([10.9] * 3, 10.0, 3),  # within a tenth
        ([11.0] * 3, 10.0, 3),
        ([11.1] * 3, 10.0, 4),
        ([9.1] * 10, 10.0, 10),
        ([8.9] * 10, 10.0, 9),
    ],
)
def test_the_ratio_to_the_target_times_the_pods_rounded_up(values: list[float], target: float, wanted: int) -> None:
    assert of_each(values, 0, 0, target, len(values), DEFAULT) == wanted


@pytest.mark.parametrize(
    ("values", "missing", "starting", "wanted"),
    [
        ([20.0] * 2, 2, 0, 4),  # up: missing ones count as nothing, 40 over four is the target
        ([30.0] * 2, 2, 0, 6),  # 60 over four is 1.5 times the target
        ([2.0] * 2, 2, 0, 3),  # down: missing ones count as at the target, 24 over four
        ([9.5] * 4, 4, 0, 8),  # 78 over eight is within the tolerance
        ([2.0] * 8, 0, 4, 2),  # down: those that start do not count
        ([20.0] * 4, 0, 4, 8),  # up: those that start count as nothing, 80 over eight
        ([12.0] * 4, 0, 2, 6),  # 48 over six would turn the direction round
    ],
)
def test_missing_samples_count_against_the_change(
    values: list[float], missing: int, starting: int, wanted: int
) -> None:
    current = len(values) + missing + starting
    assert of_each(values, missing, starting, 10.0, current, DEFAULT) == wanted


def test_without_any_sample_nothing_is_proposed() -> None:
    assert of_each([], 3, 0, 10.0, 3, DEFAULT) is None


@pytest.mark.parametrize(("total", "current", "wanted"), [(95.0, 4, 10), (41.0, 4, 4), (45.0, 4, 5), (30.0, 0, 3)])
def test_an_average_value_is_the_total_over_what_each_should_have(total: float, current: int, wanted: int) -> None:
    assert of_total(total, 10.0, current, DEFAULT) == wanted


@pytest.mark.parametrize(("value", "current", "wanted"), [(20.0, 3, 6), (10.5, 3, 3), (5.0, 4, 2), (25.0, 0, 3)])
def test_a_value_is_a_ratio_of_what_there_is(value: float, current: int, wanted: int) -> None:
    assert of_value(value, 10.0, current, current, DEFAULT) == wanted


def test_each_direction_may_have_its_own_tolerance() -> None:
    narrow = behavior(scaleUp={"tolerance": 0.0}, scaleDown={"tolerance": 0.5})
    assert of_total(41.0, 10.0, 4, narrow) == 5
    assert of_total(21.0, 10.0, 4, narrow) == 4
    assert of_total(19.0, 10.0, 4, narrow) == 2


# -- behavior ---------------------------------------------------------------------------------------------------------


def told(asked: Behavior, begins: int, proposals: list[int], every_s: float = 15.0, most: int = 1000) -> list[int]:
    """What comes of a proposal every 15 seconds."""
    past, current, counts = Past(), begins, []
    for number, proposal in enumerate(proposals):
        advice = advise(asked, past, 1000.0 + every_s * number, current, proposal, 1, most)
        past, current = advice.past, advice.count
        counts.append(current)
    return counts


def test_by_default_four_pods_or_as_many_again_in_fifteen_seconds() -> None:
    assert told(DEFAULT, 1, [100] * 6) == [5, 10, 20, 40, 80, 100]


def test_by_default_it_goes_down_to_the_highest_proposal_of_five_minutes_at_once() -> None:
    assert told(DEFAULT, 10, [8, *[2] * 21]) == [10 - 2, *[8] * 19, 2, 2]


TWO_POLICIES = [
    {"type": "Pods", "value": 4, "periodSeconds": 60},
    {"type": "Percent", "value": 10, "periodSeconds": 60},
]


def test_the_documented_example_of_two_policies_for_scaling_down() -> None:
    """80 to 10 with Pods 4 and Percent 10 a minute: 8, then 7.2 rounded up to 8, and four at a time below 40."""
    asked = behavior(scaleDown={"stabilizationWindowSeconds": 0, "policies": TWO_POLICIES})
    counts = told(asked, 80, [10] * 16, every_s=60.0)
    assert counts == [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12, 10, 10, 10]


def test_of_several_policies_the_smallest_change_where_it_is_asked_for() -> None:
    asked = behavior(scaleDown={"stabilizationWindowSeconds": 0, "selectPolicy": "Min", "policies": TWO_POLICIES})
    assert told(asked, 80, [10] * 2, every_s=60.0) == [76, 72]


def test_a_direction_can_be_disabled() -> None:
    assert told(behavior(scaleDown={"selectPolicy": "Disabled"}), 8, [2] * 40) == [8] * 40
    assert told(behavior(scaleUp={"selectPolicy": "Disabled"}), 2, [8] * 3) == [2] * 3


def test_a_window_for_scaling_up_waits_for_the_lowest_proposal() -> None:
    asked = behavior(scaleUp={"stabilizationWindowSeconds": 60})
    assert told(asked, 4, [4, 8, 8, 8, 8, 8]) == [4, 4, 4, 4, 8, 8]


def test_a_period_counts_from_the_number_at_its_beginning() -> None:
    asked = behavior(scaleUp={"policies": [{"type": "Pods", "value": 3, "periodSeconds": 60}]})
    assert told(asked, 2, [20] * 6) == [5, 5, 5, 5, 8, 8]


def test_a_number_outside_the_bounds_goes_to_them_at_once() -> None:
    assert advise(DEFAULT, Past(), 0.0, 0, 50, 3, 10).count == 3
    assert advise(DEFAULT, Past(), 0.0, 40, 1, 3, 10).count == 10


# -- policies ---------------------------------------------------------------------------------------------------------


def test_a_policy_like_an_hpa_looks_every_fifteen_seconds_of_the_clock() -> None:
    asked = config(tracking(minCapacity=1, maxCapacity=100, metricTarget=1.0, behavior="HPA"), target=1)
    story = Story(asked, lambda _: 30.0)
    story.until(120)
    assert START % 15.0 == 10.0
    assert story.changes == [(0.0, 1), (5.0, 5), (20.0, 10), (35.0, 20), (50.0, 30)]


@pytest.mark.parametrize("tick_s", [0.9, 0.97, 1.003, 2.0])
def test_its_periods_are_counted_in_quarters_of_a_minute_whenever_the_loop_looks(tick_s: float) -> None:
    """Two looks may lie a little less than fifteen seconds apart: what the first one added is over all the same."""
    asked = config(tracking(minCapacity=1, maxCapacity=100, metricTarget=1.0, behavior="HPA"), target=1)
    story = Story(asked, lambda _: 30.0, tick_s=tick_s)
    story.until(120)
    assert [count for _, count in story.changes] == [1, 5, 10, 20, 30]
    assert [at // 15 * 15 for at, _ in story.changes] == [0, 0, 15, 30, 45]


def test_it_shrinks_only_after_its_window_and_says_why() -> None:
    asked = config(tracking(minCapacity=1, maxCapacity=100, metricTarget=1.0, behavior="HPA"), target=1)
    story = Story(asked, surge(8.0, 0.0, 120.0, 1.0))
    assert story.until(400).target == 8
    assert "stabilized 1→8" in story.until(400).reasons[0]
    assert story.until(460).target == 1


def test_an_own_behavior_is_followed() -> None:
    slow = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
    asked = config(tracking(minCapacity=1, maxCapacity=100, metricTarget=1.0, behavior=slow), target=1)
    assert Story(asked, lambda _: 30.0).until(184).target == 4


def test_instances_without_a_sample_are_taken_as_idle_when_it_would_grow() -> None:
    asked = config(tracking(metricType="GPUSmUtilization", minCapacity=1, maxCapacity=100, behavior="HPA"), target=4)

    def wanted(values: list[float]) -> int:
        samples = tuple(MetricSample("GPUSmUtilization", f"i{n}", value, START) for n, value in enumerate(values))
        return step(asked, Memory(), Seen(START, current=4, samples=samples))[1].target

    assert wanted([0.9] * 4) == 8
    assert wanted([0.9] * 2) == 4
    assert wanted([]) == 4


def test_a_memory_survives_its_way_to_the_store() -> None:
    asked = config(tracking(minCapacity=1, maxCapacity=100, behavior="HPA"))
    story = Story(asked, surge(8.0, 0.0, 60.0))
    story.until(100)
    assert Memory.from_json(story.memory.to_json()) == story.memory
    assert story.memory.kept["p"].hpa is not None


@pytest.mark.parametrize("metric", ["RequestsPerSecond", "QueueWaitMilliseconds", "WaitingLength"])
def test_every_metric_of_requests_can_be_followed_like_an_hpa(metric: str) -> None:
    asked = parse(
        {"targetTrackingPolicies": [tracking(metricType=metric, metricTarget=2.0, minCapacity=1, behavior="HPA")]}
    )
    story = Story(asked, lambda _: 30.0, rate=lambda _: 40.0, wait_s=lambda *_: 1.0)
    assert story.until(120).target == 8


@pytest.mark.parametrize("metric", ["GPUSmUtilization", "QueueWaitMilliseconds"])
def test_like_an_hpa_the_first_request_brings_the_first_instance_back_though_there_is_nothing_to_measure(
    metric: str,
) -> None:
    """Nothing is answered at 0 instances, and none shows how busy it is: only that requests came is known."""
    asked = config(tracking(metricType=metric, minCapacity=0, behavior="HPA"))
    story = Story(asked, surge(2.0, 100.0, 200.0))
    assert story.until(99).target == 0
    decision = story.until(116)
    assert decision.target == 1
    assert "requests came" in decision.reasons[0]


def test_like_an_hpa_the_last_instance_stays_while_a_request_runs_that_keeps_nothing_busy() -> None:
    asked = config(tracking(metricType="GPUSmUtilization", minCapacity=0, behavior="HPA"))
    story = Story(asked, surge(1.0, 100.0, 700.0), gauge=lambda *_: 0.0)
    assert (story.until(699).target, story.until(1100).target) == (1, 0)


@pytest.mark.parametrize("value", [0.0, None])
def test_like_an_hpa_a_reading_of_nothing_lets_the_first_request_bring_an_instance(value: float | None) -> None:
    url, query = "http://127.0.0.1:9090", "q"
    asked = config(tracking(metricType="Prometheus", minCapacity=0, behavior="HPA", url=url, query=query))
    story = Story(
        asked,
        surge(1.0, 100.0, 200.0),
        reading=lambda t: Reading(url, query, value, START + t if value is not None else 0),
    )
    assert (story.until(99).target, story.until(116).target) == (0, 1)


def test_like_an_hpa_a_wait_is_none_when_nobody_asks_any_more() -> None:
    asked = config(tracking(metricType="QueueWaitMilliseconds", metricTarget=100.0, minCapacity=0, behavior="HPA"))
    busy = surge(4.0, 20.0, 200.0)
    story = Story(asked, busy, rate=busy, wait_s=lambda *_: 1.0)
    assert story.until(200).target == 8
    assert story.until(520).target == 0


def test_like_an_hpa_a_wait_is_not_known_while_requests_run_and_none_is_answered() -> None:
    asked = config(tracking(metricType="QueueWaitMilliseconds", metricTarget=100.0, minCapacity=0, behavior="HPA"))
    story = Story(asked, lambda t: 4.0 if t >= 20.0 else 0.0, rate=surge(4.0, 20.0, 200.0), wait_s=lambda *_: 1.0)
    assert story.until(900).target == 8
