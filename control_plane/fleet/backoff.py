"""How long a function version whose launches fail must wait before the next one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_WAIT_S = 1.0
# A launch that failed ten times will hardly succeed in the next minutes; five minutes is what Kubernetes waits too.
WAIT_MAX_S = 300.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubles with each failed launch in a row. `error` is shown as `currentError`, until a launch succeeds."""

    failures: int = 0
    until_s: float = 0.0  # UTC seconds
    error: str = ""

    def failed(self, now: float, error: str) -> Backoff:
        """One more failed launch. Failures of launches that were begun together, before `until_s`, count once."""
        if now < self.until_s:
            return Backoff(self.failures, self.until_s, error)
        wait_s = min(FIRST_WAIT_S * 2.0**self.failures, WAIT_MAX_S)
        return Backoff(self.failures + 1, now + wait_s, error)

    def allows(self, now: float) -> bool:
        return now >= self.until_s

    @property
    def launches_max(self) -> int | None:
        """After a failure one instance tries alone; the others follow when it has become ready."""
        return 1 if self.error else None
