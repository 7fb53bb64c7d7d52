"""A provision config for an SLO, with its evidence: splits a recording, tries candidates on it, and takes one.

The first two thirds of what is judged are what figures are taken from (a schedule's targets), the rest is held out. The
same recording gives the same suggestion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

from loadtests.simulator.busy import DAY_S, Actions, actions, busy, hourly
from loadtests.simulator.candidates import Candidate, Wanted
from loadtests.simulator.coarse import COARSE_FROM_S, coarse_search
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.search import Room, Tried, choose, nearest, search, static_of
from loadtests.simulator.sketch import sketch
from loadtests.simulator.trace import Trace
from loadtests.simulator.trial import OnTry, Trial, Trials, Workers
from provision.config import INSTANCES_MAX
from provision.words import counted

EARLIER: Final = 2.0 / 3.0  # of what is judged
HISTORY_S_MAX: Final = 1200.0
HISTORY_SHARE: Final = 0.2
SPAN_S_MAX: Final = 7.0 * DAY_S
CAPACITY_FACTOR: Final = 2  # maxCapacity where nobody says: tomorrow may be busier than the busiest moment recorded


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted. Wait, share and capacity are checked by whoever asks."""

    wait_s: float
    share: float  # of requests that wait no longer, 0.5 to 0.999
    max_capacity: int | None = None  # instances there may be; None: as many as anybody could need
    time_zone: str = "UTC"  # of a schedule


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What was tried, and what is taken of it."""

    trace: Trace
    scenario: Scenario
    wanted: Wanted
    split_s: float  # where the held-out part begins
    tried: list[Tried]
    chosen: Tried | None  # None: nothing meets it
    nearest: Tried  # to the SLO, of all
    static: Tried | None  # the cheapest static number that meets it

    @property
    def config(self) -> dict[str, Any] | None:
        """As a provision.json."""
        return None if self.chosen is None else self.chosen.candidate.config.model_dump(mode="json", by_alias=True)


def suggest(
    trace: Trace, scenario: Scenario, asked: Asked, on_try: OnTry = lambda _number, _name: None, jobs: int = 1
) -> Suggestion:
    """`on_try` hears of each candidate before it is simulated, which takes about a second for an hour.

    Long recordings are searched coarse to fine, in `jobs` processes; how many those are changes nothing of the answer.

    Raises:
        ValueError: the recording is too short, or too long; what is allowed.
    """
    scenario = replace(scenario, wait_limit_s=asked.wait_s, capacity=asked.max_capacity)
    split_s = _split(trace, scenario, asked.share)
    most = busy(trace, scenario.service_s)
    needed = math.ceil(max(most) / scenario.slots)
    allowed = INSTANCES_MAX if asked.max_capacity is None else asked.max_capacity
    wanted = Wanted(asked.wait_s, asked.share, asked.max_capacity or max(1, min(CAPACITY_FACTOR * needed, allowed)))
    known = most[: int(split_s)]

    def schedule_of(share: float) -> Actions:
        levels = hourly(known, trace.began_utc_s, asked.time_zone, share, scenario.slots)
        return actions(levels, scenario.launch_s + scenario.tick_s, asked.time_zone)

    room = Room(
        static_max=min(needed, allowed),
        judged_s=trace.duration_s - scenario.history_s,
        schedule_of=schedule_of if len(known) >= DAY_S else None,
    )
    whole = Trial(trace, scenario, split_s)
    if room.judged_s < COARSE_FROM_S:
        numbers = count(1)

        def evaluate(candidate: Candidate) -> Tried:
            on_try(next(numbers), candidate.name)
            return whole.of(candidate)

        tried = search(wanted, room, evaluate)
    else:
        part, part_split_s = sketch(trace, scenario.history_s, split_s)
        with Workers(Trials(whole, replace(whole, trace=part, split_s=part_split_s), wanted), jobs, on_try) as work:
            tried = coarse_search(wanted, room, work)
    chosen, static = choose(tried, wanted), static_of(tried, wanted)
    return Suggestion(trace, scenario, wanted, split_s, tried, chosen, nearest(tried), static)


def history_of(trace: Trace, launch_s: float) -> float:
    """Lived through but not judged, where nobody says: a simulation begins with nothing running."""
    return min(HISTORY_S_MAX, max(HISTORY_SHARE * trace.duration_s, launch_s + 1.0), trace.duration_s)


def requests_min(share: float) -> int:
    """Of a part, so that at least one of its requests may wait longer."""
    return math.ceil(round(1.0 / (1.0 - share), 6))


def _split(trace: Trace, scenario: Scenario, share: float) -> float:
    begin_s, end_s = scenario.history_s, trace.duration_s
    if end_s > SPAN_S_MAX:
        raise ValueError(f"since: {trace.name} lasts {end_s:.0f} s; at most {SPAN_S_MAX:.0f} are allowed")
    split_s = begin_s + EARLIER * max(0.0, end_s - begin_s)
    parts = ((begin_s, split_s), (split_s, end_s))
    counts = [sum(from_s <= at_s < to_s for at_s in trace.arrivals_s) for from_s, to_s in parts]
    least, shortest_s = requests_min(share), scenario.launch_s
    if min(counts) < least or end_s - split_s <= shortest_s:
        raise ValueError(
            f"since: too little of {trace.name} is judged: {counted(counts[0], 'request')} in "
            f"{max(0.0, split_s - begin_s):.0f} s and held out {counts[1]} in {max(0.0, end_s - split_s):.0f} s; each "
            f"part needs {least} or more, as {share:.4g} of fewer cannot be told from all, and more than one launch "
            f"({shortest_s:g} s)"
        )
    return split_s
