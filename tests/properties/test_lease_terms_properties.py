"""Nobody's slots are given away while it lives: with words besides renewals, whoever is cut off, stands still or ends.

The assertion is the world's own (`tests.support.lease_world`), at the moment when slots are given away.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from control_plane.fleet.vitals import Vitals
from runtime.gateway.lease_term import LeaseTerm
from runtime.leasing import LeaseQuestion, LeaseWord
from tests.support.examples import examples
from tests.support.lease_world import AWAY_S, EVENTS, LEASE_S, Rules, World, something_happens

SPANS_S = (0.5, LEASE_S / 2, LEASE_S, 2 * LEASE_S, AWAY_S)


class LeaseTermsMachine(RuleBasedStateMachine):
    @initialize(chance=st.randoms(use_true_random=False))
    def begin(self, chance: random.Random) -> None:
        self.world = World(chance)

    @rule(event=st.sampled_from(EVENTS))
    def happens(self, event: str) -> None:
        something_happens(self.world, event)

    @rule(seconds=st.sampled_from(SPANS_S))
    def time_passes(self, seconds: float) -> None:
        self.world.passes(seconds)


LeaseTermsMachine.TestCase.settings = examples(30, stateful_step_count=20)
TestLeaseTerms = LeaseTermsMachine.TestCase


def walk(seed: int, rules: Rules | None = None) -> World:
    """Things happen at random, and there are always gateways for them to happen to. Raises AssertionError where a
    slot is given away twice."""
    chance = random.Random(seed)
    world = World(chance, rules)
    for _ in range(30):
        something_happens(world, chance.choice(EVENTS))
        if sum(world.is_alive(each) for each in world.gateways) < 2:
            something_happens(world, "join")
        world.passes(chance.choice(SPANS_S))
    return world


def test_no_walk_at_random_finds_slots_that_are_given_away_while_their_gateway_lives() -> None:
    assert sum(len(walk(seed).given_away) for seed in range(10)) > 10  # and slots do come back


@pytest.mark.long
def test_no_long_search_finds_them_either() -> None:
    for _ in range(2000):
        seed = random.randrange(10**9)
        try:
            walk(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


class TakesAllForKnown(Vitals):
    """Every gateway is taken to know this lessor from the beginning."""

    def _saw(self, name: str, renewal: str, at_s: float, term: int) -> None:
        super()._saw(name, renewal, at_s, self._term)


class TakesRenewalForKnowledge(Vitals):
    """A gateway that renews is taken to know this lessor, whether it got the answer or not."""

    def _saw(self, name: str, renewal: str, at_s: float, term: int) -> None:
        is_new = name in self._seen and self._seen[name].renewal != renewal
        super()._saw(name, renewal, at_s, self._term if is_new else term)


class ForgetsItsWord(Vitals):
    def asked(self, question: LeaseQuestion, now_s: float) -> bool:
        return question.term <= self._term


class SpeaksForNewer(Vitals):
    def asked(self, question: LeaseQuestion, now_s: float) -> bool:
        return super().asked(replace(question, term=min(question.term, self._term)), now_s)


class WaitsTooShort(Vitals):
    def __init__(self, term: int, begun_s: float) -> None:
        super().__init__(term, begun_s - AWAY_S)


class TrustsAnEarlierLessor(LeaseTerm):
    def vouched(self, sent_s: float, asked: LeaseQuestion, word: LeaseWord) -> bool:
        return super().vouched(sent_s, asked, replace(word, term=max(word.term, self.lessor_term)))


class GoesOnForEver(LeaseTerm):
    def vouched(self, sent_s: float, asked: LeaseQuestion, word: LeaseWord) -> bool:
        self._away_s = float("inf")
        return super().vouched(sent_s, asked, word)


def term_of(kind: type[LeaseTerm]) -> Rules:
    return Rules(lease_term=lambda name: kind(name, LEASE_S, AWAY_S))


BROKEN = {
    "all are taken to know the new lessor": Rules(vitals=TakesAllForKnown),
    "who renews is taken to know it": Rules(vitals=TakesRenewalForKnowledge),
    "a word is forgotten": Rules(vitals=ForgetsItsWord),
    "the new lessor does not wait for words": Rules(vitals=WaitsTooShort),
    "an earlier lessor is trusted": Rules(term_of(TrustsAnEarlierLessor).lease_term, SpeaksForNewer),
    "words are asked for for ever": term_of(GoesOnForEver),
}


@pytest.mark.long
@pytest.mark.parametrize("rules", BROKEN.values(), ids=BROKEN)
def test_without_any_one_of_the_rules_the_search_finds_slots_that_are_given_away_twice(rules: Rules) -> None:
    def holds(seed: int) -> bool:
        try:
            walk(seed, rules)
        except AssertionError:
            return False
        return True

    assert not all(holds(seed) for seed in range(3000))
