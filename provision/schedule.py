"""When a scheduled action fires: `at(…)` and `cron(…)` as arithmetic on times, without a scheduler.

`cron.py` knows the calendar and `times.py` where a local time lies in UTC, so what happens when clocks change is
decided in one place: a time that the clock jumps over fires at the jump, one that it shows twice fires the first time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from provision.cron import HORIZON_S, parse_cron
from provision.times import CACHE_SIZE, offset_at, parse_time, parse_zone, utc_of_local

_DAY_S: Final = 86_400
_AT: Final = re.compile(r"at\((?P<time>[^()]*)\)", re.IGNORECASE)
_CRON: Final = re.compile(r"cron\((?P<fields>[^()]*)\)", re.IGNORECASE)
EXPRESSIONS: Final = "at(yyyy-mm-ddThh:mm:ss) or cron(Seconds Minutes Hours Day-of-month Month Day-of-week)"


class Schedule(Protocol):
    """When something fires, in UTC seconds. The same question always has the same answer."""

    def last_firing(self, after: float, until: float) -> float | None:
        """The latest firing in (after, until], None if there is none. Quick even if `after` is years ago."""

    def firings(self, after: float, until: float) -> Iterator[float]:
        """Every firing in (after, until], in order. Several that a clock change puts at one moment are one."""


@lru_cache(CACHE_SIZE)
def parse_expression(text: str, time_zone: str | None = None) -> Schedule:
    """`at(…)` or `cron(…)`, in UTC or in an IANA time zone.

    Raises:
        ValueError: names the field that is wrong and what is allowed there.
    """
    text = text.strip()
    if match := _AT.fullmatch(text):
        return Once(parse_time(match["time"].strip(), time_zone, offset_required=False))
    if match := _CRON.fullmatch(text):
        return Cron(match["fields"], time_zone)
    raise ValueError(f"must be {EXPRESSIONS}")


@dataclass(frozen=True, slots=True)
class Once:
    """Fires at one moment."""

    at_s: float

    def last_firing(self, after: float, until: float) -> float | None:
        return self.at_s if after < self.at_s <= until else None

    def firings(self, after: float, until: float) -> Iterator[float]:
        if after < self.at_s <= until:
            yield self.at_s


class Cron:
    """Fires by the calendar. The last answer is kept, as an autoscaler asks each second and firings are rare."""

    def __init__(self, fields: str, time_zone: str | None) -> None:
        self._calendar = parse_cron(fields)
        self._zone = parse_zone(time_zone)
        self._known: tuple[float, float] | None = None  # a firing, and the next one

    def last_firing(self, after: float, until: float) -> float | None:
        known = self._known
        if known is None or not known[0] <= until < known[1]:
            known = self._known = (self._latest(until), next(self.firings(until, math.inf)))
        return known[0] if after < known[0] else None

    def firings(self, after: float, until: float) -> Iterator[float]:
        # From the wall clock on: what it shows for the second time has fired at the first.
        local_s = self._wall_s(after)
        previous_s = after
        while True:
            local_s = self._calendar.first_from(local_s + 1)
            at_s = utc_of_local(local_s, self._zone)
            if at_s > until:
                return
            if at_s > previous_s:
                previous_s = at_s
                yield float(at_s)

    def _latest(self, until: float) -> float:
        """The latest firing up to `until`, by halving; -inf if there is none within the horizon."""
        wall_s = self._wall_s(until)
        back_s = _DAY_S
        while (low := self._first_past(wall_s - back_s, until)) is None:
            if back_s >= HORIZON_S:
                return -math.inf
            back_s *= 2
        # `low` has fired. Nothing from `high` on has: no clock is set back by more than a day.
        high = wall_s + _DAY_S + 1
        while high - low > 1:
            middle = (low + high) // 2
            found = self._first_past(middle, until)
            low, high = (low, middle) if found is None else (found, high)
        return float(utc_of_local(low, self._zone))

    def _first_past(self, from_local_s: int, until: float) -> int | None:
        """The first firing from a local time on, if it has come by `until`."""
        local_s = self._calendar.first_from(from_local_s)
        return local_s if utc_of_local(local_s, self._zone) <= until else None

    def _wall_s(self, at: float) -> int:
        """What a clock in the time zone shows at a moment."""
        return math.floor(at) + offset_at(math.floor(at), self._zone)
