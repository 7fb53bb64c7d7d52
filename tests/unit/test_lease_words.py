"""Who goes on and who stops, when which part is away or cut off: the table of the page about several gateways, told in
time. The parts that decide are the real ones, the rest is `tests.support.lease_world`."""

from __future__ import annotations

import random

import pytest

from control_plane.fleet.vitals import SLACK_S, Vitals
from runtime.gateway.lease_term import LeaseTerm
from runtime.leasing import Holder, LeaseQuestion, LeaseWord, renewal, seal, term_told
from tests.support.lease_world import AWAY_S, EVERY_S, LEASE_S, Gateway, Lessor, World

STOPS_S = LEASE_S * 2 / 3
LATE_S = SLACK_S + 4 * EVERY_S  # a lessor's slack, and what its looks and writes take


def world(gateways: int = 2) -> tuple[World, Lessor, list[Gateway]]:
    """Nothing is lost but by what is cut, and everybody knows the lessor."""
    made = World(random.Random(1), gateways=gateways)
    made.is_calm = True
    made.passes(2.0)
    return made, made.lessors[0], made.gateways


def serves_for(made: World, gateway: Gateway, most_s: float = 4 * AWAY_S) -> float:
    began_s = made.true_s
    while made.serves(gateway) and made.true_s < began_s + most_s:
        made.passes(EVERY_S)
    return made.true_s - began_s


def stand_still_for(made: World, gateway: Gateway, most_s: float = 4 * AWAY_S) -> float:
    """Until its slots are given away."""
    began_s = made.true_s
    while gateway.name not in made.given_away:
        assert made.true_s < began_s + most_s
        made.passes(EVERY_S)
    return made.true_s - began_s


def test_while_the_store_is_away_all_go_on_by_the_lessors_word_for_as_long_as_it_is_worth() -> None:
    made, _, gateways = world()
    made.is_store_up = False
    made.passes(AWAY_S)
    assert all(made.serves(each) for each in gateways)
    assert serves_for(made, gateways[0]) <= STOPS_S + EVERY_S


def test_a_store_that_comes_back_in_time_has_cost_nothing() -> None:
    made, _, gateways = world()
    for _ in range(3):
        made.is_store_up = False
        made.passes(AWAY_S - 1.0)
        made.is_store_up = True
        made.passes(2.0)
    assert all(made.serves(each) for each in gateways)
    assert made.given_away == set()


def test_one_that_alone_is_cut_off_from_the_store_goes_on_by_the_lessors_word() -> None:
    made, _, (cut, other) = world()
    made.without_store.add(cut.name)
    assert AWAY_S < serves_for(made, cut) <= AWAY_S + STOPS_S + EVERY_S
    assert made.serves(other)
    assert stand_still_for(made, cut) <= LEASE_S + AWAY_S + LATE_S


def test_one_that_is_cut_off_from_both_stops_and_its_slots_come_back_within_a_lease() -> None:
    made, _, (cut, other) = world()
    made.split(cut)
    began_s = made.true_s
    assert serves_for(made, cut) <= STOPS_S + EVERY_S
    stand_still_for(made, cut)
    assert made.true_s - began_s <= LEASE_S + LATE_S
    assert made.serves(other)


def test_without_store_and_lessor_all_stop_since_others_might_have_both() -> None:
    made, lessor, gateways = world()
    made.is_store_up, lessor.is_killed = False, True
    made.passes(STOPS_S + EVERY_S)
    assert not any(made.serves(each) for each in gateways)


def test_one_that_is_cut_off_together_with_the_lessor_goes_on_and_the_next_lessor_waits_for_it() -> None:
    made, lessor, (cut, other) = world()
    made.split(cut, lessor)
    made.begin()
    began_s = made.true_s
    assert AWAY_S < serves_for(made, cut) <= AWAY_S + STOPS_S + EVERY_S
    assert made.serves(other)
    stand_still_for(made, cut)
    assert made.true_s - began_s <= LEASE_S + AWAY_S + LATE_S


def test_who_knows_the_next_lessor_does_not_go_on_by_the_word_of_the_one_before() -> None:
    made, lessor, (cut, _) = world()
    made.begin()
    made.passes(2.0)
    assert cut.term.lessor_term == made.store_term > lessor.term
    made.split(cut, lessor)
    began_s = made.true_s
    assert serves_for(made, cut) <= STOPS_S + EVERY_S
    stand_still_for(made, cut)
    assert made.true_s - began_s <= LEASE_S + LATE_S


def test_the_next_lessors_word_counts_too_and_makes_it_known() -> None:
    made, lessor, (cut, _) = world()
    made.without_store.add(cut.name)
    lessor.is_killed = True
    made.begin()
    assert serves_for(made, cut) > AWAY_S
    assert cut.term.lessor_term == made.store_term > lessor.term


def test_a_gateway_that_ends_with_the_lessor_gives_its_slots_back_when_words_are_worth_nothing_any_more() -> None:
    made, lessor, (gone, _) = world()
    gone.is_killed = lessor.is_killed = True
    made.begin()
    assert AWAY_S < stand_still_for(made, gone) <= LEASE_S + AWAY_S + LATE_S


def test_a_gateway_that_ends_after_it_has_met_the_next_lessor_gives_them_back_within_a_lease() -> None:
    made, lessor, (gone, _) = world()
    lessor.is_killed = True
    made.begin()
    made.passes(2.0)
    gone.is_killed = True
    assert stand_still_for(made, gone) <= LEASE_S + LATE_S


def test_a_lessor_that_was_away_from_the_store_judges_by_the_words_it_gave() -> None:
    made, lessor, gateways = world()
    made.without_store.add(lessor.name)
    for gateway in gateways:
        made.without_store.add(gateway.name)
    made.passes(AWAY_S - 1.0)
    made.without_store.clear()
    made.passes(LEASE_S)
    assert made.given_away == set()


# -- the two that decide, by themselves


def term_begun() -> LeaseTerm:
    made = LeaseTerm("g", 10.0, 60.0)
    made.renewed(100.0, 5)
    return made


@pytest.mark.parametrize(
    "word",
    [LeaseWord("h", 1, 5), LeaseWord("g", 2, 5), LeaseWord("g", 1, 4)],
    ids=["to another", "to another question", "of an earlier lessor"],
)
def test_a_word_that_is_not_the_answer_counts_for_nothing(word: LeaseWord) -> None:
    term = term_begun()
    asked = term.question(term.next_count())
    assert not term.vouched(105.0, asked, word)
    assert term.ends_s == 110.0


def test_a_word_counts_from_when_it_was_asked_for_and_a_late_one_takes_nothing_back() -> None:
    term = term_begun()
    first, second = (term.question(term.next_count()) for _ in range(2))
    assert term.vouched(104.0, second, LeaseWord("g", second.count, 5))
    assert term.ends_s == 114.0
    assert term.vouched(103.0, first, LeaseWord("g", first.count, 6))
    assert (term.ends_s, term.lessor_term) == (114.0, 6)
    term.renewed(102.0, 5)
    assert (term.ends_s, term.lessor_term) == (114.0, 6)


def test_words_count_until_so_long_after_the_last_renewal() -> None:
    term = term_begun()
    for sent_s, ends_s in ((150.0, 160.0), (160.0, 170.0), (165.0, 170.0)):
        asked = term.question(term.next_count())
        assert term.vouched(sent_s, asked, LeaseWord("g", asked.count, 5))
        assert term.ends_s == ends_s


def test_a_lessor_waits_the_longer_the_longer_the_lease_is_for_clocks_run_at_different_rates() -> None:
    for lease_s in (30.0, 3600.0):
        holder = Holder(1, 1, "far", lease_s)
        vitals = Vitals(1, 0.0)
        for at_s in (0.0, lease_s * 1.0005 + 0.9):
            assert vitals.look({"g": holder}, {"g": "1 1"}, asked_s=at_s, answered_s=at_s) == set()
        at_s = lease_s * 1.001 + 1.1
        assert vitals.look({"g": holder}, {"g": "1 1"}, asked_s=at_s, answered_s=at_s) == {"g"}


def test_who_renews_but_does_not_say_that_it_knows_this_lessor_is_waited_for_as_if_it_lived_by_anothers_word() -> None:
    vitals = Vitals(2, 100.0)
    holders = {"silent": Holder(1, 1, "far", 10.0, 60.0), "knows": Holder(2, 1, "far", 10.0, 60.0)}

    def gone(renewals: dict[str, str], at_s: float) -> set[str]:
        return vitals.look(holders, renewals, asked_s=at_s, answered_s=at_s)

    assert gone({"silent": "7 1", "knows": "7 1"}, 100.0) == set()
    last = {"silent": "8 1", "knows": "8 2"}  # the first got no answer to the one before, in which the term was told
    assert gone(last, 101.0) == set()
    assert gone(last, 113.0) == {"knows"}
    assert gone(last, 171.0) == {"knows"}
    assert gone(last, 172.0) == {"knows", "silent"}


def test_one_of_a_version_that_asks_for_no_words_has_a_lease_as_before() -> None:
    vitals = Vitals(7, 0.0)
    holder = {"g": Holder(1, 1, "far", 10.0)}
    assert vitals.look(holder, {"g": "41"}, asked_s=0.0, answered_s=0.0) == set()
    assert vitals.look(holder, {"g": "41"}, asked_s=12.0, answered_s=12.0) == {"g"}


def test_what_a_gateway_writes_is_read_as_it_was_meant() -> None:
    assert [term_told(text) for text in (renewal(7, 12), "7", "", "left")] == [12, 0, 0, 0]
    question, word = LeaseQuestion("g", 1, 2), LeaseWord("g", 1, 2)
    assert question.to_json() == word.to_json()
    assert seal(b"k", question, b"x") != seal(b"k", word, b"x")  # a question cannot be sent back as its answer
