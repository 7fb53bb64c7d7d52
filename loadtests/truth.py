"""Does the simulator tell the truth? Two courses of a target, lived and simulated, compared tick by tick. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

TOLERANCE: Final = 1  # instances
WANTED_SHARE: Final = 0.95

Course = Sequence[tuple[float, int]]  # since when, which target; in order


@dataclass(frozen=True, slots=True)
class Tick:
    at_s: float
    live: int
    simulated: int
    agrees: bool


@dataclass(frozen=True, slots=True)
class Agreement:
    """Tick by tick. `share` of them agree; `exact_share` have the very same number at the very same time."""

    ticks: tuple[Tick, ...]

    @property
    def share(self) -> float:
        return sum(tick.agrees for tick in self.ticks) / len(self.ticks)

    @property
    def exact_share(self) -> float:
        return sum(tick.live == tick.simulated for tick in self.ticks) / len(self.ticks)

    @property
    def within_share(self) -> float:
        """Without leave in time: within TOLERANCE at the very same time."""
        return sum(abs(tick.live - tick.simulated) <= TOLERANCE for tick in self.ticks) / len(self.ticks)

    @property
    def holds(self) -> bool:
        return self.share >= WANTED_SHARE


def compare(live: Course, simulated: Course, since_s: float, until_s: float, tick_s: float = 1.0) -> Agreement:
    """At each tick of [since, until): the simulated target, and the live one.

    Both loops tick every `tick_s`, but not at the same moments, so that the same change is seen up to a tick earlier or
    later. A tick agrees when the simulated target lies within TOLERANCE of what the live one was at some time from one
    tick before to one tick after.
    """
    ticks = []
    count = int((until_s - since_s) / tick_s)
    for index in range(count):
        at_s = since_s + index * tick_s
        says = target_at(simulated, at_s)
        lived = _targets_between(live, at_s - tick_s, at_s + tick_s)
        agrees = min(lived) - TOLERANCE <= says <= max(lived) + TOLERANCE
        ticks.append(Tick(at_s, target_at(live, at_s), says, agrees))
    if not ticks:
        raise ValueError(f"the span is {until_s - since_s:g} s; {tick_s:g} s or more are needed")
    return Agreement(tuple(ticks))


def course_of(decisions: Sequence[Mapping[str, Any]]) -> Course:
    """The live course, of what `explain` gives, newest first."""
    return sorted((float(one["at_s"]), int(one["target"])) for one in decisions)


def target_at(course: Course, at_s: float) -> int:
    """0 before the first decision."""
    at = bisect_right(course, at_s, key=lambda one: one[0])
    return course[at - 1][1] if at else 0


def _targets_between(course: Course, since_s: float, until_s: float) -> list[int]:
    return [target_at(course, since_s), *(target for at_s, target in course if since_s < at_s <= until_s)]
