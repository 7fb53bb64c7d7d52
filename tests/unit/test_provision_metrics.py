"""How many instances by metrics of requests: their rate, how many wait, and how long."""

from __future__ import annotations

from typing import Any

import pytest

from provision.decide import Memory, Seen, step
from tests.unit.provision_story import START, Story, config, surge, tracking


def by(metric: str, target: float, **changes: Any) -> dict[str, Any]:
    return tracking(**({"metricType": metric, "metricTarget": target, "minCapacity": 1, "maxCapacity": 50} | changes))


def closed(policy: dict[str, Any], clients: int, service_s: float = 0.1, launch_s: float = 0.0) -> Story:
    """Clients that ask again as soon as they are answered: the more instances, the shorter the wait."""
    story = Story(config(policy), lambda _: float(clients), launch_s=launch_s)

    def per_s() -> float:
        return max(1, min(clients, len(story.ready))) / service_s

    story.rate = lambda _: per_s()
    story.wait_s = lambda _, ready: max(0, clients - ready) / per_s()
    return story


# -- requests a second ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "wanted"), [(95, 10), (100, 10), (101, 11), (0, 1), (41, 5)])
def test_the_rate_over_its_target_is_the_number_of_instances(rate: float, wanted: int) -> None:
    story = Story(config(by("RequestsPerSecond", 10)), lambda _: 1.0, rate=lambda _: rate)
    assert story.until(120).target == wanted


def test_a_rate_works_from_zero_and_goes_back_to_zero_after_its_grace() -> None:
    policy = by("RequestsPerSecond", 10, minCapacity=0, scaleInDelaySeconds=30)
    story = Story(config(policy), surge(1, 10, 20), rate=surge(5, 10, 20))
    assert story.until(10).target == 0
    assert story.until(11).target == 1
    assert story.until(108).target == 1, "60 s of window and 30 s of delay after the last request"
    assert story.until(115).target == 0
    assert [target for _, target in story.changes] == [0, 1, 0]


def test_a_rate_that_surges_is_seen_in_the_panic_window() -> None:
    story = Story(config(by("RequestsPerSecond", 10)), rate=surge(200, 60, 90, before=10))
    assert story.until(60).target == 1
    assert story.until(63).target == 20


def test_a_rate_that_falls_takes_no_instance_from_requests_that_still_run() -> None:
    story = Story(config(by("RequestsPerSecond", 1)), surge(6, 10, 200), rate=surge(6, 10, 20))
    assert story.until(20).target == 6
    assert {story.until(second).target for second in range(21, 200)} == {6}, "each of them runs for minutes"
    assert story.until(320).target == 1


# -- requests that wait -----------------------------------------------------------------------------------------------


def test_waiting_requests_over_their_target_are_the_number_of_instances() -> None:
    # 21 at once on one slot each: 20 wait, at 5 each that is 4 instances; then 17 wait, for which 4 are enough.
    story = Story(config(by("WaitingLength", 5)), lambda _: 21.0)
    assert story.until(300).target == 4
    assert story.until(600).target == 4


def test_an_empty_queue_takes_nothing_from_the_requests_that_run() -> None:
    story = Story(config(by("WaitingLength", 5), target=8), lambda _: 6.0)
    assert story.until(600).target == 6
    assert story.decision is not None
    assert story.decision.reasons == ("stable=0 panic=0 busy=6",)


def test_a_queue_asks_for_no_more_instances_than_its_requests_fill() -> None:
    story = Story(config(by("WaitingLength", 0.1)), lambda _: 12.0, slots=4)
    assert story.until(60).target == 3
    assert max(target for _, target in story.changes) == 3


def test_a_queue_is_answered_from_zero() -> None:
    story = Story(config(by("WaitingLength", 5, minCapacity=0)), surge(1, 10, 20))
    assert story.until(10).target == 0
    assert story.until(11).target == 1
    assert story.until(300).target == 0


# -- how long they wait -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("launch_s", [0.0, 8.0])
def test_a_wait_over_its_target_grows_until_it_is_kept_and_no_further(launch_s: float) -> None:
    # 10 clients of 100 ms: with 5 instances each waits 100 ms, which is the target.
    story = closed(by("QueueWaitMilliseconds", 100), clients=10, launch_s=launch_s)
    target = story.until(600).target
    assert 5 <= target <= 10, "more than 10 could not be filled"
    changes = len(story.changes)
    assert story.until(900).target == target
    assert len(story.changes) == changes, "constant load changes nothing"


def test_a_wait_near_its_target_changes_nothing() -> None:
    policy = by("QueueWaitMilliseconds", 100)
    for wait_s, target in ((0.095, 4), (0.109, 4), (0.115, 5)):
        story = Story(config(policy, target=4), lambda _: 20.0, rate=lambda _: 10.0, wait_s=lambda *_, w=wait_s: w)
        assert story.until(3).target == target, wait_s


def test_no_wait_asks_for_no_more_than_run_and_keeps_those() -> None:
    story = Story(config(by("QueueWaitMilliseconds", 100), target=8), lambda _: 3.0, rate=lambda _: 30.0)
    assert story.until(300).target == 3


def test_waits_that_ended_before_the_newest_instance_was_ready_do_not_count_again() -> None:
    # 9 waits of 400 ms at a target of 100 ms ask for 4 instances, once; after that nobody waits.
    story = Story(config(by("QueueWaitMilliseconds", 100)), lambda _: 20.0, rate=lambda _: 9.0, launch_s=20.0)
    story.wait_s = lambda _, ready: 0.4 if ready == 1 else 0.1
    assert story.until(55).target == 4
    assert [target for _, target in story.changes] == [1, 4]


def test_a_wait_is_the_mean_of_requests_and_not_of_seconds() -> None:
    policy, memory = config(by("QueueWaitMilliseconds", 100), target=2), Memory()
    for second in range(40):  # 99 requests wait for nothing in one second, one for 900 ms in the next: 9 ms on average
        lone = second % 2 == 1
        seen = Seen(
            START + second, 2, demand=1.0, demand_peak=90, interval_s=1.0, newest_ready_at=START - 100,
            finished=1 if lone else 99, queue_wait_s_sum=0.9 if lone else 0.0,
        )  # fmt: skip
        memory, decision = step(policy, memory, seen)
        assert decision.target == 2


# -- every metric -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["RequestsPerSecond", "QueueWaitMilliseconds", "WaitingLength"])
def test_without_any_report_the_target_is_kept_and_says_so(metric: str) -> None:
    policy, memory = config(by(metric, 10), target=3), Memory()
    for second in range(200):
        memory, decision = step(policy, memory, Seen(START + second, 3))
    assert (decision.target, decision.reasons) == (3, ("no usage seen in 60 s",))


@pytest.mark.parametrize("metric", ["ProvisionedConcurrencyUtilization", "RequestsPerSecond", "QueueWaitMilliseconds"])
def test_a_target_next_to_nothing_asks_for_all_there_may_be(metric: str) -> None:
    story = Story(config(by(metric, 5e-324, maxCapacity=9)), lambda _: 50.0, rate=lambda _: 50.0)
    story.wait_s = lambda *_: 1.0
    assert story.until(60).target == 9


def test_a_function_that_sleeps_at_zero_keeps_the_last_instance_through_the_grace() -> None:
    policy = tracking(minCapacity=0, metricTarget=1.0, scaleInDelaySeconds=120)
    story = Story(config(policy), lambda t: 1.0 if t < 30 or 150 <= t < 160 else 0.0)
    assert story.until(200).target == 1, "the request at 150 s began the grace anew"
    assert story.until(335).target == 1
    assert story.until(350).target == 0
