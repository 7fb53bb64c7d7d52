"""What follows from an attempt: done, once more and when, or given up. Pure.

Two kinds of failure, counted apart. The function's own (it answered with an error, ran out of time, or its process
exited) is tried again `retry_attempts_max` times. The platform's (no instance could be reached) is nobody's fault and
goes on for five hours. Both wait 0.5 s, 1 s, 2 s, 4 s, 8 s … before the next attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from runtime.async_invocation.records import Invocation, Status
from runtime.contract import ASYNC_EVENT_AGE_S_MAX, ASYNC_RETRY_ATTEMPTS_MAX

FIRST_DELAY_S: Final = 0.5
DELAY_S_MAX: Final = 300.0  # so that what was away for hours is noticed within minutes of its return
PLATFORM_RETRY_S: Final = 5 * 3600.0  # from when it was accepted


class Kind(StrEnum):
    SUCCESS = "success"
    FUNCTION_ERROR = "function-error"
    PLATFORM_ERROR = "platform-error"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `result` is what the function answered, as much of it as is kept."""

    kind: Kind
    error: str = ""
    error_type: str = ""
    result: bytes = b""


@dataclass(frozen=True, slots=True)
class Policy:
    """What an async invoke config says of retries."""

    retry_attempts_max: int = ASYNC_RETRY_ATTEMPTS_MAX
    age_s_max: float = ASYNC_EVENT_AGE_S_MAX


def delay_s(failures: int) -> float:
    """How long to wait after so many failures of one kind: 0.5 after the first, doubled with each further one."""
    return min(FIRST_DELAY_S * 2.0 ** min(failures - 1, 32), DELAY_S_MAX)


def is_too_old(enqueued_at_s: float, policy: Policy, now_s: float) -> bool:
    return now_s - enqueued_at_s >= policy.age_s_max


def after_attempt(
    record: Invocation, outcome: Outcome, policy: Policy, now_s: float
) -> tuple[Invocation, float | None]:
    """The record after an attempt, and the UTC time of the next one; None: there is none.

    One that is to be stopped is stopped, whatever came of the attempt. A retry is never later than the time at which
    the invocation expires, so that it is seen to have expired then.
    """
    if record.status is Status.STOPPING:
        return record.to(Status.STOPPED, now_s), None
    if outcome.kind is Kind.SUCCESS:
        return record.to(Status.SUCCEEDED, now_s, error="", error_type=""), None
    by_function = outcome.kind is Kind.FUNCTION_ERROR
    function_errors = record.function_errors + by_function
    platform_errors = record.platform_errors + (not by_function)
    if by_function:
        is_last = function_errors > policy.retry_attempts_max
        wait_s = delay_s(function_errors)
    else:
        wait_s = delay_s(platform_errors)
        is_last = now_s + wait_s > record.enqueued_at_s + PLATFORM_RETRY_S
    status = Status.FAILED if is_last else Status.RETRYING
    changed = record.to(
        status,
        now_s,
        outcome.error,
        error=outcome.error,
        error_type=outcome.error_type,
        function_errors=function_errors,
        platform_errors=platform_errors,
    )
    if is_last:
        return changed, None
    return changed, max(now_s, min(now_s + wait_s, record.enqueued_at_s + policy.age_s_max))
