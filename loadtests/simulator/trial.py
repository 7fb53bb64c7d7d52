"""Candidates simulated on a trace that is split in two, here or in processes beside each other."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Final, Self, TypeVar

from loadtests.simulator.candidates import Candidate, Family, Wanted
from loadtests.simulator.outcome import between, outcome
from loadtests.simulator.run import simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.search import Tried, climb
from loadtests.simulator.trace import Trace

JOBS_MAX: Final = 64
T = TypeVar("T")
OnTry = Callable[[int, str], None]  # the number of a try, and what is tried


@dataclass(frozen=True, slots=True)
class Trial:
    """What candidates are tried on."""

    trace: Trace
    scenario: Scenario
    split_s: float

    def of(self, candidate: Candidate) -> Tried:
        record = simulate_config(self.trace, self.scenario, candidate.config)
        parts = (
            between(record, self.scenario.history_s, self.split_s),
            between(record, self.split_s, self.trace.duration_s),
        )
        return Tried(candidate, outcome(record), *parts)


@dataclass(frozen=True, slots=True)
class Trials:
    """On the whole of a recording, and on a sketch of it."""

    whole: Trial
    sketch: Trial
    wanted: Wanted

    def climb(self, family: Family, is_sketch: bool) -> list[Tried]:
        return list(climb(family, self.wanted, (self.sketch if is_sketch else self.whole).of))


class Workers:
    """Tries, so many at once. What they give does not depend on how many that are.

    With one there is no other process. Else each gets the trace once, when it begins.
    """

    def __init__(self, trials: Trials, jobs: int, on_try: OnTry) -> None:
        self._trials = trials
        self._on_try = on_try
        self._number = 0
        self._pool = (
            ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin, initargs=(trials,))
            if jobs > 1
            else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def tries(self, candidates: Sequence[Candidate]) -> list[Tried]:
        """Each on the whole, in their order."""
        if self._pool is None:
            return [self._trials.whole.of(self._told(candidate, candidate.name)) for candidate in candidates]
        asked = [self._pool.submit(_try, self._told(candidate, candidate.name)) for candidate in candidates]
        return [each.result() for each in asked]

    def climbs(self, families: Sequence[Family], *, is_sketch: bool) -> list[list[Tried]]:
        """What was tried of each family, in their order; on a sketch, or on the whole."""
        named = [(family, _name(family, is_sketch)) for family in families if family]
        if self._pool is None:
            return [self._trials.climb(self._told(family, name), is_sketch) for family, name in named]
        asked: list[Future[list[Tried]]] = [
            self._pool.submit(_climb, self._told(family, name), is_sketch) for family, name in named
        ]
        return [each.result() for each in asked]

    def _told(self, what: T, name: str) -> T:
        self._number += 1
        self._on_try(self._number, name)
        return what


def _name(family: Family, is_sketch: bool) -> str:
    span = family[0].name if len(family) == 1 else f"{family[0].name} … {family[-1].name}"
    return f"{span}, on a part" if is_sketch else span


# -- in a process of its own ------------------------------------------------------------------------------------------

_trials: Trials | None = None


def _begin(trials: Trials) -> None:
    global _trials
    _trials = trials
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """Who asked may be killed, and then nobody tells this process that there is no more to do."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _try(candidate: Candidate) -> Tried:
    assert _trials is not None
    return _trials.whole.of(candidate)


def _climb(family: Family, is_sketch: bool) -> list[Tried]:
    assert _trials is not None
    return _trials.climb(family, is_sketch)
