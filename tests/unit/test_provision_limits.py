"""How far a policy goes at once: the threshold of a surge, and limits of growth and of steps down."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.unit.provision_story import Story, config, surge, tracking


def test_a_surge_below_the_threshold_waits_for_the_stable_window() -> None:
    # From 2 at once (4 instances) to 3 (6): 1.5 times as many, and 2 are asked for.
    usual = Story(config(tracking()), surge(3, 120, 900, before=2))
    patient = Story(config(tracking(panicThreshold=2)), surge(3, 120, 900, before=2))
    assert (usual.until(123).target, patient.until(123).target) == (6, 5)
    assert patient.until(140).target == 5
    assert patient.until(190).target == 6


def test_a_surge_at_the_threshold_is_answered_as_ever() -> None:
    story = Story(config(tracking(panicThreshold=2)), surge(4, 120, 900, before=1.5))
    assert story.until(123).target == 8


def test_from_zero_any_request_is_a_surge() -> None:
    story = Story(config(tracking(minCapacity=0, panicThreshold=10)), surge(1, 60, 900))
    assert story.until(63).target == 2


@pytest.mark.parametrize("tick_s", [0.25, 1.0, 2.0])
def test_growth_by_requests_is_limited_on_request_whatever_the_pace(tick_s: float) -> None:
    policy = tracking(scaleOutLimit=3, minCapacity=1, maxCapacity=30)
    story = Story(config(policy), surge(10, 60, 900), tick_s=tick_s)
    assert story.until(64).target == 4
    assert story.until(69).target == 4
    assert story.until(76).target == 7
    assert story.until(200).target == 20


def test_a_limit_that_has_a_say_is_named() -> None:
    story = Story(config(tracking(scaleOutLimit=3, minCapacity=1)), surge(10, 60, 900))
    assert story.until(65).reasons[1:] == ("bounded 20→8", "scale-out 8→4, +3 in 10 s")


def test_a_step_down_takes_no_more_than_its_limit() -> None:
    story = Story(config(tracking(minCapacity=0, maxCapacity=20, scaleInLimit=2), target=9))
    story.until(300)
    assert [earlier - later for (_, earlier), (_, later) in pairwise(story.changes)] == [2, 2, 2, 1, 1, 1]


def test_new_bounds_are_not_held_up_by_the_limit_of_growth() -> None:
    story = Story(config(tracking(scaleOutLimit=1)))
    assert story.until(20).target == 2
    story.config = config(tracking(scaleOutLimit=1, minCapacity=7))
    assert story.until(21).target == 7
