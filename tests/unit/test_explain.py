"""Which decisions are kept to be looked up, and how people read them."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from control_plane.cli.explain import row, told
from control_plane.explain import EXPLAINED_MAX, History
from provision.config import ProvisionConfig
from provision.decide import Memory, MetricSample, Reading, Seen, step
from tests.unit.provision_story import START, config, tracking

CPU = (("a", 0.2), ("b", 0.4))


def noted(demands: list[float], policy: ProvisionConfig | None = None, history: History | None = None) -> History:
    """A decision a second, by what is in flight."""
    policy, history, memory = policy or config(tracking(maxCapacity=500)), history or History(), Memory()
    for second, demand in enumerate(demands):
        seen = Seen(
            START + second, 2, starting=1, demand=demand, demand_peak=round(demand), interval_s=1.0, arrived=demand * 4,
            waiting=3, samples=tuple(MetricSample("CPUUtilization", name, value, START) for name, value in CPU),
            capacity_limit=900,
        )  # fmt: skip
        memory, decision = step(policy, memory, seen)
        history.note(memory.now, "LATEST", seen, decision)
    return history


def test_nothing_is_told_before_the_first_decision() -> None:
    assert History().newest_first() == ()


def test_changes_are_kept_and_the_rest_is_not() -> None:
    told_of = noted([1.0] * 30 + [4.0] * 30).newest_first()
    assert [one.target for one in told_of] == [8, 8, 6, 4, 3]
    assert [one.was for one in told_of] == [8, 6, 4, 3, None]
    assert [one.at_s - START for one in told_of] == [59, 32, 31, 30, 0]


def test_the_newest_is_told_once_when_it_was_a_change() -> None:
    told_of = noted([1.0] * 10 + [4.0]).newest_first()
    assert [one.at_s - START for one in told_of] == [10, 0]


def test_a_policy_that_wants_something_else_is_a_change_though_the_target_is_the_same() -> None:
    both = config(tracking(name="a", minCapacity=9, maxCapacity=9), tracking(name="b", minCapacity=1, maxCapacity=20))
    told_of = noted([0.4] * 10 + [3.0] * 5, both).newest_first()
    assert {one.target for one in told_of} == {9}
    assert [[policy.wanted for policy in one.policies] for one in told_of[1:]] == [[9, 6], [9, 5], [9, 3]]


def test_no_more_than_the_limit_is_kept() -> None:
    history = noted([float(number) for number in range(EXPLAINED_MAX + 50)], config(tracking(maxCapacity=500)))
    told_of = history.newest_first()
    assert len(told_of) == EXPLAINED_MAX
    assert told_of[0].at_s - START == EXPLAINED_MAX + 49


def test_a_decision_has_what_was_seen_and_who_wanted_what() -> None:
    newest = noted([1.0] * 5).newest_first()[0]
    assert newest.inputs.metrics == {"CPUUtilization": 0.4}
    assert newest.inputs.requests_per_second == 4.0
    assert (newest.inputs.current, newest.inputs.starting, newest.inputs.waiting) == (2, 1, 3)
    assert [(policy.name, policy.wanted) for policy in newest.policies] == [("p", 3)]


def test_what_prometheus_said_is_told_under_its_query() -> None:
    query = f"sum({'x' * 100})"
    readings = (Reading("http://h", query, 41.5, START), Reading("http://h", "never", None, 0.0, "away"))
    seen = Seen(START, 1, readings=readings)
    history = History()
    history.note(START, "1", seen, step(ProvisionConfig(target=1), Memory(), seen)[1])
    (name,) = history.newest_first()[0].inputs.metrics
    assert name.startswith("Prometheus sum(xxx")
    assert len(name) < 80


def test_people_read_when_why_what_was_seen_and_who_wanted_what() -> None:
    decision = json.loads(json.dumps(asdict(noted([1.0] * 4 + [4.0]).newest_first()[0])))
    assert list(told(decision)) == [
        "2025-06-15T15:06:44Z  target 3→4  stable=4 panic=4, 5 of 60 s seen",
        "    seen: 2 ready, 1 starting, 4.00 requests at once (peak 4), 3 waiting, 16.0 requests/s, "
        "CPUUtilization 0.40, room for 900",
        "    p wants 4: stable=4 panic=4, 5 of 60 s seen",
    ]
    assert row(decision)["policies"] == "p=4"


@pytest.mark.parametrize(("was", "shown"), [(None, "target 5"), (5, "target 5"), (7, "target 7→5")])
def test_a_target_that_changed_is_shown_with_the_one_before(was: int | None, shown: str) -> None:
    seen = Seen(START, 0)
    history = History()
    history.note(START, "1", seen, step(ProvisionConfig(target=5), Memory(), seen)[1])
    decision = asdict(history.newest_first()[0]) | {"was": was}
    assert row(decision)["target"] == shown
    assert "no report of requests" in row(decision)["seen"]
