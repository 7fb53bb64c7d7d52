"""Which provision config meets an SLO for the fewest instance-seconds: what is tried, and which one is taken.

Pure but for `evaluate`, which simulates: the same arguments give the same answer. A config must meet the SLO on the
part of the recording that its figures were taken from and, by itself, on the part after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.simulator.busy import Actions
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
from loadtests.simulator.outcome import Outcome

EQUAL: Final = 0.01  # configs whose costs differ by less are equal, and the simpler one is taken


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate and what it came to: on both parts, on the earlier one, on the later one."""

    candidate: Candidate
    whole: Outcome
    earlier: Outcome
    later: Outcome

    @property
    def attainment(self) -> float:
        """On the part where it did worse."""
        return min(self.earlier.attainment, self.later.attainment)

    @property
    def instance_seconds(self) -> float:
        return self.whole.instance_seconds


@dataclass(frozen=True, slots=True)
class Room:
    """Where to look."""

    static_max: int  # more instances than this help nobody, or there are no more
    judged_s: float
    schedule_of: Callable[[float], Actions] | None = (
        None  # by share of an hour's seconds; None: less than a day is known
    )


Evaluate = Callable[[Candidate], Tried]


def search(wanted: Wanted, room: Room, evaluate: Evaluate) -> list[Tried]:
    """All that was tried, in order. Further on in a family fewer requests should be late, and it should cost more."""
    found: list[Tried] = []

    def settled(family: Family) -> bool:
        """Whether the first of it meets the SLO already: then no sure way of the same kind costs less."""
        cheapest = min((t.instance_seconds for t in found if meets(t, wanted)), default=math.inf)
        # What never has fewer instances than the cheapest so far had on average cannot be cheaper.
        worth = [one for one in family if one.floor * room.judged_s < cheapest]
        tried = list(climb(worth, wanted, evaluate, cheapest))
        found.extend(tried)
        return bool(tried) and meets(tried[0], wanted)

    settled(statics(room.static_max))
    static = next((t.candidate.floor for t in _meeting(found, wanted)), room.static_max)
    for kind in _policies(wanted, room, floors(static, wanted.max_capacity)):
        any(settled(family) for family in kind)
    return found


def _policies(wanted: Wanted, room: Room, minimums: Sequence[int]) -> Iterator[Iterator[Family]]:
    """Kinds of policies, each in families from the least sure to the surest."""
    yield by_slo(wanted, minimums)
    yield by_utilization(wanted, minimums)
    if room.schedule_of is not None:
        yield iter([by_season(wanted, min(1, wanted.max_capacity))])
        for family in by_clock(wanted, room.schedule_of):
            yield iter([family])


def climb(family: Family, wanted: Wanted, evaluate: Evaluate, cheapest: float = math.inf) -> Iterator[Tried]:
    """The cheapest; unless that is enough, or too much already, the surest; and by halving the first that is enough."""
    low, high = 0, len(family) - 1
    if high < 0:
        return
    first = evaluate(family[low])
    yield first
    if meets(first, wanted) or first.instance_seconds >= cheapest or high == low:
        return
    surest = evaluate(family[high])
    yield surest
    if not meets(surest, wanted):
        return
    while high - low > 1:
        middle = (low + high) // 2
        tried = evaluate(family[middle])
        yield tried
        low, high = (low, middle) if meets(tried, wanted) else (middle, high)


def meets(tried: Tried, wanted: Wanted) -> bool:
    return tried.attainment >= wanted.share


def _meeting(found: Sequence[Tried], wanted: Wanted) -> list[Tried]:
    """Those that meet it, the cheapest first."""
    return sorted((t for t in found if meets(t, wanted)), key=lambda tried: tried.instance_seconds)


def choose(found: Sequence[Tried], wanted: Wanted) -> Tried | None:
    """The cheapest that meets the SLO; of equals the simplest, and then the cheapest again. None: none does."""
    meeting = _meeting(found, wanted)
    if not meeting:
        return None
    enough = meeting[0].instance_seconds * (1.0 + EQUAL)
    equal = [tried for tried in meeting if tried.instance_seconds <= enough]
    return min(equal, key=lambda tried: (tried.candidate.simplicity, tried.instance_seconds))


def nearest(found: Sequence[Tried]) -> Tried:
    """Where none meets it: the one of which the fewest requests wait too long."""
    return max(found, key=lambda tried: (tried.attainment, -tried.instance_seconds))


def static_of(found: Sequence[Tried], wanted: Wanted) -> Tried | None:
    """The cheapest static number that meets it."""
    return next((tried for tried in _meeting(found, wanted) if tried.candidate.simplicity == 0), None)
