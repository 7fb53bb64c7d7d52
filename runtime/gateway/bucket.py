"""Rate limits: of one function version, and of one access key. Pure."""

from __future__ import annotations

from math import ceil
from typing import Final


class Bucket:
    """Tokens that come at a steady rate, up to a number. A request takes one."""

    __slots__ = ("_at_s", "_tokens", "about", "burst", "per_s")

    def __init__(self, about: str, per_s: float, burst: float, now_s: float) -> None:
        """`about` says whose limit it is."""
        self.about: Final = about
        self.per_s: Final = per_s
        self.burst: Final = max(1.0, burst)
        self._tokens = self.burst
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Whether there was one."""
        if now_s > self._at_s:
            self._tokens = min(self.burst, self._tokens + (now_s - self._at_s) * self.per_s)
            self._at_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    @property
    def retry_after_s(self) -> int:
        """When there is one again, after `take` found none: whole seconds, 1 to 60."""
        return min(max(ceil((1.0 - self._tokens) / self.per_s), 1), 60)


class Buckets:
    """One for each that has a limit. A limit that changes begins with a full bucket."""

    __slots__ = ("_by_name",)

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, ...], Bucket] = {}

    def bucket(self, name: tuple[str, ...], per_s: float, burst: float, now_s: float) -> Bucket:
        found = self._by_name.get(name)
        if found is None or found.per_s != per_s or found.burst != max(1.0, burst):
            found = self._by_name[name] = Bucket(_about(name), per_s, burst, now_s)
        return found

    def forget(self, name: tuple[str, ...]) -> None:
        """Of a function or a key that is no more. An unknown one does nothing."""
        self._by_name.pop(name, None)


def _about(name: tuple[str, ...]) -> str:
    if name[0] == "key":
        return f"access key '{name[1]}'"
    _, version, function = name
    return f"function '{function}' version '{version}'"
