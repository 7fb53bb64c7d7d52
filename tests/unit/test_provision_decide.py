"""How many instances: stories told in time, with the default windows of 60 s and 3 s."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.config import ProvisionConfig, parse
from provision.decide import Memory, Seen, step
from tests.unit.provision_story import START, Story, config, surge, tracking
from tests.unit.test_provision_config import SAMPLE


def at(now: float = START, current: int = 0, **others: float) -> Seen:
    return replace(Seen(now=now, current=current), **others)  # type: ignore[arg-type]


def fixed(name: str, target: int, expression: str, **others: str) -> dict[str, object]:
    return {"name": name, "target": target, "scheduleExpression": expression, **others}


# -- the static target ------------------------------------------------------------------------------------------------


def test_a_policy_whose_time_is_over_leaves_the_static_target() -> None:
    memory, decision = step(parse(SAMPLE), Memory(), at(current=2))
    assert (decision.target, decision.static, decision.in_force) == (2, True, ())
    assert decision.reasons == ("static target 2", "none in force")
    assert step(parse(SAMPLE), memory, at(START + 60, current=2, demand=50.0, interval_s=60.0))[1].target == 2


def test_without_policies_the_static_target_is_all() -> None:
    _, decision = step(ProvisionConfig(target=5), Memory(), at())
    assert (decision.target, decision.static, decision.reasons) == (5, True, ("static target 5",))


def test_the_first_decision_starts_at_the_static_target_within_the_bounds() -> None:
    for static, target in ((0, 2), (5, 5), (50, 8)):
        _, decision = step(config(tracking(), target=static), Memory(), at())
        assert (decision.target, decision.static) == (target, False)


def test_a_lost_memory_does_not_drop_what_serves() -> None:
    _, decision = step(config(tracking(), target=2), Memory(), at(current=5, starting=1))
    assert decision.target == 6


# -- out and in -------------------------------------------------------------------------------------------------------


def test_a_surge_scales_out_within_the_panic_window_and_in_by_steps_after_the_stable_one() -> None:
    story = Story(config(tracking()), surge(6, 20, 30))
    assert story.until(20).target == 2
    assert story.until(23).target == 8
    assert story.decision is not None
    assert story.decision.reasons == ("stable=2 panic=12, 23 of 60 s seen", "bounded 12→8")
    assert story.until(88).target == 8
    assert story.until(200).target == 2
    assert story.changes == [(0, 2), (21, 4), (22, 8), (91, 6), (101, 3), (111, 2)]


def test_a_steady_demand_is_answered_with_what_it_needs() -> None:
    # 10 requests, 2 slots, target 0.7: 7.14, so 8.
    story = Story(config(tracking(metricTarget=0.7, maxCapacity=20)), lambda _: 10.0, slots=2)
    assert story.until(120).target == 8
    assert story.changes == [(0, 2), (1, 8)]


def test_a_bound_that_has_a_say_is_named() -> None:
    story = Story(config(tracking(minCapacity=3)), lambda t: 0.4 if t < 60 else 10.0)
    assert story.until(60).reasons == ("stable=1 panic=1", "bounded 1→3")
    assert story.until(70).reasons == ("stable=4 panic=20", "bounded 20→8")


def test_an_exact_fit_needs_no_instance_more() -> None:
    # 0.6 / 0.3 is 2.0000000000000004 in floating point.
    story = Story(config(tracking(metricTarget=0.3, minCapacity=1)), lambda _: 0.6)
    assert story.until(120).target == 2


def test_requests_that_wait_count_as_those_that_run() -> None:
    # 2 instances can show at most a utilization of 1: at a target of 0.5 that would be 4. There are 20 requests.
    story = Story(config(tracking(maxCapacity=100)), lambda _: 20.0, launch_s=30.0)
    assert story.until(3).target == 40


def test_it_starts_from_zero() -> None:
    story = Story(config(tracking(minCapacity=0)), surge(1, 10, 20))
    assert story.until(10).target == 0
    assert story.until(13).target == 2
    assert story.until(200).target == 0


def test_a_lull_shorter_than_the_stable_window_changes_nothing() -> None:
    story = Story(config(tracking()), lambda t: 0.0 if 20 <= t < 70 else 3.0)
    assert story.until(200).target == 6
    assert story.changes == [(0, 2), (1, 6)]


def test_scale_in_needs_most_of_the_stable_window() -> None:
    story = Story(config(tracking(), target=8))
    assert story.until(47).target == 8
    assert story.decision is not None
    assert story.decision.reasons == ("stable=0 panic=0, 47 of 60 s seen",)
    assert story.until(48).target == 4


def test_scale_in_waits_out_its_delay_and_says_how_long() -> None:
    story = Story(config(tracking(scaleInDelaySeconds=40), target=8))
    assert story.until(47).target == 8
    assert story.until(48).reasons == ("stable=0 panic=0", "scale-in held for 40 s")
    assert story.until(87).reasons == ("stable=0 panic=0", "scale-in held for 1 s")
    assert story.until(88).target == 4
    assert story.until(92).reasons == ("stable=0 panic=0", "scale-in held for 6 s")
    assert story.until(98).target == 2


def test_a_rise_begins_the_delay_anew() -> None:
    # At 40 s 8 instances are needed once more, and the window remembers it until 100 s.
    story = Story(config(tracking(scaleInDelaySeconds=40), target=8), surge(4, 37, 41))
    assert story.until(140).target == 8
    assert story.until(141).target < 8


def test_a_step_down_is_half_of_the_way_and_at_least_one_instance() -> None:
    story = Story(config(tracking(minCapacity=0, maxCapacity=100), target=16), lambda _: 0.2)
    story.until(120)
    assert [target for _, target in story.changes] == [16, 9, 5, 3, 2, 1]
    assert [
        later - earlier for (earlier, _), (later, _) in zip(story.changes[1:], story.changes[2:], strict=False)
    ] == [10.0] * 4


# -- pace -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tick_s", [0.25, 0.5, 1.0, 2.0])
def test_the_pace_of_the_loop_does_not_change_the_decisions(tick_s: float) -> None:
    story = Story(config(tracking()), surge(3, 20, 40), tick_s=tick_s)
    assert story.until(19).target == 2
    assert story.until(24).target == 6
    assert story.until(98).target == 6
    assert story.until(126).target == 2
    assert len(story.changes) >= 3


def test_urgent_ticks_of_20_ms_see_the_surge_grow() -> None:
    policy = config(tracking())
    story = Story(policy, surge(8, 10, 100))
    story.until(10)
    memory, targets = story.memory, []
    for number in range(1, 101):
        seen = at(START + 10 + number * 0.02, current=2, demand=8.0, interval_s=0.02)
        memory, decision = step(policy, memory, seen)
        targets.append(decision.target)
    assert targets == sorted(targets)
    assert targets[4] == 2  # 0.1 s of 8 requests are no surge yet
    assert targets[-1] == 8


# -- too little seen --------------------------------------------------------------------------------------------------


def test_without_any_report_the_target_is_kept_and_says_so() -> None:
    policy = config(tracking())
    story = Story(policy, lambda _: 3.0)
    story.until(30)
    memory = story.memory
    for second in range(31, 300):
        memory, decision = step(policy, memory, at(START + second, current=6))
        assert decision.target == 6
    assert decision.reasons == ("no usage seen in 60 s",)


def test_a_few_lost_reports_do_not_hold_scale_in() -> None:
    policy = config(tracking(), target=8)
    memory = Memory()
    for second in range(60):
        interval_s = 0.0 if second in (20, 21, 22) else 1.0
        memory, decision = step(policy, memory, at(START + second, current=8, interval_s=interval_s))
    assert decision.target < 8


def test_a_report_that_comes_late_fills_the_seconds_it_is_about() -> None:
    policy = config(tracking(), target=8)
    memory = Memory()
    for second in range(5, 61, 5):
        memory, decision = step(policy, memory, at(START + second, current=8, interval_s=5.0))
    assert decision.target < 8


# -- clocks -----------------------------------------------------------------------------------------------------------


def test_a_clock_that_steps_back_is_held_at_the_last_time_seen() -> None:
    story = Story(config(tracking()), lambda _: 3.0)
    story.until(30)
    memory, decision = step(story.config, story.memory, at(START - 500, current=6, demand=3.0, interval_s=1.0))
    assert memory.now == START + 30
    assert decision.target == 6


def test_a_clock_that_was_wrong_by_hours_is_believed_again() -> None:
    story = Story(config(tracking(), target=8))
    story.until(30)
    corrected = START - 10 * 3600
    memory, decision = step(story.config, story.memory, at(corrected, current=8, interval_s=1.0))
    assert (memory.now, decision.target) == (corrected, 8)
    for second in range(1, 60):
        memory, decision = step(story.config, memory, at(corrected + second, current=8, interval_s=1.0))
    assert decision.target < 8


def test_a_clock_that_leaps_ahead_keeps_the_target() -> None:
    story = Story(config(tracking()), lambda _: 3.0)
    story.until(70)
    _, decision = step(story.config, story.memory, at(START + 1e6, current=6, demand=0.0, interval_s=1.0))
    assert decision.target == 6


# -- several that have a say ------------------------------------------------------------------------------------------


def test_the_largest_of_those_in_force_wins_and_names_them() -> None:
    both = config(tracking(name="a", minCapacity=1), tracking(name="b", minCapacity=4), target=1)
    _, decision = step(both, Memory(), at())
    assert (decision.target, decision.in_force) == (4, ("a", "b"))
    assert [(say.name, say.wanted) for say in decision.says] == [("a", 1), ("b", 4)]
    assert decision.reasons[0] == "largest of a=1, b=4"
    assert decision.says[1].reason == "no usage seen in 60 s"


def test_a_policy_counts_from_its_start_until_its_end() -> None:
    policy = tracking(startTime="2025-06-15T15:07:00Z", endTime="2025-06-15T15:08:00Z", minCapacity=4)
    story = Story(config(policy, target=1))
    story.until(200)
    assert story.changes == [(0, 1), (20, 4), (80, 1)]


def test_a_policy_that_comes_into_force_starts_from_what_is_there() -> None:
    story = Story(
        config(
            tracking(startTime="2025-06-15T15:08:00Z"),
            target=1,
            scheduledActions=[fixed("a", 7, "at(2025-06-15T15:07:00)", endTime="2025-06-15T15:08:00Z")],
        )
    )
    story.until(80)
    assert story.changes == [(0, 1), (20, 7), (80, 4)]  # idle for longer than the window: the first step at once


def test_a_scheduled_action_holds_until_another_fires() -> None:
    evening = config(
        scheduledActions=[fixed("more", 50, "cron(0 0 20 * * *)"), fixed("less", 10, "cron(0 0 22 * * *)")]
    )
    day = START - START % 86_400
    targets = {hour: step(evening, Memory(), at(day + hour * 3600))[1] for hour in (1, 19.99, 20, 21.99, 22, 44, 46)}
    assert {hour: decision.target for hour, decision in targets.items()} == {
        1: 10, 19.99: 10, 20: 50, 21.99: 50, 22: 10, 44: 50, 46: 10,
    }  # fmt: skip
    assert targets[20].in_force == ("more",)
    assert targets[20].reasons == ("fired at 2025-06-15T20:00:00Z",)
    assert not targets[20].static


def test_a_scheduled_action_ends_at_its_end_and_does_not_fire_before_its_start() -> None:
    action = fixed("a", 9, "cron(0 0 * * * *)", startTime="2025-06-15T16:30:00Z", endTime="2025-06-15T18:00:00Z")
    story = Story(config(scheduledActions=[action], target=1), tick_s=60.0)
    story.until(5 * 3600)
    assert story.changes == [(0, 1), (6840, 9), (10440, 1)]  # the first ticks from 17:00 and from 18:00 on


def test_an_action_at_its_start_fires_and_at_its_end_does_not() -> None:
    action = fixed("a", 9, "cron(0 0 * * * *)", startTime="2025-06-15T17:00:00Z", endTime="2025-06-15T18:00:00Z")
    policy = config(scheduledActions=[action], target=1)
    start = START - START % 3600 + 2 * 3600
    assert [step(policy, Memory(), at(start + after))[1].target for after in (-1, 0, 3599, 3600)] == [1, 9, 9, 1]


def test_an_action_that_was_followed_by_another_does_not_come_back_when_that_ends() -> None:
    actions = [
        fixed("first", 9, "at(2025-06-15T16:00:00)"),
        fixed("then", 5, "at(2025-06-15T17:00:00)", endTime="2025-06-15T18:00:00Z"),
    ]
    policy = config(scheduledActions=actions, target=1)
    hour = START - START % 3600
    assert [step(policy, Memory(), at(hour + n * 3600))[1].target for n in range(5)] == [1, 9, 5, 1, 1]


def test_of_actions_that_fire_together_the_largest_counts() -> None:
    actions = [fixed(name, n, "at(2025-06-15T15:00:00)") for name, n in (("a", 3), ("b", 6), ("c", 4))]
    assert step(config(scheduledActions=actions), Memory(), at())[1].target == 6


def test_tracking_and_schedule_are_compared_too() -> None:
    actions = [fixed("a", 5, "at(2025-06-15T15:00:00)")]
    story = Story(config(tracking(), scheduledActions=actions), surge(4, 10, 20))
    assert story.until(5).target == 5
    assert story.until(14).target == 8
    assert story.until(200).target == 5
    assert story.decision is not None
    assert story.decision.in_force == ("p", "a")


# -- what the devices can hold ----------------------------------------------------------------------------------------


def test_what_the_devices_can_hold_is_the_last_word() -> None:
    story = Story(config(tracking(maxCapacity=30)), lambda _: 10.0, capacity_limit=5)
    decision = story.until(3)
    assert (decision.target, decision.says[0].wanted) == (5, 20)
    assert decision.reasons[-1] == "room for 5 of 20"
    story.capacity_limit = None
    assert story.until(4).target == 20


def test_scale_in_begins_from_what_there_was_room_for() -> None:
    story = Story(config(tracking(maxCapacity=64)), surge(32, 0, 10), capacity_limit=6)
    assert story.until(60).target == 6
    story.until(90)
    assert [target for _, target in story.changes] == [2, 6, 3, 2]


# -- a changed config -------------------------------------------------------------------------------------------------


def test_new_bounds_hold_at_once() -> None:
    story = Story(config(tracking()), lambda _: 4.0)
    assert story.until(30).target == 8
    story.config = config(tracking(maxCapacity=5))
    assert story.until(31).target == 5
    story.config = config(tracking(minCapacity=10, maxCapacity=20))
    assert story.until(32).target == 10


def test_a_replaced_policy_starts_from_the_larger_of_the_static_target_and_what_was() -> None:
    story = Story(config(tracking()), lambda _: 3.0)
    assert story.until(30).target == 6
    memory = story.memory
    assert step(config(tracking(name="q"), target=1), memory, at(START + 31, current=6))[1].target == 6
    assert step(config(tracking(name="q"), target=8), memory, at(START + 31, current=6))[1].target == 8


# -- what is reported -------------------------------------------------------------------------------------------------


def test_utilization_is_requests_on_provisioned_instances_over_their_slots() -> None:
    story = Story(config(tracking(minCapacity=4, maxCapacity=4)), lambda _: 2.0, slots=2)
    assert story.until(120).utilization == pytest.approx(0.25)


def test_utilization_is_at_most_one_and_unknown_without_slots() -> None:
    story = Story(config(tracking(minCapacity=1, maxCapacity=1)), lambda _: 9.0)
    assert story.until(120).utilization == pytest.approx(1.0)
    assert Story(ProvisionConfig()).until(10).utilization is None
