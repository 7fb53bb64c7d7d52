"""GPU metrics that would run away, and the rule that keeps each from it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from provision.decide import Decision, Memory, MetricSample, Seen, step
from tests.unit.provision_story import START, Story, config, surge, tracking


def gpu(**changes: Any) -> dict[str, Any]:
    values = {"metricType": "GPUSmUtilization", "metricTarget": 0.6, "minCapacity": 1, "maxCapacity": 1000}
    return tracking(**(values | changes))


def test_one_long_request_that_holds_the_gpu_at_100_percent_never_scales() -> None:
    # ceil(n × 1.0 ÷ 0.6) is more than n for ever: by the ratio alone it would be a thousand instances.
    for launch_s in (0.0, 20.0):
        story = Story(config(gpu()), lambda _: 1.0, gauge=lambda *_: 1.0, launch_s=launch_s)
        assert story.until(1800).target == 1
        assert story.changes == [(0, 1)]


def test_a_request_that_keeps_the_gpu_idle_keeps_its_instance() -> None:
    # Without it the last instance would go, the next request bring it back, and so on.
    story = Story(config(gpu(minCapacity=0)), lambda _: 0.1, gauge=lambda *_: 0.0)
    story.until(900)
    assert [target for _, target in story.changes] == [0, 1]


def test_it_does_not_scale_either_when_the_request_follows_a_burst() -> None:
    story = Story(config(gpu()), surge(5, 0, 30, before=1), gauge=lambda *_: 1.0)
    assert story.until(60).target == 5
    assert story.until(600).target == 1
    assert max(target for _, target in story.changes) == 5


def test_a_gauge_that_never_falls_grows_in_rounds_and_not_in_leaps() -> None:
    # Every instance shows 100 % whatever there is, at a target of 5 %: the ratio asks for 20 times as many each time.
    story = Story(config(gpu(metricTarget=0.05)), lambda _: 500.0, gauge=lambda *_: 1.0)
    story.until(70)
    for (earlier_s, fewer), (later_s, more) in pairwise(story.changes):
        assert more <= fewer + max(fewer, 4)
        assert later_s - earlier_s >= 3, "each round is measured before the next one"
    assert story.changes[-1][1] > 100, "a need that is real is met nonetheless"


def test_readings_from_while_an_instance_starts_are_not_multiplied_by_it() -> None:
    story = Story(
        config(gpu()), lambda _: 100.0, gauge=lambda _, ready: min(1.0, 1.0 / ready), launch_s=45.0, tick_s=0.25
    )
    assert story.until(600).target == 2
    assert [target for _, target in story.changes] == [1, 2]


def lagging(
    lag_s: float, value: float, *, seconds: int = 200, target: int = 3, others: float | None = None
) -> Decision:
    """A counter that is always late by `lag_s`, on 3 instances with requests enough."""
    policy, memory = config(gpu(), target=target), Memory()
    for second in range(seconds):
        late = MetricSample("GPUSmUtilization", "a", value, START + second - lag_s)
        fresh = () if others is None else (MetricSample("GPUSmUtilization", "b", others, START + second),)
        seen = Seen(START + second, 3, demand=50.0, demand_peak=50, interval_s=1.0, newest_ready_at=START - 500)
        memory, decision = step(policy, memory, replace(seen, samples=(late, *fresh)))
    return decision


def test_a_sample_that_is_40_s_old_is_ignored_and_said() -> None:
    for value in (1.0, 0.0):
        decision = lagging(40.0, value)
        assert decision.target == 3
        assert decision.reasons == ("no GPUSmUtilization seen in 60 s, a sample 40 s old ignored",)


def test_a_sample_of_a_few_seconds_ago_counts() -> None:
    assert lagging(4.0, 1.0).target > 3
    assert lagging(4.0, 0.0).target == 1


def test_an_instance_that_lags_stops_scale_in_and_not_scale_out() -> None:
    idle = lagging(40.0, 0.9, others=0.0)
    assert idle.target == 3, "the one that nobody hears of may be the busy one"
    assert idle.reasons == ("stable=0 panic=0, a sample 40 s old ignored",)
    assert lagging(40.0, 0.0, others=1.0).target > 3


def test_a_counter_that_stops_is_ignored_and_said() -> None:
    policy, memory = config(gpu(), target=3), Memory()
    for second in range(60):
        last = MetricSample("GPUSmUtilization", "a", 0.6, START + min(second, 20))
        seen = Seen(START + second, 3, demand=50.0, demand_peak=50, interval_s=1.0, newest_ready_at=START - 500)
        memory, decision = step(policy, memory, replace(seen, samples=(last,)))
    assert (decision.target, decision.reasons) == (3, ("newest GPUSmUtilization is 39 s old: ignored",))


def test_memory_that_an_instance_keeps_does_not_ask_for_more_and_more() -> None:
    # A process that holds 95 % of its memory shows the same however many others there are.
    story = Story(
        config(gpu(metricType="MemoryUtilization")), lambda _: 2.0, gauge=lambda *_: 0.95, metric="MemoryUtilization"
    )
    assert story.until(900).target == 2
