"""How long a function version whose launches fail must wait before the next one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from runtime.contract import InstanceRecord, VersionKey

FIRST_WAIT_S = 1.0
# A launch that failed ten times will hardly succeed in the next minutes; five minutes is what Kubernetes waits too.
WAIT_MAX_S = 300.0
# An instance that was ready this long before it died was healthy: its replacement starts at once.
HEALTHY_AFTER_S = 5.0


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


NONE = Backoff()


class Setbacks:
    """Of all function versions."""

    def __init__(self) -> None:
        self._backoff: dict[VersionKey, Backoff] = {}

    def of(self, key: VersionKey) -> Backoff:
        return self._backoff.get(key, NONE)

    def launched(self, key: VersionKey) -> None:
        """A launch has succeeded."""
        if key in self._backoff:
            self._backoff[key] = replace(self._backoff[key], error="")

    def failed(
        self, key: VersionKey, record: InstanceRecord, all_of_it: Iterable[InstanceRecord], now: float, reason: str
    ) -> None:
        """An instance has failed, one of `all_of_it`: a failed launch, unless it had been healthy."""
        if _was_healthy(record, now):
            return
        before = NONE if any(_was_healthy(each, now) for each in all_of_it) else self.of(key)
        self._backoff[key] = before.failed(now, reason)


def _was_healthy(record: InstanceRecord, now: float) -> bool:
    return bool(record.ready_at_s) and now - record.ready_at_s >= HEALTHY_AFTER_S
