"""The search, over configs whose outcomes are made up: what is tried, and which one is taken."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from loadtests.simulator.candidates import Candidate, Wanted
from loadtests.simulator.outcome import Outcome, outcome
from loadtests.simulator.run import simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.search import Evaluate, Room, Tried, choose, meets, nearest, search, static_of
from loadtests.simulator.trace import trace_of
from provision.config import parse

WANTED = Wanted(wait_s=1.0, share=0.9, max_capacity=40)
ROOM = Room(static_max=20, judged_s=100.0)
ANY: Outcome = outcome(simulate_config(trace_of("one", [(0.0, None)]), Scenario(), parse({"target": 1})))


def tried(candidate: Candidate, attainment: float, cost: float, later: float | None = None) -> Tried:
    whole = replace(ANY, attainment=attainment, instance_seconds=cost)
    return Tried(candidate, whole, whole, replace(whole, attainment=attainment if later is None else later))


def told(static: int, others: Callable[[str], tuple[float, float] | None]) -> Evaluate:
    """Static numbers from `static` on are enough, at 100 each; another kind by its name, or it misses."""

    def evaluate(candidate: Candidate) -> Tried:
        if candidate.simplicity == 0:
            return tried(candidate, 1.0 if candidate.floor >= static else 0.5, 100.0 * candidate.floor)
        return tried(candidate, *(others(candidate.name) or (0.5, 10.0)))

    return evaluate


def test_the_fewest_static_instances_are_found_by_halving() -> None:
    found = search(WANTED, ROOM, told(13, lambda _name: None))
    static = static_of(found, WANTED)
    assert static is not None
    assert static.candidate.config == parse({"target": 13})
    assert static is choose(found, WANTED)
    assert sum(t.candidate.simplicity == 0 for t in found) <= 7


def test_the_cheapest_that_meets_the_slo_is_taken() -> None:
    found = search(WANTED, ROOM, told(13, lambda name: (0.95, 700.0) if name == "SLO 0.9, from 0" else None))
    chosen = choose(found, WANTED)
    assert chosen is not None
    assert chosen.candidate.name == "SLO 0.9, from 0"
    assert chosen.candidate.config.target_tracking_policies[0].percentile == 0.9


def test_one_that_misses_the_held_out_part_does_not_meet_it() -> None:
    candidate = Candidate("any", 1, parse({"target": 1}))
    assert meets(tried(candidate, 0.95, 1.0), WANTED)
    assert not meets(tried(candidate, 0.95, 1.0, later=0.89), WANTED)
    assert choose([tried(candidate, 0.95, 1.0, later=0.89)], WANTED) is None


def test_of_equal_costs_the_simpler_one_is_taken() -> None:
    one, other = (Candidate(name, simplicity, parse({})) for name, simplicity in (("simple", 0), ("policy", 2)))
    assert choose([tried(other, 1.0, 99.5), tried(one, 1.0, 100.0)], WANTED) == tried(one, 1.0, 100.0)
    assert choose([tried(other, 1.0, 98.0), tried(one, 1.0, 100.0)], WANTED) == tried(other, 1.0, 98.0)


def test_nothing_is_tried_whose_minimum_alone_costs_as_much_as_the_cheapest() -> None:
    found = search(WANTED, ROOM, told(20, lambda name: (0.95, 400.0) if name.startswith("SLO 0.9,") else None))
    after = [t.candidate for t in found if t.candidate.simplicity == 1]
    assert after
    assert all(candidate.floor * ROOM.judged_s < 400.0 for candidate in after)


def test_where_nothing_meets_it_the_nearest_is_known() -> None:
    found = search(WANTED, Room(static_max=3, judged_s=100.0), told(13, lambda _name: (0.7, 50.0)))
    assert choose(found, WANTED) is None
    assert static_of(found, WANTED) is None
    assert nearest(found).attainment == 0.7


def test_schedules_are_tried_where_days_are_known() -> None:
    shares: list[float] = []

    def schedule_of(share: float) -> list[dict[str, Any]]:
        shares.append(share)
        return [{"name": "n", "target": 50, "scheduleExpression": "cron(0 0 8 * * *)"}]

    def by_name(name: str) -> tuple[float, float] | None:
        share = re.fullmatch(r"schedule ([\d.]+)", name)
        return (1.0, 1000.0 * float(share[1])) if share and float(share[1]) >= 0.8 else None

    found = search(WANTED, replace(ROOM, schedule_of=schedule_of), told(13, by_name))
    chosen = choose(found, WANTED)
    assert chosen is not None
    assert chosen.candidate.name == "schedule 0.8"
    assert chosen.candidate.config.scheduled_actions[0].target == WANTED.max_capacity
    assert any("forecast" in t.candidate.name for t in found)
    assert sorted(shares) == shares


@pytest.mark.parametrize("capacity", [1, 2, 40])
def test_every_candidate_stays_within_the_capacity(capacity: int) -> None:
    wanted = replace(WANTED, max_capacity=capacity)
    found = search(wanted, Room(min(20, capacity), 100.0), told(13, lambda _name: None))
    for one in found:
        assert one.candidate.floor <= capacity
        assert all(p.max_capacity == capacity for p in one.candidate.config.target_tracking_policies)
