"""Function Compute's six cron fields, checked and handed to APScheduler's CronTrigger.

The trigger is used as arithmetic alone, and on a calendar without clock changes: it is told that the local time is UTC.
Weekdays are 1-7 = MON-SUN in FC and 0-6 in APScheduler, so numbers are translated and names never reach it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from apscheduler.triggers.cron import CronTrigger

# Every day of the year falls on every weekday within 40 years (28 but for a leap day left out, as in 2100). What does
# not fire in so long never does.
HORIZON_S: Final = 41 * 366 * 86_400
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_ITEM: Final = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Field:
    """One of the six: its range and the special characters that FC's reference allows in it."""

    name: str
    ours: str  # as CronTrigger calls it
    low: int
    high: int
    special: str = ""
    names: tuple[str, ...] = ()  # of low, low + 1, …
    shift: int = 0  # added to a number for CronTrigger

    def __str__(self) -> str:
        numbers = f"{self.low}-{self.high}" + (f" or {self.names[0]}-{self.names[-1]}" if self.names else "")
        return f"{numbers}, with {' '.join(self.special)}" if self.special else f"one number, {numbers}"


FIELDS: Final = (
    Field("Seconds", "second", 0, 59),
    Field("Minutes", "minute", 0, 59, ",-*/"),
    Field("Hours", "hour", 0, 23, ",-*/"),
    Field("Day-of-month", "day", 1, 31, ",-*?/"),
    Field("Month", "month", 1, 12, ",-*/", _MONTHS),
    Field("Day-of-week", "day_of_week", 1, 7, ",-*?", _WEEKDAYS, shift=-1),
)


class Calendar:
    """The moments of a cron expression, counted in seconds as if the local calendar were UTC's."""

    def __init__(self, trigger: CronTrigger) -> None:
        self._trigger = trigger

    def first_from(self, local_s: int) -> int:
        """The first moment that is not before `local_s`. There always is one."""
        found = self._trigger.get_next_fire_time(None, datetime.fromtimestamp(local_s, UTC))
        assert isinstance(found, datetime)
        return int(found.timestamp())


def parse_cron(text: str) -> Calendar:
    """Six fields, separated by blanks. A day must fit Day-of-month, Month *and* Day-of-week.

    Raises:
        ValueError: names the field, its value and what is allowed; or the date never comes (30 February).
    """
    given = text.split()
    if len(given) != len(FIELDS):
        names = " ".join(field.name for field in FIELDS)
        raise ValueError(f"cron has {len(given)} fields: must have the {len(FIELDS)} fields {names}")
    fields = {field.ours: _translated(field, value) for field, value in zip(FIELDS, given, strict=True)}
    end = datetime.fromtimestamp(_EPOCH.timestamp() + HORIZON_S, UTC)
    if CronTrigger(**fields, timezone=UTC, end_date=end).get_next_fire_time(None, _EPOCH) is None:
        raise ValueError(f"Day-of-month {given[3]} never comes in Month {given[4]}: must be a date that exists")
    return Calendar(CronTrigger(**fields, timezone=UTC))


def _translated(field: Field, value: str) -> str:
    """The field in CronTrigger's words. Raises ValueError."""
    for sign in ",-*?/":
        if sign in value and sign not in field.special:
            raise _refused(field, value)
    if value == "?":
        return "*"
    return ",".join(_item(field, value, item) for item in value.split(","))


def _item(field: Field, value: str, item: str) -> str:
    match = _ITEM.fullmatch(item)
    if match is None or (match["first"] == "*" and match["last"]):
        raise _refused(field, value)
    first = field.low if match["first"] == "*" else _number(field, value, match["first"])
    last = None if match["last"] is None else _number(field, value, match["last"])
    if last is not None and first > last:
        raise ValueError(f"{field.name} is {value}: a range must not run backwards; write it as two, with a comma")
    step = match["step"]
    if step is not None and not 1 <= int(step) <= field.high:
        raise ValueError(f"{field.name} is {value}: a step must be from 1 to {field.high}")
    if step is not None and int(step) > (field.high if last is None else last) - first:
        return str(first + field.shift)  # the step leads out of the range, which CronTrigger refuses
    shown = "*" if match["first"] == "*" else str(first + field.shift)
    return shown + (f"-{last + field.shift}" if last is not None else "") + (f"/{int(step)}" if step else "")


def _number(field: Field, value: str, text: str) -> int:
    if text.upper() in field.names:
        return field.low + field.names.index(text.upper())
    if not text.isdigit() or not field.low <= int(text) <= field.high:
        raise _refused(field, value)
    return int(text)


def _refused(field: Field, value: str) -> ValueError:
    return ValueError(f"{field.name} is {value}: must be {field}")
