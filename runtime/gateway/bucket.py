"""Rate limits: of one function version, and of one access key. Pure."""

from __future__ import annotations

from math import ceil
from typing import Final


class Bucket:
    """Tokens that come at a steady rate, up to a number. A request takes one."""

    __slots__ = ("_at_s", "_tokens", "about", "burst", "name", "per_s")

    def __init__(self, name: tuple[str, ...], about: str, per_s: float, burst: float, now_s: float) -> None:
        """`name` is whose limit it is: ("key", its id), or a function version; `about` says so."""
        self.name: Final = name
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
    """One for each that has a limit. A limit that changes begins with a full bucket.

    Of several gateways at one port each has an equal share of a limit, so that it holds over all of them.
    """

    __slots__ = ("_by_name", "_gateways")

    def __init__(self, gateways: int = 1) -> None:
        self._by_name: dict[tuple[str, ...], Bucket] = {}
        self._gateways = gateways

    def bucket(self, name: tuple[str, ...], per_s: float, burst: float, now_s: float) -> Bucket:
        """`per_s` and `burst` are the whole limit; the bucket has this gateway's share of it, one request at least."""
        per_s, burst = per_s / self._gateways, burst / self._gateways
        found = self._by_name.get(name)
        if found is None or found.per_s != per_s or found.burst != max(1.0, burst):
            found = self._by_name[name] = Bucket(name, _about(name, self._gateways), per_s, burst, now_s)
        return found

    def forget(self, name: tuple[str, ...]) -> None:
        """Of a function or a key that is no more. An unknown one does nothing."""
        self._by_name.pop(name, None)


def _about(name: tuple[str, ...], gateways: int) -> str:
    if name[0] == "key":
        whose = f"access key '{name[1]}'"
    else:
        _, version, function = name
        whose = f"function '{function}' version '{version}'"
    return whose if gateways == 1 else f"{whose}, of which this is one of {gateways} gateways' share,"
