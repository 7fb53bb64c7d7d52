"""When an asynchronous invocation is tried again, told as stories; and how its record moves."""

from __future__ import annotations

import pytest

from runtime.async_invocation.records import EVENTS_MAX, NEXT, Invocation, Status, new_invocation
from runtime.async_invocation.retry import Kind, Outcome, Policy, after_attempt, delay_s, is_too_old

FUNCTION_ERROR = Outcome(Kind.FUNCTION_ERROR, "no luck", "UnhandledInvocationError")
PLATFORM_ERROR = Outcome(Kind.PLATFORM_ERROR, "refused")
SUCCESS = Outcome(Kind.SUCCESS, result=b"luck")


def accepted(now_s: float = 0.0) -> Invocation:
    return new_invocation(
        now_s, invocation_id="i", request_id="r", service="s", function="f", qualifier="LATEST", version="LATEST"
    )


def attempted(record: Invocation, now_s: float) -> Invocation:
    return record.to(Status.RUNNING, now_s, attempts=record.attempts + 1)


def story(outcome: Outcome, policy: Policy, attempts_max: int = 100) -> tuple[Invocation, list[float]]:
    """The record and the waits when every attempt ends like this and takes no time."""
    record, now_s = accepted(), 0.0
    waits: list[float] = []
    for _ in range(attempts_max):
        record, again_at_s = after_attempt(attempted(record, now_s), outcome, policy, now_s)
        if again_at_s is None:
            return record, waits
        waits.append(again_at_s - now_s)
        now_s = again_at_s
    return record, waits


def test_the_wait_doubles_from_half_a_second_up_to_five_minutes() -> None:
    assert [delay_s(failures) for failures in range(1, 6)] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert delay_s(10) == 256.0
    assert delay_s(11) == delay_s(100_000) == 300.0


def test_a_function_error_is_tried_again_three_times_by_default() -> None:
    record, waits = story(FUNCTION_ERROR, Policy())
    assert waits == [0.5, 1.0, 2.0]
    assert (record.status, record.attempts, record.function_errors) == (Status.FAILED, 4, 4)
    assert (record.error, record.error_type) == ("no luck", "UnhandledInvocationError")


def test_no_retries_means_one_attempt() -> None:
    record, waits = story(FUNCTION_ERROR, Policy(retry_attempts_max=0))
    assert (waits, record.status, record.attempts) == ([], Status.FAILED, 1)


def test_the_platforms_failures_are_tried_again_for_five_hours_and_take_none_of_the_functions_attempts() -> None:
    record, waits = story(PLATFORM_ERROR, Policy(retry_attempts_max=0))
    assert waits[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert 5 * 3600.0 - 300.0 < sum(waits) <= 5 * 3600.0
    assert (record.status, record.function_errors) == (Status.FAILED, 0)
    assert record.platform_errors == len(waits) + 1


def test_a_retry_is_never_later_than_the_events_end() -> None:
    policy = Policy(age_s_max=2.0)
    record, waits = story(FUNCTION_ERROR, policy, attempts_max=3)
    assert sum(waits) == 2.0
    assert record.status is Status.RETRYING
    assert is_too_old(0.0, policy, 2.0)
    assert not is_too_old(0.0, policy, 1.999)


def test_success_ends_it_and_forgets_the_error_of_the_attempt_before() -> None:
    record, _ = after_attempt(attempted(accepted(), 0.0), FUNCTION_ERROR, Policy(), 1.0)
    record, again_at_s = after_attempt(attempted(record, 2.0), SUCCESS, Policy(), 3.0)
    assert (record.status, again_at_s, record.error, record.ended_at_s) == (Status.SUCCEEDED, None, "", 3.0)
    assert [event["status"] for event in record.events] == ["Enqueued", "Running", "Retrying", "Running", "Succeeded"]


@pytest.mark.parametrize("outcome", [SUCCESS, FUNCTION_ERROR, PLATFORM_ERROR])
def test_one_that_is_to_be_stopped_is_stopped_however_its_attempt_ended(outcome: Outcome) -> None:
    record = attempted(accepted(), 0.0).to(Status.STOPPING, 1.0)
    record, again_at_s = after_attempt(record, outcome, Policy(), 2.0)
    assert (record.status, again_at_s) == (Status.STOPPED, None)


def test_nothing_follows_a_final_state() -> None:
    for status in Status:
        assert bool(NEXT[status]) != status.is_final
    with pytest.raises(AssertionError, match="Stopped → Running"):
        accepted().to(Status.STOPPED, 1.0).to(Status.RUNNING, 2.0)


def test_a_long_history_keeps_its_beginning_and_its_end() -> None:
    record = accepted()
    for second in range(200):
        record = attempted(record, float(second))
    assert len(record.events) == EVENTS_MAX
    assert record.events[0]["status"] == "Enqueued"
    assert record.events[-1]["at_s"] == 199.0


def test_a_record_comes_back_from_json_as_it_was() -> None:
    record = attempted(accepted(1.5), 2.25)
    assert Invocation.from_json(record.to_json()) == record
