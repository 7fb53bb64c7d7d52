"""Who may wait at a gate, in which order, for how long, and who has to go."""

from __future__ import annotations

from math import inf

import pytest

from runtime.gateway.claim import PLAIN, Claim, claim_of
from runtime.gateway.drain_rate import DrainRate
from runtime.gateway.gate import Full, Gate, Lease, Ticket
from runtime.gateway.hall import Hall
from runtime.gateway.headers import RequestHead
from runtime.gateway.refusal import Refusal


def wait(gate: Gate, claim: Claim = PLAIN, now_s: float = 1.0, held_bytes: int = 0) -> Ticket:
    got = gate.reserve("waiter", now_s, claim, held_bytes)
    assert isinstance(got, Ticket), got
    return got


def refused(gate: Gate, claim: Claim = PLAIN, now_s: float = 1.0, held_bytes: int = 0) -> Full:
    got = gate.reserve("waiter", now_s, claim, held_bytes)
    assert isinstance(got, Full), got
    return got


# -- priorities --------------------------------------------------------------------------------------------------------


def test_higher_priorities_have_their_turn_first_and_equals_in_the_order_they_came() -> None:
    gate = Gate(10)
    low, first, second, high = (wait(gate, Claim(priority=p)) for p in (1, 5, 5, 9))
    assert gate.put_instance("i", provisioned=True, slots=4, now_s=2.0) == [high, first, second, low]


def test_a_full_queue_gives_the_place_of_the_last_of_the_lowest_to_one_of_higher_priority() -> None:
    gate = Gate(3)
    kept, early, late = (wait(gate, Claim(priority=p)) for p in (5, 2, 2))
    assert wait(gate, Claim(priority=3)).outrun == (late,)
    assert wait(gate, Claim(priority=5)).outrun == (early,)
    assert refused(gate, Claim(priority=3)).why.startswith("no instance is free and 3 requests wait already: 3 are")
    assert kept in gate.line
    assert gate.usage.queued == 3


def test_one_that_had_a_slot_before_keeps_its_place_whoever_comes() -> None:
    gate = Gate(1)
    again = gate.reserve_again("again", 1.0, Claim(priority=0))
    assert isinstance(again, Ticket)
    refused(gate, Claim(priority=9))
    assert list(gate.line) == [again]


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_queue_is_full_when_what_it_holds_would_be_too_much() -> None:
    gate = Gate(100, 1000)
    wait(gate, held_bytes=600)
    assert "would hold 1100 bytes: 1000 are allowed" in refused(gate, held_bytes=500).why
    wait(gate, held_bytes=400)
    assert gate.line.held_bytes == 1000


def test_several_of_lower_priority_go_for_one_that_holds_more() -> None:
    gate = Gate(100, 1000)
    small = [wait(gate, Claim(priority=1), held_bytes=300) for _ in range(3)]
    assert wait(gate, held_bytes=500).outrun == (small[2], small[1])
    refused(gate, held_bytes=800)
    assert small[0] in gate.line, "nobody goes for one that does not fit all the same"


def test_a_flood_takes_no_place_of_another_function_when_all_places_are_taken() -> None:
    hall = Hall(10, 10_000)
    flood, quiet = Gate(100, None, hall), Gate(100, None, hall)
    waiting = [wait(flood) for _ in range(10)]
    refused(flood)
    came = [wait(quiet) for _ in range(5)]
    assert [ticket.outrun for ticket in came] == [(ticket,) for ticket in reversed(waiting[5:])]
    assert "10 requests wait already, 5 of them for this function: 10 of all functions" in refused(quiet).why
    refused(flood)
    assert (flood.line.length, quiet.line.length, hall.length) == (5, 5, 10)


def test_few_large_bodies_count_like_many_small_ones() -> None:
    hall = Hall(10, 1000)
    large, small = Gate(100, None, hall), Gate(100, None, hall)
    held = [wait(large, held_bytes=300) for _ in range(3)]
    for _ in range(2):
        wait(small, held_bytes=50)
    assert wait(small, held_bytes=50).outrun == (held[2],)


def test_a_place_in_the_hall_is_free_again_however_a_request_leaves() -> None:
    hall = Hall(10, 10_000)
    gate = Gate(100, None, hall)
    bound, left, deleted = (wait(gate, held_bytes=100) for _ in range(3))
    assert (hall.length, hall.held_bytes) == (3, 300)
    assert gate.put_instance("i", provisioned=True, slots=1, now_s=2.0) == [bound]
    gate.cancel(left, 2.0)
    assert gate.cancel_all(2.0) == [deleted]
    assert (hall.length, hall.held_bytes, hall.largest()) == (0, 0, None)


# -- waits -------------------------------------------------------------------------------------------------------------


def busy_gate(turns: int, every_s: float) -> tuple[Gate, Lease, float]:
    """One slot, a queue that never became empty, and one turn after the other."""
    gate = Gate(1000)
    gate.put_instance("i", provisioned=True, slots=1, now_s=0.0)
    lease, now_s = gate.reserve("first", 0.0), 0.0
    assert isinstance(lease, Lease)
    for _ in range(turns + 2):
        wait(gate, now_s=0.0)
    for _ in range(turns):
        now_s += every_s
        ticket = lease.release(now_s)
        assert ticket is not None
        assert ticket.lease is not None
        lease = ticket.lease
    return gate, lease, now_s


def test_a_wait_is_expected_as_long_as_turns_have_taken_lately() -> None:
    gate, _, now_s = busy_gate(100, 0.1)
    assert gate.drain_rate.wait_s(9, now_s) == pytest.approx(1.0, rel=0.05)


def test_one_whose_client_would_not_wait_so_long_is_refused_at_once() -> None:
    gate, _, now_s = busy_gate(100, 0.5)
    assert gate.line.length == 2
    why = refused(gate, Claim(wait_s_max=1.0), now_s).why
    assert "to wait would take 1.5 s: 1 s are allowed" in why
    wait(gate, Claim(wait_s_max=2.0), now_s)
    wait(gate, Claim(priority=9, wait_s_max=1.0), now_s)  # it stands before all of them
    wait(gate, PLAIN, now_s)


def test_nobody_is_refused_for_a_wait_that_nobody_knows() -> None:
    gate = Gate(10)
    wait(gate)  # from zero: no instance, and no turn was ever seen
    wait(gate, Claim(wait_s_max=0.001))
    served, lease, now_s = busy_gate(100, 0.5)
    served.remove_instance("i")
    wait(served, Claim(wait_s_max=0.001), now_s)  # what its instances did says nothing when they are gone
    del lease


def test_the_first_of_a_queue_is_never_refused_for_its_wait_or_no_instance_would_be_asked_for() -> None:
    gate, lease, now_s = busy_gate(100, 0.5)
    for ticket in list(gate.line):
        gate.cancel(ticket, now_s)
    wait(gate, Claim(wait_s_max=0.001), now_s + 1.0)
    del lease


def test_retry_after_is_when_those_who_wait_have_had_their_turn_from_one_second_to_sixty() -> None:
    gate, _, now_s = busy_gate(100, 0.5)
    for _ in range(18):
        wait(gate, now_s=now_s)
    assert gate.retry_after_s(now_s) in (10, 11)
    slow, _, now_s = busy_gate(100, 60.0)
    assert slow.retry_after_s(now_s) == 60
    fast, _, now_s = busy_gate(100, 0.001)
    assert fast.retry_after_s(now_s) == 1
    assert Gate(1).retry_after_s(0.0) == 1


def test_a_queue_that_stands_still_is_expected_to_take_longer_and_longer() -> None:
    rate = DrainRate()
    rate.begin(0.0)
    for n in range(50):
        rate.turn(n * 0.1)
    waits = [rate.wait_s(10, 5.0 + n) or inf for n in range(5)]
    assert waits == sorted(waits)
    assert 1.5 * waits[0] < waits[4] < inf


def test_a_rate_is_forgotten_after_a_minute_without_a_queue() -> None:
    rate = DrainRate()
    rate.begin(0.0)
    for n in range(50):
        rate.turn(n * 0.1)
    rate.begin(30.0)
    assert rate.wait_s(0, 30.0) is not None
    rate.begin(100.0)
    assert rate.wait_s(0, 100.0) is None


# -- what a request says of itself -------------------------------------------------------------------------------------


def head(*fields: tuple[bytes, bytes]) -> RequestHead:
    made = RequestHead()
    made.steering = list(fields) or None
    return made


def priority(value: bytes, *, of_trigger: int, is_known: bool) -> int:
    asked = head((b"x-stoke-priority", value))
    return claim_of(asked, priority=of_trigger, is_known=is_known).priority


def test_the_client_of_an_open_trigger_may_only_stand_back() -> None:
    assert priority(b"9", of_trigger=5, is_known=False) == 5
    assert priority(b"2", of_trigger=5, is_known=False) == 2
    assert priority(b"9", of_trigger=5, is_known=True) == 9
    assert claim_of(head(), priority=7).priority == 7


@pytest.mark.parametrize("value", [b"10", b"-1", b"", b"high", "٣".encode()])
def test_a_priority_that_is_none_is_named_with_what_is_allowed(value: bytes) -> None:
    with pytest.raises(Refusal, match=r"header x-stoke-priority '.*': a digit is allowed, 0 \(last\) to 9"):
        priority(value, of_trigger=5, is_known=True)


@pytest.mark.parametrize(
    ("fields", "wait_s_max"),
    [
        ((), 30.0),
        (((b"request-timeout", b"2.5"),), 2.5),
        (((b"x-request-timeout", b"3"),), 3.0),
        (((b"request-timeout", b"4"), (b"x-request-timeout", b"3")), 3.0),
        (((b"request-timeout", b"60"),), 30.0),
        (((b"request-timeout", b"5s"),), 30.0),
        (((b"request-timeout", b"1e9"),), 30.0),
        (((b"request-timeout", b"-1"),), 30.0),
        (((b"request-timeout", b"nan"),), 30.0),
    ],
)
def test_the_shortest_of_all_waits_holds_and_another_spelling_means_nothing(
    fields: tuple[tuple[bytes, bytes], ...], wait_s_max: float
) -> None:
    assert claim_of(head(*fields), wait_s_max=30.0).wait_s_max == wait_s_max
