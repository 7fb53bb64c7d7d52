"""The search over long recordings: coarse on a sketch, then fine on the whole. Pure but for `Work`, which simulates.

Every candidate costs a pass over all seconds of a recording, minutes of a core for days. So policies are sorted out on
a sketch of it, and only the cheapest few that do there are tried on the whole; whichever misses there gives way to the
next surer one of its family. What is taken was tried on the whole like everything else that is shown. Static numbers
are searched from the one that does on the sketch. Schedules and forecasts live by the clock, which a sketch has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from loadtests.simulator.candidates import (
    Candidate,
    Family,
    Wanted,
    by_clock,
    by_season,
    by_slo,
    by_utilization,
    floors,
    statics,
)
from loadtests.simulator.search import Room, Tried, meets, static_of

COARSE_FROM_S: Final = 6 * 3600.0  # of what is judged; what is shorter is tried whole
FINALISTS: Final = 4
ROUNDS: Final = 3  # in which a finalist that misses gives way to the next surer one


class Work(Protocol):
    """Simulates, several at once where it can."""

    def tries(self, candidates: Sequence[Candidate]) -> list[Tried]:
        """Each on the whole, in their order."""

    def climbs(self, families: Sequence[Family], *, is_sketch: bool) -> list[list[Tried]]:
        """What was tried of each family until the first that is enough was found."""


def coarse_search(wanted: Wanted, room: Room, work: Work) -> list[Tried]:
    """All that was tried on the whole, in order."""
    found = fewest(statics(room.static_max), wanted, work)
    static = static_of(found, wanted)
    minimums = floors(room.static_max if static is None else static.candidate.floor, wanted.max_capacity)
    families = [*by_slo(wanted, minimums), *by_utilization(wanted, minimums)]
    if static is not None:  # what never has fewer instances cannot be cheaper
        families = [[one for one in family if one.floor < static.candidate.floor] for family in families]
    places = finalists(families, work.climbs(families, is_sketch=True), wanted)
    tried = set[tuple[int, int]]()
    for _ in range(ROUNDS):
        places = [place for place in dict.fromkeys(places) if place not in tried]
        if not places:
            break
        tried.update(places)
        results = work.tries([families[family][index] for family, index in places])
        found += results
        missed = [place for place, one in zip(places, results, strict=True) if not meets(one, wanted)]
        places = [(family, index + 1) for family, index in missed if index + 1 < len(families[family])]
    if room.schedule_of is not None:
        by_time = [by_season(wanted, min(1, wanted.max_capacity)), *by_clock(wanted, room.schedule_of)]
        found += [one for climbed in work.climbs(by_time, is_sketch=False) for one in climbed]
    return found


def finalists(families: Sequence[Family], climbed: Sequence[Sequence[Tried]], wanted: Wanted) -> list[tuple[int, int]]:
    """Of which family the which are worth a try on the whole: the cheapest of the sketch that meet the SLO there."""
    of_name = {one.name: (f, i) for f, family in enumerate(families) for i, one in enumerate(family)}
    met = [tried for each in climbed for tried in each if meets(tried, wanted)]
    cheapest = sorted(met, key=lambda tried: (tried.instance_seconds, tried.candidate.name))
    return [of_name[tried.candidate.name] for tried in cheapest[:FINALISTS]]


def fewest(family: Family, wanted: Wanted, work: Work) -> list[Tried]:
    """The first of a family that meets the SLO on the whole and the one before it, from where it is on the sketch.

    Two at a time: beside the guess, then further and further away from it, then between what is too few and enough.
    """
    known = dict[int, Tried]()
    guessed = [
        one.candidate.name for each in work.climbs([family], is_sketch=True) for one in each if meets(one, wanted)
    ]
    guess = min((n for n, one in enumerate(family) if one.name in guessed), default=len(family) - 1)
    ask, step = [guess - 1, guess], 1
    while True:
        new = sorted({n for n in ask if 0 <= n < len(family)} - known.keys())
        known.update(zip(new, work.tries([family[n] for n in new]), strict=True))
        enough = min((n for n, one in known.items() if meets(one, wanted)), default=len(family))
        few = max((n for n in known if n < enough), default=-1)
        if enough - few <= 1:
            return [known[n] for n in sorted(known)]
        if enough == len(family):
            ask = [few + step, few + 2 * step] if few + step < len(family) else [len(family) - 1]
        elif few == -1:
            ask = [enough - step, enough - 2 * step] if enough >= step else [0]
        else:
            ask = [few + (enough - few) // 3, few + 2 * (enough - few) // 3]
            ask = [n for n in ask if few < n < enough] or [(few + enough) // 2]
        step *= 4
