"""Policies by what Prometheus says: how many instances that is, and what an error does (nothing)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.decide import Memory, Reading, Seen, step
from provision.wishes import READING_AGE_MAX_S
from tests.unit.provision_story import START, Story, config, tracking

URL, QUERY = "http://127.0.0.1:9090", "sum(rate(tokens_total[1m]))"


def by_reading(**changes: Any) -> dict[str, Any]:
    values = {"metricType": "Prometheus", "url": URL, "query": QUERY, "metricTarget": 50.0, "maxCapacity": 100}
    return tracking(**values) | {"minCapacity": 1} | changes


def said(value: Callable[[float], float | None], every_s: float = 5.0) -> Callable[[float], Reading | None]:
    """Asked every few seconds; None: no answer, so the last one stands."""
    last: list[Reading] = [Reading(URL, QUERY, None, 0.0)]

    def reading(t: float) -> Reading:
        asked_at = t - t % every_s
        answer = value(asked_at)
        if answer is None:
            last[0] = Reading(URL, QUERY, last[0].value, last[0].at, "no answer within 4 s")
        else:
            last[0] = Reading(URL, QUERY, answer, START + asked_at)
        return last[0]

    return reading


@pytest.mark.parametrize(("value", "wanted"), [(180.0, 4), (0.0, 1), (50.0, 1), (51.0, 2), (1e9, 100)])
def test_the_reading_is_shared_out_over_the_instances(value: float, wanted: int) -> None:
    """180 at a target of 50 for each are 3.6, so 4."""
    assert Story(config(by_reading()), reading=said(lambda _: value)).until(120).target == wanted


def test_a_rise_is_followed_at_once_and_a_fall_after_the_stable_window() -> None:
    story = Story(config(by_reading()), reading=said(lambda t: 400.0 if 60 <= t < 120 else 50.0))
    assert story.until(61).target == 8
    assert story.until(175).target == 8
    assert story.until(240).target == 1


def test_a_value_is_a_ratio_of_the_instances_there_are() -> None:
    policy = by_reading(metricTarget=0.5, metricTargetType="Value")
    story = Story(config(policy, target=4), reading=said(lambda _: 0.75))
    story.until(1)
    assert step(story.config, Memory(), Seen(START, 4, readings=(Reading(URL, QUERY, 0.75, START),)))[1].target == 6
    near = Seen(START, 4, readings=(Reading(URL, QUERY, 0.54, START),))
    assert step(story.config, Memory(), near)[1].target == 4


def test_a_ratio_does_not_grow_again_by_a_reading_from_before_the_newest_instance() -> None:
    asked = config(by_reading(metricTarget=0.5, metricTargetType="Value"), target=2)
    old = Reading(URL, QUERY, 1.0, START)
    memory, first = step(asked, Memory(), Seen(START, 2, readings=(old,)))
    _, second = step(asked, memory, Seen(START + 2, 4, newest_ready_at=START + 1.5, readings=(old,)))
    assert (first.target, second.target) == (4, 4)
    assert second.reasons == ("newest instance not measured yet",)


def test_an_error_changes_nothing_and_is_said_with_the_age_of_what_stands() -> None:
    story = Story(config(by_reading()), reading=said(lambda t: 400.0 if t < 60 else None))
    story.until(80)
    assert story.until(80).target == 8
    assert "25 s old: no answer within 4 s" in story.until(80).reasons[0]
    later = story.until(600)
    assert later.target == 8
    assert later.reasons == ("no reading, the newest is 545 s old: no answer within 4 s",)


def test_before_the_first_answer_the_number_stays() -> None:
    asked = config(by_reading(), target=3)
    _, decision = step(asked, Memory(), Seen(START, 3))
    assert (decision.target, decision.reasons) == (3, ("no reading: not asked yet",))
    refused = Reading(URL, QUERY, None, 0.0, "url is refused")
    _, decision = step(asked, Memory(), Seen(START, 3, readings=(refused,)))
    assert (decision.target, decision.reasons) == (3, ("no reading: url is refused",))


def test_a_reading_of_another_query_is_not_counted() -> None:
    other = Reading(URL, "sum(other)", 5000.0, START)
    assert step(config(by_reading()), Memory(), Seen(START, 1, readings=(other,)))[1].target == 1


def test_two_queries_are_kept_apart() -> None:
    asked = config(by_reading(), by_reading(name="q", query="sum(other)", metricTarget=10.0))
    readings = (Reading(URL, QUERY, 100.0, START), Reading(URL, "sum(other)", 70.0, START))
    _, decision = step(asked, Memory(), Seen(START, 1, readings=readings))
    assert [(say.name, say.wanted) for say in decision.says] == [("p", 2), ("q", 7)]


@pytest.mark.parametrize("age_s", [0.0, READING_AGE_MAX_S])
def test_a_reading_counts_until_it_is_too_old(age_s: float) -> None:
    reading = Reading(URL, QUERY, 400.0, START - age_s)
    assert step(config(by_reading()), Memory(), Seen(START, 1, readings=(reading,)))[1].target == 8


def test_a_short_window_can_shrink_too() -> None:
    story = Story(config(by_reading(stableWindowSeconds=10)), reading=said(lambda t: 400.0 if t < 30 else 0.0))
    assert story.until(20).target == 8
    assert story.until(120).target == 1


def test_it_can_behave_like_an_hpa() -> None:
    story = Story(config(by_reading(behavior="HPA")), reading=said(lambda _: 400.0))
    assert story.until(120).target == 8
    ratio = by_reading(behavior="HPA", metricTarget=1.0, metricTargetType="Value")
    assert Story(config(ratio, target=2), reading=said(lambda _: 2.0)).until(20).target == 4
    silent = Story(config(by_reading(behavior="HPA"), target=5), reading=said(lambda _: None)).until(60)
    assert (silent.target, silent.reasons) == (5, ("no reading: no answer within 4 s",))


def test_it_can_look_ahead() -> None:
    policy = by_reading(forecast={"season": "none"})
    story = Story(config(policy), reading=said(lambda t: 50.0 + 2.0 * t), launch_measured_s=60.0)
    without = Story(config(by_reading()), reading=said(lambda t: 50.0 + 2.0 * t))
    assert story.until(200).target >= without.until(200).target + 2
