"""Several qualifiers of one version: what is asked for as a number adds up, and what is seen counts once."""

from __future__ import annotations

from provision.config import ProvisionConfig
from provision.decide import Decision, Memory, Seen, step
from provision.together import together
from tests.unit.provision_story import START, Story, config, tracking


def at(story: Story, second: float) -> Decision:
    return story.until(second)


def test_two_trackings_of_one_demand_are_not_added() -> None:
    one, other = (Story(config(tracking(name=name, maxCapacity=30)), lambda _: 4.0) for name in "ab")
    made = at(one, 60), at(other, 60)
    assert [decision.target for decision in made] == [8, 8]
    assert together(made) == 8


def test_numbers_that_were_asked_for_are_added() -> None:
    fixed = [step(ProvisionConfig(target=count), Memory(), Seen(START, 0))[1] for count in (3, 4)]
    assert together(fixed) == 7


def test_each_keeps_its_minimum_beside_the_others() -> None:
    idle = Story(config(tracking(minCapacity=2)))
    fixed = step(ProvisionConfig(target=3), Memory(), Seen(START, 0))[1]
    assert together([at(idle, 200), fixed]) == 5


def test_a_demand_above_all_floors_is_what_counts() -> None:
    busy = Story(config(tracking(minCapacity=2)), lambda _: 4.0)
    fixed = step(ProvisionConfig(target=3), Memory(), Seen(START, 0))[1]
    assert together([at(busy, 60), fixed]) == 8


def test_one_alone_is_its_own_target() -> None:
    story = Story(config(tracking()), lambda _: 3.0, capacity_limit=5)
    assert together([at(story, 60)]) == 5
    assert together([]) == 0


def test_a_floor_is_no_more_than_there_is_room_for() -> None:
    seen = Seen(START, 0, capacity_limit=2)
    decision = step(config(tracking(minCapacity=6)), Memory(), seen)[1]
    assert (decision.target, decision.floor) == (2, 2)


def test_a_scheduled_target_is_a_floor() -> None:
    action = {"name": "a", "target": 6, "scheduleExpression": "at(2025-06-15T15:00:00)"}
    decision = step(config(tracking(), scheduledActions=[action]), Memory(), Seen(START, 0))[1]
    assert decision.floor == 6
