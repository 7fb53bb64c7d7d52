"""A gate told as stories in time, and the report that is made of what it counts."""

from __future__ import annotations

from runtime.gateway.gate import Full, Gate, Lease, Ticket
from runtime.gateway.report import Moment, make_report


def gate(*, queue: int = 10, **slots: int) -> Gate:
    made = Gate(queue)
    for instance_id, count in slots.items():
        made.put_instance(instance_id, provisioned=instance_id.startswith("p"), slots=count, now_s=0.0)
    return made


def lease(made: Gate, now_s: float = 1.0) -> Lease:
    got = made.reserve(None, now_s)
    assert isinstance(got, Lease)
    return got


def ticket(made: Gate, now_s: float = 1.0) -> Ticket:
    got = made.reserve("waiter", now_s)
    assert isinstance(got, Ticket)
    return got


def test_provisioned_instances_are_taken_before_on_demand_ones() -> None:
    made = gate(d1=2, p1=2)
    assert [lease(made).instance.instance_id for _ in range(4)] == ["p1", "p1", "d1", "d1"]


def test_the_one_with_least_in_flight_is_taken_and_of_those_the_last_used() -> None:
    made = gate(p1=2, p2=2, p3=2)
    first = [lease(made) for _ in range(4)]
    assert [each.instance.instance_id for each in first] == ["p3", "p2", "p1", "p1"]
    first[1].release(2.0)
    first[0].release(3.0)
    assert lease(made).instance.instance_id == "p3"  # p2 and p3 are empty, p3 was used last


def test_a_ticket_is_bound_when_a_slot_frees_in_the_order_of_the_queue() -> None:
    made = gate(p1=1)
    held = lease(made)
    first, second = ticket(made), ticket(made)
    assert held.release(2.0) is first
    assert first.lease is not None
    assert not first.lease.cold_start
    assert second.lease is None
    assert first.lease.release(3.0) is second


def test_a_new_instance_takes_from_the_backlog_at_once_and_that_is_a_cold_start() -> None:
    made = gate()
    waiting = [ticket(made) for _ in range(3)]
    bound = made.put_instance("d1", provisioned=False, slots=2, now_s=5.0)
    assert bound == waiting[:2]
    assert all(each.lease is not None and each.lease.cold_start for each in bound)
    assert made.usage.queue_wait_s == 8.0


def test_a_release_is_done_once() -> None:
    made = gate(p1=1)
    held = lease(made)
    waiting = [ticket(made), ticket(made)]
    assert held.release(2.0) is waiting[0]
    assert held.release(2.0) is None
    assert waiting[1].lease is None
    assert made.usage.in_flight == 1


def test_a_full_queue_says_so_and_a_cancelled_place_is_free_at_once() -> None:
    made = gate(queue=2)
    first, _ = ticket(made), ticket(made)
    assert isinstance(made.reserve(None, 1.0), Full)
    made.cancel(first, 2.0)
    made.cancel(first, 2.0)
    assert isinstance(made.reserve(None, 2.0), Ticket)
    assert made.usage.queued == 2


def test_a_request_that_comes_again_is_first_in_the_queue_even_of_a_full_one() -> None:
    made = gate(queue=1)
    waiting = ticket(made)
    again = made.reserve_again("again", 2.0)
    assert made.put_instance("d1", provisioned=False, slots=1, now_s=3.0) == [again]
    assert waiting.lease is None
    assert made.usage.arrived == 1


def test_a_draining_ejected_or_removed_instance_takes_nothing_new() -> None:
    for stop in (Gate.drain_instance, Gate.eject_instance, Gate.remove_instance):
        made = gate(p1=2)
        held = lease(made)
        stop(made, "p1")
        waiting = ticket(made)
        assert held.release(2.0) is None
        assert waiting.lease is None


def test_an_ejected_instance_that_is_restored_or_put_again_goes_on() -> None:
    made = gate(p1=1)
    made.eject_instance("p1")
    waiting = ticket(made)
    assert made.restore_instance("p1", 2.0) == [waiting]
    assert waiting.lease is not None
    assert not waiting.lease.cold_start  # it was ready before
    waiting.lease.release(3.0)
    made.eject_instance("p1")
    made.put_instance("p1", provisioned=True, slots=1, now_s=4.0)
    lease(made, 4.0)


def test_an_instance_that_is_removed_with_requests_inside_is_forgotten_when_they_are_done() -> None:
    made = gate(p1=2)
    held = [lease(made), lease(made)]
    made.remove_instance("p1")
    assert made.instance("p1") is not None
    held[0].release(2.0)
    held[1].release(2.0)
    assert made.instance("p1") is None
    assert made.is_unused


def test_fewer_slots_hold_for_the_next_requests() -> None:
    made = gate(p1=3)
    held = [lease(made) for _ in range(3)]
    made.put_instance("p1", provisioned=True, slots=1, now_s=2.0)
    waiting = ticket(made)
    assert held[0].release(3.0) is None
    assert held[1].release(3.0) is None
    assert held[2].release(3.0) is waiting


def test_integrals_are_exact_and_follow_a_label() -> None:
    made = gate(p1=1, d1=1)
    first = lease(made, 10.0)  # p1
    second = lease(made, 11.0)  # d1
    waiting = ticket(made, 12.0)
    made.put_instance("d1", provisioned=True, slots=1, now_s=13.0)
    first.release(14.0)  # waiting gets p1
    second.release(15.0)
    assert waiting.lease is not None
    waiting.lease.release(16.0)
    made.usage.advance(20.0)
    # In flight or queued: 1 from 10, 2 from 11, 3 from 12, 2 from 14, 1 from 15, 0 from 16.
    assert made.usage.demand_request_s == 1 + 2 + 3 * 2 + 2 + 1
    # On provisioned ones: 1 from 10, 2 from 13 (d1 is one now), 2 from 14, 1 from 15, 0 from 16.
    assert made.usage.provisioned_request_s == 1 * 3 + 2 + 2 + 1
    assert made.usage.demand_peak == 3
    assert made.usage.queue_wait_s == 2.0


def test_a_report_has_an_interval_and_then_begins_the_next() -> None:
    made = gate(p1=1, d1=1)
    key = ("s", "LATEST", "f")
    lease(made, 10.0)
    done = lease(made, 10.0)
    made.usage.finished += 1
    done.release(10.5)
    start = Moment(utc_s=1000.0, monotonic_s=10.0)
    report = make_report("g", 7, {key: made}, ["x"], since=start, now=Moment(1002.0, 12.0))
    [usage] = report.functions
    assert usage["demand_request_seconds"] == 2.5
    assert usage["provisioned_request_seconds"] == 2.0
    assert (usage["in_flight"], usage["in_flight_on_demand"], usage["arrived"], usage["finished"]) == (1, 0, 2, 1)
    assert (report.in_flight, report.last_used_s, report.unreachable) == ({"p1": 1}, {"d1": 1000.5}, ["x"])
    assert report.interval_s == 2.0
    made.drain_instance("d1")
    later = make_report("g", 8, {key: made}, [], since=Moment(1002.0, 12.0), now=Moment(1003.0, 13.0))
    assert later.functions[0]["demand_request_seconds"] == 1.0
    assert later.functions[0]["arrived"] == 0
    assert (later.last_used_s, later.drained) == ({}, ["d1"])


def test_a_gate_without_requests_is_left_out_of_the_report() -> None:
    now = Moment(1.0, 1.0)
    report = make_report("g", 1, {("s", "LATEST", "f"): gate(p1=1)}, [], since=now, now=now)
    assert report.functions == []


def test_who_waits_is_told_when_a_function_fails_to_start_twice_in_a_row() -> None:
    gate = Gate(10)
    ticket = gate.reserve(object(), 0.0)
    assert gate.start_failed("no module", 1.0) == [], "once may be chance"
    assert gate.start_failed("no module", 1.1) == [], "what was launched together fails together"
    assert gate.start_failed("no module", 3.0) == [ticket]
    assert gate.last_failure == "no module"
    gate.put_instance("i", provisioned=False, slots=1, now_s=4.0)
    assert gate.last_failure == ""
    gate.remove_instance("i")
    assert gate.start_failed("no module", 6.0) == [], "it has become ready since: counted anew"


def test_a_function_that_is_served_keeps_those_who_wait_though_more_instances_fail() -> None:
    gate = Gate(10)
    gate.put_instance("i", provisioned=False, slots=1, now_s=0.0)
    gate.reserve(object(), 0.0)
    gate.reserve(object(), 0.0)
    assert [gate.start_failed("no card", at_s) for at_s in (1.0, 2.0, 4.0)] == [[], [], []]
