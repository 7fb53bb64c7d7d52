from __future__ import annotations

from datetime import UTC, datetime

from loadtests.simulator.busy import actions, busy, hourly
from loadtests.simulator.trace import BEGAN_UTC_S, Trace
from provision.config import parse
from provision.decide import Memory, Seen, step

DAY = 86_400


def test_each_second_has_the_most_requests_at_once_in_it() -> None:
    trace = Trace("t", (0.5, 0.75, 3.0), 6.0, (1.0, 0.5, None))
    assert busy(trace, 2.0) == [2, 2, 0, 1, 1, 0]


def test_a_request_that_begins_when_another_ends_takes_its_place() -> None:
    assert busy(Trace("t", (0.0, 1.0), 3.0), 1.0) == [1, 1, 0]


def test_an_hour_gets_what_the_share_of_its_seconds_needs_over_all_days() -> None:
    quiet, loud = [1] * 3600, [8] * 3600
    days = ([2] * DAY) + quiet + loud + [2] * (DAY - 7200)
    assert hourly(days, BEGAN_UTC_S, "UTC", 0.5, 1)[:3] == [1, 2, 2]
    assert hourly(days, BEGAN_UTC_S, "UTC", 1.0, 1)[:3] == [2, 8, 2]
    assert hourly(days, BEGAN_UTC_S, "UTC", 1.0, 3)[:3] == [1, 3, 1]


def test_hours_are_those_of_the_time_zone_also_where_a_day_begins_at_half_past() -> None:
    seconds = [0] * DAY
    seconds[:3600] = [5] * 3600
    assert hourly(seconds, BEGAN_UTC_S, "Asia/Shanghai", 1.0, 1)[8] == 5
    halves = hourly(seconds, BEGAN_UTC_S, "Asia/Kolkata", 1.0, 1)
    assert (halves[5], halves[6], halves[7]) == (5, 5, 0)


def test_actions_keep_the_hours_and_rise_a_launch_before() -> None:
    levels = [1] * 8 + [6] * 10 + [1] * 6
    found = actions(levels, 9.0, "Europe/Berlin")
    assert [(one["target"], one["scheduleExpression"]) for one in found] == [
        (6, "cron(51 59 7 * * *)"),
        (1, "cron(0 0 18 * * *)"),
    ]
    config = parse({"scheduledActions": found})
    memory, targets = Memory(), dict[str, int]()
    for clock in ("06:59:50", "06:59:51", "16:59:59", "17:00:00"):  # UTC, an hour behind Berlin in winter
        now = datetime.fromisoformat(f"2026-01-07T{clock}").replace(tzinfo=UTC).timestamp()
        memory, decision = step(config, memory, Seen(now=now, current=0))
        targets[clock] = decision.target
    assert targets == {"06:59:50": 1, "06:59:51": 6, "16:59:59": 6, "17:00:00": 1}


def test_a_rise_at_midnight_fires_on_the_day_before() -> None:
    assert actions([3] + [0] * 23, 60.0, "UTC")[0]["scheduleExpression"] == "cron(0 59 23 * * *)"


def test_hours_that_are_all_alike_need_no_schedule() -> None:
    assert actions([4] * 24, 8.0, "UTC") == []
