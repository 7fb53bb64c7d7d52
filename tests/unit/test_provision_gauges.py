"""How many instances by GPU and CPU metrics: the most of what the instances show, and never more than requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.decide import Memory, MetricSample, Seen, step
from tests.unit.provision_story import START, Story, config, surge, tracking


def gpu(**changes: Any) -> dict[str, Any]:
    return tracking(**({"metricType": "GPUSmUtilization", "metricTarget": 0.6, "minCapacity": 1} | changes))


def samples(*values: float, at: float, metric: str = "GPUSmUtilization") -> tuple[MetricSample, ...]:
    return tuple(MetricSample(metric, f"i{number}", value, START + at) for number, value in enumerate(values))


@pytest.mark.parametrize(
    "metric",
    ["CPUUtilization", "GPUSmUtilization", "GPUMemUtilization", "GPUEncoderUtilization", "GPUDecoderUtilization"],
)
def test_each_metric_scales_out_to_its_target(metric: str) -> None:
    # One instance at 90 % with a target of 60 %: 1.5, so 2. Then the load is shared.
    story = Story(
        config(gpu(metricType=metric)), lambda _: 10.0, gauge=lambda _, ready: min(1.0, 0.9 / ready), metric=metric
    )
    assert story.until(120).target == 2
    assert [target for _, target in story.changes] == [1, 2]


@pytest.mark.parametrize("sampled", ["GPUMemUtilization", "GPUMemoryUtilization"])
@pytest.mark.parametrize("asked", ["GPUMemUtilization", "GPUMemoryUtilization"])
def test_gpu_memory_is_one_metric_in_both_spellings(asked: str, sampled: str) -> None:
    story = Story(config(gpu(metricType=asked)), lambda _: 10.0, gauge=lambda _, ready: 0.9 / ready, metric=sampled)
    assert story.until(120).target == 2


def test_a_saturated_gauge_grows_by_its_ratio_until_it_is_at_the_target() -> None:
    # Work for 4 instances at 60 %: one or two show 100 %, three 80 %.
    story = Story(config(gpu()), lambda _: 10.0, gauge=lambda _, ready: min(1.0, 2.4 / ready), launch_s=5.0)
    assert story.until(120).target == 4
    assert [target for _, target in story.changes] == [1, 2, 4]


def test_the_busiest_instance_decides() -> None:
    policy = config(gpu(), target=2)
    memory = Memory()
    for second in range(5):
        seen = Seen(START + second, 2, demand=9.0, demand_peak=9, interval_s=1.0, newest_ready_at=START - 10)
        memory, decision = step(policy, memory, replace(seen, samples=samples(0.1, 0.9, at=second)))
    assert decision.target == 3  # 2 × 0.9 / 0.6


def test_within_a_tenth_of_the_target_nothing_changes() -> None:
    for value, target in ((0.55, 4), (0.65, 4), (0.68, 5)):
        story = Story(config(gpu(), target=4), lambda _: 20.0, gauge=lambda _, ready, v=value: v * 4 / ready)  # type: ignore[misc]
        assert story.until(200).target == target, value


def test_it_scales_in_when_the_instances_are_idle_but_by_steps() -> None:
    story = Story(config(gpu(), target=8), surge(8, 0, 20), gauge=lambda t, _: 0.6 if t < 20 else 0.0)
    assert story.until(78).target == 8
    assert story.until(200).target == 1
    assert [target for _, target in story.changes] == [8, 4, 2, 1]


def test_one_request_that_fills_a_gpu_asks_for_no_second_one() -> None:
    story = Story(config(gpu()), lambda _: 1.0, gauge=lambda *_: 1.0)
    assert story.until(120).target == 1
    assert story.decision is not None
    assert story.decision.reasons == ("stable=2 panic=2 peak=1",)


def test_no_more_instances_than_requests_at_once() -> None:
    story = Story(config(gpu()), lambda _: 3.0, gauge=lambda *_: 1.0)
    assert story.until(300).target == 3


def test_what_was_read_before_the_newest_instance_was_ready_does_not_count() -> None:
    # The gauge stays at 100 % while the second instance starts for 30 s: it is not multiplied over and over.
    story = Story(config(gpu()), lambda _: 10.0, gauge=lambda _, ready: 1.0 if ready == 1 else 0.6, launch_s=30.0)
    assert story.until(300).target == 2
    assert [target for _, target in story.changes] == [1, 2]


def test_a_new_instance_is_measured_for_a_panic_window_before_it_counts() -> None:
    story = Story(config(gpu()), lambda _: 10.0, gauge=lambda *_: 1.0)
    assert story.until(1).reasons == ("newest instance measured for 1 of 3 s",)
    assert story.until(2).target == 1
    assert story.until(3).target == 2


def test_a_sample_that_is_seen_again_counts_once() -> None:
    policy = config(gpu(), target=2)
    memory = Memory()
    for tick in range(40):  # ten times a second, read once a second
        now = START + tick / 10
        seen = Seen(now, 2, demand=9.0, demand_peak=9, interval_s=0.1, newest_ready_at=START - 10)
        memory, decision = step(
            policy, memory, replace(seen, samples=samples(0.9 if tick < 10 else 0.6, at=tick // 10))
        )
    readings = [(second - START, load) for second, load in memory.gauges["GPUSmUtilization"].readings]
    assert readings == [(0, 1.8), (1, 1.2), (2, 1.2), (3, 1.2)]
    assert decision.target == 3


def test_without_samples_the_target_is_kept_and_says_so() -> None:
    story = Story(config(gpu(), target=3), lambda _: 9.0)
    assert story.until(120).target == 3
    assert story.decision is not None
    assert story.decision.reasons == ("no GPUSmUtilization seen in 60 s",)


def test_without_reports_of_requests_the_target_is_kept_and_says_so() -> None:
    policy = config(gpu(), target=2)
    memory = Memory()
    for second in range(90):
        seen = Seen(START + second, 2, samples=samples(1.0, at=second), newest_ready_at=START - 10)
        memory, decision = step(policy, memory, seen)
    assert (decision.target, decision.reasons) == (2, ("no usage seen in 60 s",))


def test_samples_that_stop_hold_the_target() -> None:
    story = Story(config(gpu()), lambda _: 10.0, gauge=lambda _, ready: 1.2 / ready)
    assert story.until(60).target == 2
    story.gauge = None
    assert story.until(300).target == 2


def test_from_zero_the_first_request_asks_for_one_instance() -> None:
    story = Story(config(gpu(minCapacity=0)), surge(2, 10, 20), gauge=lambda *_: 0.3)
    assert story.until(10).target == 0
    assert story.until(11).target == 1
    assert story.until(300).target == 0


def test_samples_of_other_metrics_are_not_looked_at() -> None:
    policy = config(gpu(), target=1)
    memory = Memory()
    for second in range(30):
        seen = Seen(START + second, 1, demand=9.0, demand_peak=9, interval_s=1.0, newest_ready_at=START - 10)
        other = samples(1.0, at=second, metric="CPUUtilization") + samples(1.0, at=second, metric="Temperature")
        memory, decision = step(policy, memory, replace(seen, samples=other))
    assert decision.target == 1
    assert set(memory.gauges) == {"GPUSmUtilization"}


def test_two_metrics_are_two_policies_and_the_larger_wins() -> None:
    both = config(gpu(name="sm"), gpu(name="memory", metricType="GPUMemoryUtilization", metricTarget=0.8), target=2)
    memory = Memory()
    for second in range(10):
        seen = Seen(START + second, 2, demand=9.0, demand_peak=9, interval_s=1.0, newest_ready_at=START - 10)
        read = samples(0.3, at=second) + samples(0.95, at=second, metric="GPUMemUtilization")
        memory, decision = step(both, memory, replace(seen, samples=read))
    assert [(say.name, say.wanted) for say in decision.says] == [("sm", 2), ("memory", 3)]
    assert decision.target == 3
