"""How gateways' reports become observations."""

from __future__ import annotations

import dataclasses

from control_plane.fleet.usage import GATEWAY_SILENT_S, UsageBook
from runtime.contract import FunctionUsage, UsageReport

KEY = ("svc", "LATEST", "f")


def usage(**values: float | str) -> dict[str, object]:
    defaults: dict[str, object] = {
        "service": "svc", "function": "f", "version": "LATEST", "in_flight": 0, "in_flight_on_demand": 0, "queued": 0,
        "demand_request_seconds": 0.0, "provisioned_request_seconds": 0.0, "demand_peak": 0,
    }  # fmt: skip
    return dataclasses.asdict(FunctionUsage.from_dict({**defaults, **values}))


def report(
    *functions: dict[str, object],
    gateway: str = "g1",
    now_s: float = 100.0,
    interval_s: float = 1.0,
    in_flight: dict[str, int] | None = None,
    drained: list[str] | None = None,
    last_used_s: dict[str, float] | None = None,
) -> UsageReport:
    return UsageReport(
        gateway, 1, now_s, interval_s, list(functions), in_flight or {}, last_used_s or {}, drained or []
    )


def test_the_mean_is_the_integral_over_the_whole_interval_looked_at() -> None:
    book = UsageBook()
    book.absorb(report(usage(demand_request_seconds=3.0, demand_peak=4)))
    book.absorb(report(usage(demand_request_seconds=1.0, demand_peak=2)))
    seen = book.observe(KEY)
    assert (seen.interval_s, seen.demand, seen.demand_peak) == (2.0, 2.0, 4)


def test_a_second_look_sees_only_what_came_since() -> None:
    book = UsageBook()
    book.absorb(report(usage(demand_request_seconds=3.0)))
    book.observe(KEY)
    assert book.observe(KEY).interval_s == 0.0
    book.absorb(report())
    assert book.observe(KEY).demand == 0.0


def test_a_function_left_out_of_a_report_had_no_requests_in_its_interval() -> None:
    book = UsageBook()
    book.absorb(report(usage(demand_request_seconds=4.0, queued=3)))
    book.absorb(report(interval_s=3.0))
    seen = book.observe(KEY)
    assert (seen.demand, seen.queued) == (1.0, 0)
    assert book.waiting() == set()


def test_gateways_add_up() -> None:
    book = UsageBook()
    book.absorb(report(usage(demand_request_seconds=2.0, in_flight=2, queued=1), gateway="g1"))
    book.absorb(report(usage(demand_request_seconds=1.5, in_flight=1, queued=4), gateway="g2", interval_s=0.5))
    seen = book.observe(KEY)
    assert (seen.demand, seen.in_flight, seen.queued) == (5.0, 3, 5)


def test_requests_and_their_waits_add_up_over_reports_and_gateways() -> None:
    book = UsageBook()
    for _ in range(2):
        book.absorb(report(usage(arrived=10, finished=8, queue_wait_s_sum=1.5), gateway="g1"))
    book.absorb(report(usage(arrived=5, finished=5, queue_wait_s_sum=0.5), gateway="g2", interval_s=1.0))
    seen = book.observe(KEY)
    assert seen.interval_s == 2.0
    assert (seen.arrived, seen.finished) == (30.0, 26.0), "the second gateway's 5 a second go on for 2 s"
    assert seen.queue_wait_s_sum == 4.0
    assert (book.observe(KEY).arrived, book.observe(KEY).queue_wait_s_sum) == (0.0, 0.0)


def test_absorbing_names_the_functions_with_waiting_requests() -> None:
    book = UsageBook()
    assert book.absorb(report(usage(queued=1), usage(function="g"))) == {KEY}
    assert book.waiting() == {KEY}


def test_an_instance_is_drained_when_every_heard_gateway_says_so() -> None:
    book = UsageBook()
    assert not book.is_drained("i"), "nobody has said anything yet"
    book.absorb(report(gateway="g1", drained=["i"]))
    assert book.is_drained("i")
    book.absorb(report(gateway="g2"))
    assert not book.is_drained("i")


def test_a_silent_gateway_is_forgotten_with_what_it_held() -> None:
    book = UsageBook()
    book.absorb(report(gateway="gone", now_s=0.0, in_flight={"i": 2}))
    book.absorb(report(gateway="g1", now_s=GATEWAY_SILENT_S + 1.0, drained=["i"]))
    assert book.in_flight("i") == 2
    book.forget_silent(GATEWAY_SILENT_S + 1.0)
    assert book.in_flight("i") == 0
    assert book.is_drained("i")


def test_what_reports_tell_of_is_touched_once_and_again_when_they_leave_it_out() -> None:
    book = UsageBook()
    book.absorb(report(usage(in_flight=1), usage(function="g", in_flight=1)))
    other = ("svc", "LATEST", "g")
    assert book.touched() == {KEY, other}
    assert book.touched() == set()
    book.absorb(report(usage(in_flight=1)))
    assert book.touched() == {KEY, other}
    book.absorb(report(usage(in_flight=1)))
    assert book.touched() == {KEY}


def test_what_a_silent_gateway_was_busy_with_is_touched_when_it_is_forgotten() -> None:
    book = UsageBook()
    book.absorb(report(usage(queued=1), now_s=0.0))
    book.touched()
    book.forget_silent(GATEWAY_SILENT_S + 1.0)
    assert book.touched() == {KEY}
    assert book.waiting() == set()


def test_one_left_alone_while_time_passed_is_observed_from_there_on() -> None:
    left, always = UsageBook(), UsageBook()
    for book in (left, always):
        book.absorb(report())
        book.pass_time()
        assert not book.is_even(KEY), "nobody has looked yet"
        book.observe(KEY)
        assert book.is_even(KEY)
    for _ in range(3):
        for book in (left, always):
            book.absorb(report(interval_s=0.7))
            book.absorb(report(interval_s=0.4))
            assert abs(book.pass_time() - 1.1) < 1e-9
        always.observe(KEY)
    for book in (left, always):
        book.absorb(report(usage(demand_request_seconds=0.5, arrived=3), interval_s=0.25))
    left.resume(KEY)
    assert left.observe(KEY) == always.observe(KEY)


def test_a_gateway_that_is_new_has_not_been_passed_by() -> None:
    book = UsageBook()
    book.absorb(report(usage(demand_request_seconds=2.0), interval_s=1.0))
    book.resume(KEY)
    assert (book.observe(KEY).interval_s, book.pass_time()) == (1.0, 0.0)


def test_requests_at_once_while_some_waited_are_kept_until_somebody_looks() -> None:
    book = UsageBook()
    book.absorb(report(usage(in_flight=2, queued=5)))
    book.absorb(report(usage(in_flight=4, queued=0)))
    book.absorb(report(usage(in_flight=3), gateway="g2"))
    assert book.observe(KEY).pressed == 10, "7 at one gateway, 3 at the other, where none waits"
    assert book.observe(KEY).pressed == 0
