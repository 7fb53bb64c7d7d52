"""Windows and actions on the calendar: clocks that change, spans that overlap, and what is over."""

from __future__ import annotations

from datetime import datetime

import pytest

from provision.config import ProvisionConfig
from provision.decide import Decision, Memory, Seen, step
from tests.unit.provision_story import config, tracking


def decided(policy: ProvisionConfig, moment: str) -> Decision:
    return step(policy, Memory(), Seen(datetime.fromisoformat(moment).timestamp(), 0))[1]


def berlin(name: str, target: int, expression: str, **others: str) -> dict[str, object]:
    return {"name": name, "target": target, "scheduleExpression": expression, "timeZone": "Europe/Berlin", **others}


@pytest.mark.parametrize(
    ("moment", "target"),
    [
        ("2026-03-29T00:59:59Z", 1),  # 01:59:59 in Berlin; then it is 03:00
        ("2026-03-29T01:00:00Z", 4),
        ("2026-03-30T00:29:59Z", 1),
        ("2026-03-30T00:30:00Z", 4),  # the day after, at 02:30 again
    ],
)
def test_an_action_at_a_time_that_is_jumped_over_acts_at_the_jump(moment: str, target: int) -> None:
    nightly = config(scheduledActions=[berlin("on", 4, "cron(0 30 2 * * *)"), berlin("off", 1, "cron(0 0 12 * * *)")])
    assert decided(nightly, moment).target == target


def test_an_action_at_a_time_that_comes_twice_is_not_taken_back_and_given_again() -> None:
    # 02:30 comes at 00:30Z and at 01:30Z; 02:45 too. After the first 02:45 the target stays 1.
    night = config(scheduledActions=[berlin("on", 4, "cron(0 30 2 * * *)"), berlin("off", 1, "cron(0 45 2 * * *)")])
    told = {f"00:{minute}": decided(night, f"2026-10-25T00:{minute}:00Z").target for minute in (29, 30, 45)}
    assert told == {"00:29": 1, "00:30": 4, "00:45": 1}
    assert decided(night, "2026-10-25T01:31:00Z").target == 1


def test_a_daily_action_keeps_its_local_hour_through_the_year() -> None:
    office = config(scheduledActions=[berlin("on", 4, "cron(0 0 9 * * *)"), berlin("off", 1, "cron(0 0 18 * * *)")])
    for moment, target in (
        ("2026-01-15T07:59:59Z", 1), ("2026-01-15T08:00:00Z", 4), ("2026-01-15T17:00:00Z", 1),
        ("2026-07-15T06:59:59Z", 1), ("2026-07-15T07:00:00Z", 4), ("2026-07-15T16:00:00Z", 1),
    ):  # fmt: skip
        assert decided(office, moment).target == target, moment


def test_a_window_across_a_change_of_clocks_begins_and_ends_by_the_local_clock() -> None:
    window = tracking(
        startTime="2026-03-29T01:00:00", endTime="2026-03-29T04:00:00", timeZone="Europe/Berlin", minCapacity=5
    )
    told = [decided(config(window), f"2026-03-29T{at}Z").target for at in ("00:00:00", "01:59:59", "02:00:00")]
    assert told == [5, 5, 0], "three hours on the clock, two in the world"


def test_windows_that_overlap_are_compared_while_they_do() -> None:
    both = config(
        tracking(name="day", minCapacity=2, startTime="2026-05-01T08:00:00Z", endTime="2026-05-01T20:00:00Z"),
        tracking(name="noon", minCapacity=6, startTime="2026-05-01T11:00:00Z", endTime="2026-05-01T21:00:00Z"),
        target=1,
    )
    told = {hour: decided(both, f"2026-05-01T{hour:02}:00:00Z") for hour in (7, 8, 11, 20, 21)}
    assert {hour: decision.in_force for hour, decision in told.items()} == {
        7: (), 8: ("day",), 11: ("day", "noon"), 20: ("noon",), 21: (),
    }  # fmt: skip
    assert [decision.target for decision in told.values()] == [1, 2, 6, 6, 1]


def test_of_overlapping_actions_the_one_that_fired_last_counts_even_if_it_is_smaller() -> None:
    actions = [
        berlin("long", 9, "at(2026-05-01T08:00:00)", endTime="2026-05-01T20:00:00"),
        berlin("short", 3, "at(2026-05-01T10:00:00)", endTime="2026-05-01T12:00:00"),
    ]
    told = [decided(config(scheduledActions=actions), f"2026-05-01T{hour:02}:00:00+02:00") for hour in (8, 10, 12)]
    assert [decision.target for decision in told] == [9, 3, 0], "what was followed by another does not come back"


def test_what_is_over_leaves_no_trace_in_the_memory() -> None:
    window = tracking(startTime="2026-05-01T08:00:00Z", endTime="2026-05-01T09:00:00Z", minCapacity=6)
    policy = config(window, target=1)
    within = datetime.fromisoformat("2026-05-01T08:30:00Z").timestamp()
    memory, decision = step(policy, Memory(), Seen(within, 0))
    assert (decision.target, set(memory.standings)) == (6, {"p"})
    memory, decision = step(policy, memory, Seen(within + 3600, 6))
    assert (decision.target, set(memory.standings)) == (1, set())


def test_an_action_and_a_policy_that_are_over_leave_the_static_target() -> None:
    over = config(
        tracking(endTime="2020-01-01T00:00:00Z"),
        target=2,
        scheduledActions=[berlin("a", 9, "cron(0 0 9 * * *)", endTime="2020-01-01T00:00:00")],
    )
    decision = decided(over, "2026-05-01T10:00:00Z")
    assert (decision.target, decision.static, decision.reasons[-1]) == (2, True, "none in force")
