"""What holds of every asynchronous invocation, however its attempts end."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from runtime.async_invocation.destinations import parse
from runtime.async_invocation.records import Status, new_invocation
from runtime.async_invocation.retry import PLATFORM_RETRY_S, Kind, Outcome, Policy, after_attempt, delay_s, is_too_old

outcomes = st.sampled_from(Kind).map(lambda kind: Outcome(kind, "e" if kind is not Kind.SUCCESS else ""))
policies = st.builds(Policy, st.integers(0, 8), st.floats(1.0, 2_592_000.0))


@given(st.lists(outcomes, min_size=1, max_size=200), policies, st.floats(0.0, 3600.0))
def test_it_comes_to_an_end_within_its_age_and_its_attempts(
    ends: list[Outcome], policy: Policy, lasts_s: float
) -> None:
    record = new_invocation(
        0.0, invocation_id="i", request_id="r", service="s", function="f", qualifier="q", version="1"
    )
    now_s = 0.0
    for outcome in ends:
        record = record.to(Status.RUNNING, now_s, attempts=record.attempts + 1)
        now_s += lasts_s
        record, again_at_s = after_attempt(record, outcome, policy, now_s)
        assert record.function_errors <= policy.retry_attempts_max + 1
        assert record.function_errors + record.platform_errors == record.attempts - (outcome.kind is Kind.SUCCESS)
        if again_at_s is None:
            assert record.status in (Status.SUCCEEDED, Status.FAILED)
            assert record.ended_at_s == now_s
            return
        assert record.status is Status.RETRYING
        assert again_at_s >= now_s
        if outcome.kind is Kind.PLATFORM_ERROR:
            assert again_at_s <= PLATFORM_RETRY_S
        now_s = again_at_s
        if is_too_old(0.0, policy, now_s):
            return
        assert now_s < policy.age_s_max


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_more_failures_never_wait_for_less(few: int, many: int) -> None:
    low, high = sorted((few, many))
    assert 0.5 <= delay_s(low) <= delay_s(high) <= 300.0


@given(st.text(max_size=200))
def test_a_destination_is_read_or_refused_and_nothing_else(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse(text)
