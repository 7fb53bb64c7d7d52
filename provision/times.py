"""Times as users write them, and where a local time lies in UTC. Everything beyond this module is UTC seconds.

A local time that does not exist (the clock jumps forward over it) lies at the moment of the jump; one that exists twice
(the clock is set back) lies at its first occurrence. So a later local time never lies earlier in UTC.

All of it lies from 1970 to the end of 9999: what was before is long ago and what is after never comes, and every time
can be counted on from, and shown, without leaving the calendar.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

CACHE_SIZE: Final = 1024  # texts remembered by each of the parsers; a config has at most a few hundred

FIRST_S: Final = 0.0  # 1970-01-01T00:00:00Z
LAST_S: Final = 253_402_300_799.0  # 9999-12-31T23:59:59Z
_DAY_S: Final = 86_400
_FIRST_WALL_S: Final = int(datetime.min.replace(tzinfo=UTC).timestamp()) + _DAY_S
_LAST_WALL_S: Final = int(LAST_S) - _DAY_S

_TIME: Final = re.compile(
    r"(?P<wall>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?P<fraction>\.\d{1,9})?(?P<offset>Z|[+-]\d{2}:\d{2})?",
    re.ASCII | re.IGNORECASE,
)
_ZONE_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", re.ASCII)


@lru_cache(CACHE_SIZE)
def parse_zone(name: str | None) -> tzinfo:
    """An IANA name such as Asia/Shanghai; UTC for None. Raises ValueError for any other text."""
    if name is None or name == "UTC":
        return UTC
    if _ZONE_NAME.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (KeyError, OSError, ValueError):  # unknown, a folder, or no time zone file
            pass
    raise ValueError("must be an IANA time zone such as UTC, Asia/Shanghai or Europe/Berlin")


@lru_cache(CACHE_SIZE)
def parse_time(text: str, zone_name: str | None, *, offset_required: bool = True) -> float:
    """RFC 3339, as UTC seconds. Without an offset the time is local to the zone.

    Raises:
        ValueError: not such a time, no such day, or neither offset nor zone where `offset_required`; what is allowed.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a time like {_example(zone_name)}")
    try:
        wall = datetime.fromisoformat(match["wall"].upper())
    except ValueError as error:
        raise ValueError(f"must be a time that exists, like {_example(zone_name)}: {error}") from None
    seconds, fraction = int(wall.replace(tzinfo=UTC).timestamp()), float(match["fraction"] or 0)
    offset = match["offset"]
    if offset is None:
        if offset_required and zone_name is None:
            raise ValueError(f"must end in Z (UTC), like {_example(None)}, unless timeZone is given")
        return _in_calendar(utc_of_local(seconds, parse_zone(zone_name)) + fraction)
    return _in_calendar(seconds - _offset_s(offset) + fraction)


def _in_calendar(at_s: float) -> float:
    return min(max(at_s, FIRST_S), LAST_S)


def _example(zone_name: str | None) -> str:
    return "2026-01-31T16:00:00Z" if zone_name is None else "2026-01-31T16:00:00"


def _offset_s(offset: str) -> int:
    if offset in "Zz":
        return 0
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError("must have an offset from -23:59 to +23:59, or Z")
    return (1 if offset[0] == "+" else -1) * (hours * 3600 + minutes * 60)


def utc_of_local(local_s: int, zone: tzinfo) -> int:
    """Where a local time lies. `local_s` counts as if the local calendar were UTC's, so that it is a plain number."""
    if zone is UTC:
        return local_s
    wall = _calendar(local_s)
    first = _offset_at_wall(wall, zone, fold=0)
    at_s = local_s - first
    if offset_at(at_s, zone) == first:
        return at_s
    # In a gap the offset before the jump (fold 0) is the smaller one, so the jump lies between the two readings.
    before_s, after_s = local_s - _offset_at_wall(wall, zone, fold=1), at_s
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if offset_at(middle_s, zone) == first:
            before_s = middle_s
        else:
            after_s = middle_s
    return after_s


def offset_at(at_s: int, zone: tzinfo) -> int:
    """How far local time is ahead of UTC at a moment, in seconds."""
    return 0 if zone is UTC else _whole_seconds(_calendar(at_s).astimezone(zone).utcoffset())


def _offset_at_wall(wall: datetime, zone: tzinfo, *, fold: int) -> int:
    return _whole_seconds(wall.replace(tzinfo=zone, fold=fold).utcoffset())


def _whole_seconds(offset: timedelta | None) -> int:
    assert offset is not None
    return round(offset.total_seconds())


def _calendar(seconds: int) -> datetime:
    """A day off the calendar's end, so that it exists in every zone; offsets change at neither end."""
    return datetime.fromtimestamp(min(max(seconds, _FIRST_WALL_S), _LAST_WALL_S), UTC)
