"""The answers that the gateway gives by itself, with FC's codes and words. One place, so that they read alike."""

from __future__ import annotations

from typing import Final

RETRY_AFTER_S: Final = 1


class Refusal(Exception):
    """A request that gets no instance's answer. `headers` are said beside the body."""

    def __init__(self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    @property
    def is_platform_fault(self) -> bool:
        """Ours, or for want of capacity: counted as failed in the usage report."""
        return self.status >= 500 or self.status == 429


def not_found(what: str, message: str) -> Refusal:
    """`what` is the noun of FC's code: Service, Function, Version, Alias, Trigger."""
    return Refusal(404, f"{what}NotFound", message)


def invalid(message: str) -> Refusal:
    return Refusal(400, "InvalidArgument", message)


def too_large(bytes_max: int, what: str) -> Refusal:
    return Refusal(400, "EntityTooLarge", f"the body of {what} is too large: at most {bytes_max} bytes are allowed")


def exhausted(message: str, retry_after_s: int = RETRY_AFTER_S) -> Refusal:
    return Refusal(429, "ResourceExhausted", message, (("retry-after", str(retry_after_s)),))


def throttled(message: str, retry_after_s: int) -> Refusal:
    return Refusal(429, "ResourceThrottled", message, (("retry-after", str(retry_after_s)),))


def unavailable(message: str) -> Refusal:
    """503, as FC's clients repeat 500, 502 and 504 by themselves at once, and 503 after Retry-After."""
    return Refusal(503, "ServiceUnavailable", message, (("retry-after", str(RETRY_AFTER_S)),))


def not_started(reason: str) -> Refusal:
    return Refusal(412, "CAExited", f"The function either cannot be started or exited. {reason}")


def died(*, sent_again: bool, over_budget: bool = False) -> Refusal:
    """The instance went away after the request was sent. `sent_again`: as it may be, and was, to no avail;
    `over_budget`: it may be, but too many were."""
    message = "Process exited unexpectedly before completing request"
    if over_budget:
        message += "; it was not sent again, as too many requests of this function were already"
    elif not sent_again:
        message += "; it was not sent again, as it may have had an effect"
    return Refusal(502, "BadGateway", message)
