"""Instances that fail while others do not, requests that are sent again, and rates that are limited."""

from __future__ import annotations

import pytest

from runtime.gateway.bucket import Bucket, Buckets
from runtime.gateway.outliers import Health, OutlierLimits, is_outlier
from runtime.gateway.retry_budget import RetryBudget

LIMITS = OutlierLimits(failures=5, share_max=0.5, least_s=1.0, most_s=60.0)


def health(answered: int = 0, failed: int = 0, *, left_out: bool = False, now_s: float = 100.0) -> Health:
    made = Health()
    made.age(now_s)
    made.answered = answered
    for _ in range(failed):
        made.fail(now_s)
    made.is_left_out = left_out
    return made


@pytest.mark.parametrize(
    ("own", "peers", "expected"),
    [
        (health(50, 5), [health(100)], False),  # 5 of 55: not so much above the peers
        (health(0, 5), [health(100)], True),
        (health(0, 4), [health(100)], False),  # not yet
        (health(0, 5), [], False),  # the last one
        (health(0, 5), [health(100, left_out=True)], False),  # the last one that is left
        (health(0, 5), [health(0, 5)], False),  # the function's own fault
        (health(0, 5), [health(10, 8)], True),
        (health(0, 5), [health(), health()], True),  # peers nobody asked: worth a try
        (health(0, 5), [health(100), health(100), health(0, 5, left_out=True)], True),  # 2 of 4
        (health(0, 5), [health(100), health(0, 5, left_out=True)], False),  # 2 of 3 would be too many
    ],
)
def test_an_instance_is_left_out_if_it_fails_in_a_row_and_its_peers_do_not(
    own: Health, peers: list[Health], expected: bool
) -> None:
    assert is_outlier(own, peers, LIMITS, 100.0) is expected


def test_none_is_left_out_where_the_setting_says_never() -> None:
    assert not is_outlier(health(0, 50), [health(100)], OutlierLimits(failures=0), 100.0)


def test_one_is_left_out_for_twice_as_long_each_time_and_one_failure_is_enough_after_it_came_back() -> None:
    own, times = health(0, 5), []
    for _ in range(8):
        times.append(own.leave_out(LIMITS))
        own.take_back(LIMITS)
        own.fail(100.0)
        assert is_outlier(own, [health(100)], LIMITS, 100.0)
    assert times == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    own.recover()
    assert own.leave_out(LIMITS) == 1.0


def test_failures_long_ago_are_forgotten() -> None:
    own = health(0, 100)
    own.age(115.0)
    assert own.counts == (0, 100)
    own.age(126.0)
    assert own.counts == (0, 0)
    idle = health(0, 100)
    idle.age(1000.0)
    assert idle.counts == (0, 0)


# -- sending again -----------------------------------------------------------------------------------------------------


def taken(budget: RetryBudget, now_s: float, arrived: int, asked: int = 10_000) -> int:
    return sum(budget.take(now_s, arrived) for _ in range(asked))


def test_a_fifth_of_the_requests_of_ten_seconds_may_be_sent_again_and_a_few_besides() -> None:
    budget = RetryBudget(0.2, 3.0, 0.0)
    budget.age(10.0, 1000)
    assert taken(budget, 10.0, 1000) == 200 + 30
    assert taken(budget, 15.0, 1500) == 0  # the requests of these five seconds were foreseen
    assert taken(budget, 20.0, 2000) == 200 + 30


def test_a_function_with_little_traffic_may_have_its_requests_sent_again_too() -> None:
    assert taken(RetryBudget(0.2, 3.0, 0.0), 1.0, 1) == 31  # three a second for ten, and one for the request itself
    assert taken(RetryBudget(0.0, 0.0, 0.0), 1.0, 1000) == 0


def test_more_traffic_than_before_gives_more_within_the_window() -> None:
    budget = RetryBudget(0.2, 0.0, 0.0)
    assert taken(budget, 1.0, 1000) == 200
    assert taken(budget, 2.0, 2000) == 200


# -- rates -------------------------------------------------------------------------------------------------------------


def test_a_rate_is_kept_over_time_with_its_burst_at_once() -> None:
    bucket = Bucket(("s", "1", "f"), "f", 10.0, 20.0, 0.0)
    assert sum(bucket.take(0.0) for _ in range(100)) == 20
    assert sum(bucket.take(n / 100) for n in range(1000)) in (99, 100)


def test_retry_after_is_when_there_is_room_again() -> None:
    bucket = Bucket(("s", "1", "f"), "f", 0.25, 1.0, 0.0)
    assert bucket.take(0.0)
    assert not bucket.take(1.0)
    assert bucket.retry_after_s == 3
    assert bucket.take(4.0)
    slow = Bucket(("s", "1", "f"), "f", 0.001, 1.0, 0.0)
    assert slow.take(0.0)
    assert slow.retry_after_s == 60


def test_a_clock_that_steps_back_gives_nothing() -> None:
    bucket = Bucket(("s", "1", "f"), "f", 1.0, 1.0, 10.0)
    assert bucket.take(10.0)
    assert not bucket.take(5.0)
    assert not bucket.take(10.5)


def test_a_limit_that_changes_begins_anew_and_one_that_does_not_goes_on() -> None:
    buckets = Buckets()
    first = buckets.bucket(("s", "LATEST", "f"), 1.0, 5.0, 0.0)
    assert buckets.bucket(("s", "LATEST", "f"), 1.0, 5.0, 1.0) is first
    assert buckets.bucket(("s", "LATEST", "f"), 2.0, 5.0, 1.0) is not first
    assert first.about == "function 'f' version 'LATEST'"
    assert buckets.bucket(("key", "k"), 1.0, 1.0, 0.0).about == "access key 'k'"
    buckets.forget(("key", "k"))
    buckets.forget(("key", "unknown"))


@pytest.mark.parametrize("gateways", [1, 2, 3, 64])
def test_a_limit_holds_over_all_gateways(gateways: int) -> None:
    shares = [Buckets(gateways).bucket(("key", "k"), 96.0, 192.0, 0.0) for _ in range(gateways)]
    assert sum(share.take(0.0) for share in shares for _ in range(500)) == 192
    assert 0.9 * 960 <= sum(share.take(n / 100) for n in range(1000) for share in shares for _ in range(2)) <= 960


def test_a_refusal_of_one_of_several_gateways_says_whose_share_is_used_up() -> None:
    share = Buckets(4).bucket(("s", "1", "f"), 10.0, 1.0, 0.0)
    assert share.about == "function 'f' version '1', of which this is one of 4 gateways' share,"
    assert (share.per_s, share.burst) == (2.5, 1.0), "one at once at least, or nothing would ever be served"
