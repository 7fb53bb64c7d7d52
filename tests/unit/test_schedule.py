"""When scheduled actions fire."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from itertools import islice
from math import inf

import pytest

from provision.schedule import parse_expression
from provision.times import parse_time

DAY_S = 86_400


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def shown(at: float | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}"


def firings(expression: str, zone: str | None, after: str, until: str) -> list[str | None]:
    schedule = parse_expression(expression, zone)
    return [shown(at) for at in schedule.firings(utc(after), utc(until))]


# 2026-06-01 was a Monday.
@pytest.mark.parametrize(
    ("number", "name", "day"),
    [
        (1, "MON", "2026-06-01"),
        (2, "TUE", "2026-06-02"),
        (3, "WED", "2026-06-03"),
        (4, "THU", "2026-06-04"),
        (5, "FRI", "2026-06-05"),
        (6, "SAT", "2026-06-06"),
        (7, "SUN", "2026-06-07"),
    ],
)
def test_each_weekday_fires_on_its_day_by_number_and_by_name(number: int, name: str, day: str) -> None:
    for weekday in (str(number), name, name.lower()):
        for day_of_month in ("?", "*"):
            fired = firings(
                f"cron(0 30 8 {day_of_month} * {weekday})", None, "2026-05-31T12:00:00", "2026-06-07T12:00:00"
            )
            assert fired == [f"{day}T08:30:00"], weekday


@pytest.mark.parametrize(
    ("weekdays", "days"),
    [
        ("MON-FRI", [1, 2, 3, 4, 5]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("6-7", [6, 7]),
        ("SAT,SUN", [6, 7]),
        ("7,1", [1, 7]),
        ("MON,3,FRI-7", [1, 3, 5, 6, 7]),
        ("1-SUN", [1, 2, 3, 4, 5, 6, 7]),
        ("5-5", [5]),
        ("*", [1, 2, 3, 4, 5, 6, 7]),
        ("?", [1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_weekdays_in_lists_and_ranges(weekdays: str, days: list[int]) -> None:
    fired = firings(f"cron(0 0 9 ? * {weekdays})", None, "2026-06-01T00:00:00", "2026-06-07T23:00:00")
    assert fired == [f"2026-06-{day:02}T09:00:00" for day in days]


@pytest.mark.parametrize(
    ("expression", "fired"),
    [
        ("cron(0 0 20 * * *)", ["2026-06-01T20:00:00", "2026-06-02T20:00:00"]),
        ("cron(30 */20 10 1 6 ?)", ["2026-06-01T10:00:30", "2026-06-01T10:20:30", "2026-06-01T10:40:30"]),
        ("cron(0 50/5 10 1 * *)", ["2026-06-01T10:50:00", "2026-06-01T10:55:00"]),
        ("cron(0 0 8-12/2 1 JUN *)", ["2026-06-01T08:00:00", "2026-06-01T10:00:00", "2026-06-01T12:00:00"]),
        ("cron(0 0 0,12 2 jan,JUN-JUL *)", ["2026-06-02T00:00:00", "2026-06-02T12:00:00"]),
        ("cron(0 0 7 */2 * *)", ["2026-06-01T07:00:00"]),
        ("cron(0 0 7 1 4-6/2 ?)", ["2026-06-01T07:00:00"]),
        # A step that leads out of its range leaves the first number alone.
        ("cron(0 50/20 10 1 * *)", ["2026-06-01T10:50:00"]),
        ("cron(0 0-10/20 10 1 * *)", ["2026-06-01T10:00:00"]),
        ("cron(0 0 5-5/3 1 * *)", ["2026-06-01T05:00:00"]),
        ("cron(0 0 7 1/31 6/12 *)", ["2026-06-01T07:00:00"]),
        ("cron(0 0 7 */31 6 *)", ["2026-06-01T07:00:00"]),
        ("at(2026-06-02T01:02:03)", ["2026-06-02T01:02:03"]),
        ("at(2026-06-02T01:02:03Z)", ["2026-06-02T01:02:03"]),
        ("at(2026-06-02T01:02:03.000Z)", ["2026-06-02T01:02:03"]),
        ("at(2027-06-02T01:02:03)", []),
    ],
)
def test_expressions_fire_as_their_fields_say(expression: str, fired: list[str]) -> None:
    assert firings(expression, None, "2026-06-01T00:00:00", "2026-06-02T23:00:00") == fired


def test_a_day_must_fit_both_day_of_month_and_day_of_week() -> None:
    fridays = firings("cron(0 0 0 13 * FRI)", None, "2026-01-01T00:00:00", "2027-01-01T00:00:00")
    assert fridays == ["2026-02-13T00:00:00", "2026-03-13T00:00:00", "2026-11-13T00:00:00"]


def test_times_are_local_to_the_time_zone() -> None:
    assert firings("cron(0 0 8 * * *)", "Asia/Shanghai", "2026-06-01T00:00:00", "2026-06-02T00:00:00") == [
        "2026-06-02T00:00:00"
    ]
    at = parse_expression("at(2026-06-01T08:00:00)", "Asia/Shanghai")
    assert shown(at.last_firing(-inf, inf)) == "2026-06-01T00:00:00"


def test_the_weekday_is_the_local_one() -> None:
    # Monday 04:00 in Shanghai is still Sunday in UTC.
    assert firings("cron(0 0 4 ? * 1)", "Asia/Shanghai", "2026-05-31T00:00:00", "2026-06-06T00:00:00") == [
        "2026-05-31T20:00:00"
    ]


# -- clocks that change: Berlin on 2026-03-29 from 02:00 to 03:00 (01:00 UTC), and back on 2026-10-25 -----------


def test_a_time_that_the_clock_jumps_over_fires_at_the_jump() -> None:
    fired = firings("cron(0 30 2 * * *)", "Europe/Berlin", "2026-03-28T00:00:00", "2026-03-31T00:00:00")
    assert fired == ["2026-03-28T01:30:00", "2026-03-29T01:00:00", "2026-03-30T00:30:00"]
    at = parse_expression("at(2026-03-29T02:30:00)", "Europe/Berlin")
    assert shown(at.last_firing(-inf, inf)) == "2026-03-29T01:00:00"


def test_many_times_that_the_clock_jumps_over_fire_once() -> None:
    fired = firings("cron(0 */20 * * * *)", "Europe/Berlin", "2026-03-29T00:30:00", "2026-03-29T01:25:00")
    assert fired == ["2026-03-29T00:40:00", "2026-03-29T01:00:00", "2026-03-29T01:20:00"]


def test_a_time_that_the_clock_shows_twice_fires_the_first_time() -> None:
    fired = firings("cron(0 30 2 * * *)", "Europe/Berlin", "2026-10-24T12:00:00", "2026-10-26T12:00:00")
    assert fired == ["2026-10-25T00:30:00", "2026-10-26T01:30:00"]
    at = parse_expression("at(2026-10-25T02:30:00)", "Europe/Berlin")
    assert shown(at.last_firing(-inf, inf)) == "2026-10-25T00:30:00"


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-03-29T00:59:59", "2026-03-28T01:30:00"),
        ("2026-03-29T01:00:00", "2026-03-29T01:00:00"),
        ("2026-03-29T12:00:00", "2026-03-29T01:00:00"),
        ("2026-10-25T00:29:59", "2026-10-24T00:30:00"),
        ("2026-10-25T00:30:00", "2026-10-25T00:30:00"),
        ("2026-10-25T01:29:00", "2026-10-25T00:30:00"),
        ("2026-10-25T01:31:00", "2026-10-25T00:30:00"),
        ("2026-10-26T01:30:00", "2026-10-26T01:30:00"),
    ],
)
def test_the_last_firing_around_a_clock_change(now: str, last: str) -> None:
    schedule = parse_expression("cron(0 30 2 * * *)", "Europe/Berlin")
    assert shown(schedule.last_firing(-inf, utc(now))) == last


# -- the last firing --------------------------------------------------------------------------------------------------


def test_the_last_firing_lies_after_after_and_not_after_until() -> None:
    schedule = parse_expression("cron(0 0 20 * * *)")
    at = utc("2026-06-01T20:00:00")
    assert schedule.last_firing(at - 1, at) == at
    assert schedule.last_firing(at - 1, at - 0.001) is None
    assert schedule.last_firing(at, at + 10) is None
    assert schedule.last_firing(at - 0.001, at + 10) == at
    assert schedule.last_firing(at, at + DAY_S) == at + DAY_S
    assert schedule.last_firing(at + 1, at - 1) is None


def test_a_rare_firing_is_found_years_back() -> None:
    schedule = parse_expression("cron(0 0 0 29 2 MON)")
    assert shown(schedule.last_firing(-inf, utc("2026-06-01T00:00:00"))) == "2016-02-29T00:00:00"
    assert schedule.last_firing(utc("2016-02-29T00:00:00"), utc("2026-06-01T00:00:00")) is None


def test_asking_once_a_second_for_an_hour_is_quick() -> None:
    schedule = parse_expression("cron(0 */5 * * * *)", "Europe/Berlin")
    start = utc("2026-06-01T00:00:00")
    began = time.process_time()
    assert all(schedule.last_firing(0.0, start + second) == start + second // 300 * 300 for second in range(3600))
    assert time.process_time() - began < 1.0


def test_firings_go_on_for_ever() -> None:
    found = list(islice(parse_expression("cron(0 0 0 1 1 *)").firings(utc("2026-06-01T00:00:00"), inf), 3))
    assert [shown(at) for at in found] == ["2027-01-01T00:00:00", "2028-01-01T00:00:00", "2029-01-01T00:00:00"]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "must be at("),
        ("every day", "must be at("),
        ("cron 0 0 0 * * *", "must be at("),
        ("cron(0 0 0 * *)", "cron has 5 fields: must have the 6 fields Seconds Minutes"),
        ("cron(0 0 0 * * * 2026)", "cron has 7 fields"),
        ("cron(* 0 0 * * *)", "Seconds is *: must be one number, 0-59"),
        ("cron(0,30 0 0 * * *)", "Seconds is 0,30: must be one number"),
        ("cron(60 0 0 * * *)", "Seconds is 60"),
        ("cron(0 60 0 * * *)", "Minutes is 60: must be 0-59"),
        ("cron(0 ? 0 * * *)", "Minutes is ?"),
        ("cron(0 5, 0 * * *)", "Minutes is 5,"),
        ("cron(0 */0 0 * * *)", "Minutes is */0: a step must be from 1 to 59"),
        ("cron(0 30-10 0 * * *)", "Minutes is 30-10: a range must not run backwards"),
        ("cron(0 *-5 0 * * *)", "Minutes is *-5"),
        ("cron(0 -1 0 * * *)", "Minutes is -1"),
        ("cron(0 0 24 * * *)", "Hours is 24: must be 0-23"),
        ("cron(0 0 0 0 * *)", "Day-of-month is 0: must be 1-31"),
        ("cron(0 0 0 L * *)", "Day-of-month is L"),
        ("cron(0 0 0 last * *)", "Day-of-month is last"),
        ("cron(0 0 0 1 13 *)", "Month is 13: must be 1-12 or JAN-DEC"),
        ("cron(0 0 0 1 JANUARY *)", "Month is JANUARY"),
        ("cron(0 0 0 ? * 0)", "Day-of-week is 0: must be 1-7 or MON-SUN, with , - "),
        ("cron(0 0 0 ? * 8)", "Day-of-week is 8"),
        ("cron(0 0 0 ? * FRI-MON)", "Day-of-week is FRI-MON: a range must not run backwards"),
        ("cron(0 0 0 ? * */2)", "Day-of-week is"),
        ("cron(0 0 0 ? * JAN)", "Day-of-week is JAN"),
        ("cron(0 0 0 30 2 *)", "Day-of-month 30 never comes in Month 2"),
        ("cron(0 0 ٣ * * *)", "Hours is ٣"),
        ("at()", "must be a time like 2026-01-31T16:00:00Z"),
        ("at(2026-02-30T00:00:00)", "must be a time that exists"),
        ("at(2026-01-01T25:00:00)", "must be a time that exists"),
        ("at(2026-01-01)", "must be a time like"),
        ("at(2026-01-01T00:00:00+25:00)", "must have an offset from"),
    ],
)
def test_a_wrong_expression_is_refused_with_the_field_and_what_is_allowed(expression: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_expression(expression)


@pytest.mark.parametrize("zone", ["Mars", "Asia/", "", "../etc/passwd", "/etc/localtime", "Asia", "asia shanghai"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="must be an IANA time zone"):
        parse_expression("cron(0 0 0 * * *)", zone)


# -- the ends of the calendar ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", [None, "Asia/Shanghai", "America/New_York"])
def test_what_is_planned_for_the_calendars_last_day_has_not_fired(zone: str | None) -> None:
    never = parse_expression("at(9999-12-31T23:59:59)", zone)
    assert never.last_firing(-inf, utc("2100-01-01T00:00:00")) is None
    assert next(never.firings(0.0, inf)) <= utc("9999-12-31T23:59:59")


@pytest.mark.parametrize("zone", [None, "Asia/Shanghai", "America/New_York"])
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00", "0001-01-01T00:00:00+12:00", "9999-12-31T23:59:59.9-12:00"])
def test_every_time_that_can_be_written_lies_in_the_calendar(text: str, zone: str | None) -> None:
    fired = parse_expression(f"at({text})", zone).last_firing(-inf, inf)
    assert fired is not None
    assert shown(fired) in ("1970-01-01T00:00:00", "9999-12-31T23:59:59")


def test_a_cron_expression_whose_end_lies_before_all_that_is_known_has_not_fired() -> None:
    end_s = parse_time("0001-01-01T00:00:00Z", None)
    assert parse_expression("cron(0 0 20 * * *)").last_firing(end_s - 1.0, end_s) is None
