"""The search over long recordings: sorted out on a sketch, decided on the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from loadtests.simulator.candidates import Candidate, Family, Wanted, statics
from loadtests.simulator.coarse import FINALISTS, coarse_search, fewest, finalists
from loadtests.simulator.outcome import Outcome, outcome
from loadtests.simulator.run import simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.search import Room, Tried, choose, climb, meets, static_of
from loadtests.simulator.sketch import PIECE_S, STRIDE, sketch
from loadtests.simulator.trace import trace_of
from provision.config import parse

WANTED = Wanted(wait_s=1.0, share=0.99, max_capacity=40)
HOUR_S = 3600.0
SCENARIO = Scenario(service_s=0.5, launch_s=1.0, wait_limit_s=1.0)


def some_outcome() -> Outcome:
    trace = trace_of("any", [(1.0, None)], duration_s=10.0)
    return outcome(simulate_config(trace, SCENARIO, parse({"target": 1})))


SOME = some_outcome()


def came_to(candidate: Candidate, attainment: float, cost: float) -> Tried:
    made = replace(SOME, attainment=attainment, instance_seconds=cost)
    return Tried(candidate, made, made, made)


class Pretended:
    """Work of which everybody knows what it comes to: an attainment by candidate, here and on the sketch."""

    def __init__(self, whole: Callable[[Candidate], float], part: Callable[[Candidate], float]) -> None:
        self._whole = whole
        self._part = part
        self.tried: list[str] = []

    def tries(self, candidates: Sequence[Candidate]) -> list[Tried]:
        self.tried += [one.name for one in candidates]
        return [self._tried(one, self._whole) for one in candidates]

    def climbs(self, families: Sequence[Family], *, is_sketch: bool) -> list[list[Tried]]:
        said = self._part if is_sketch else self._whole
        return [list(climb(family, WANTED, lambda one: self._tried(one, said))) for family in families]

    @staticmethod
    def _tried(candidate: Candidate, said: Callable[[Candidate], float]) -> Tried:
        return came_to(candidate, said(candidate), 100.0 * candidate.floor + len(candidate.name))


@pytest.mark.parametrize("needed", [0, 1, 2, 7, 19, 29, 30])
@pytest.mark.parametrize("guessed", [0, 1, 3, 7, 18, 30, 99])
def test_the_fewest_static_instances_are_found_wherever_the_sketch_points(needed: int, guessed: int) -> None:
    work = Pretended(lambda one: float(one.floor >= needed), lambda one: float(one.floor >= guessed))
    found = fewest(statics(30), WANTED, work)
    best = static_of(found, WANTED)
    assert best is not None
    assert best.candidate.floor == needed
    assert needed == 0 or f"static {needed - 1}" in work.tried, "that one fewer does not do is known"
    assert len(work.tried) == len(set(work.tried)) <= 12


def test_where_no_number_does_the_largest_was_tried() -> None:
    work = Pretended(lambda _: 0.0, lambda one: float(one.floor >= 3))
    assert static_of(fewest(statics(30), WANTED, work), WANTED) is None
    assert "static 30" in work.tried


def test_on_the_whole_only_the_cheapest_few_of_the_sketch_are_tried() -> None:
    families = [[Candidate(f"way {n}", 1, parse({"target": n}), n)] for n in range(20)]
    climbed = [[came_to(family[0], 1.0 if n % 2 else 0.5, 1000.0 - n)] for n, family in enumerate(families)]
    assert finalists(families, climbed, WANTED) == [(n, 0) for n in (19, 17, 15, 13)][:FINALISTS]


def test_what_does_on_the_sketch_alone_gives_way_to_the_next_surer_one() -> None:
    """Minimums are 0, 1, 5, 10, 15 and 18 of 20 static instances; the sketch would do with none."""
    work = Pretended(lambda one: float(one.floor >= (20 if one.simplicity == 0 else 5)), lambda _: 1.0)
    found = coarse_search(WANTED, Room(static_max=40, judged_s=1.0), work)
    chosen = choose(found, WANTED)
    assert chosen is not None
    assert chosen.candidate.name.startswith("SLO ")
    assert chosen.candidate.floor == 5
    assert {one.candidate.name for one in found} == set(work.tried), "all that is shown was tried on the whole"
    assert all(meets(one, WANTED) is (one.candidate.floor >= 5) for one in found if one.candidate.simplicity)


def test_a_sketch_has_the_history_the_busiest_piece_and_one_in_so_many_of_both_parts() -> None:
    busy_s = 20 * HOUR_S + 600.0
    arrivals = [(float(at_s), 0.25) for at_s in range(0, 48 * 3600, 60)] + [(busy_s + n / 10, 0.75) for n in range(500)]
    trace = trace_of("days", arrivals, duration_s=48 * HOUR_S)
    part, split_s = sketch(trace, PIECE_S, 32 * HOUR_S)
    assert part.duration_s == pytest.approx(48 * HOUR_S / STRIDE, rel=0.2)
    assert PIECE_S < split_s < part.duration_s
    assert part.arrivals_s[: int(PIECE_S // 60)] == trace.arrivals_s[: int(PIECE_S // 60)]
    assert part.service_s.count(0.75) == 500
    assert list(part.arrivals_s) == sorted(part.arrivals_s)
    assert len(part.service_s) == len(part.arrivals_s)
    assert part.arrivals_s[-1] < part.duration_s
