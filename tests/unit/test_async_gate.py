"""A gate and work that may wait outside of it: it gets what no request wants, and counts as demand."""

from __future__ import annotations

from runtime.contract import AsyncRoute, async_field
from runtime.gateway.gate import Gate, Lease, Ticket
from runtime.gateway.report import Moment, make_report
from runtime.gateway.resolve import Names
from runtime.gateway.routes import Routes


def test_idle_slots_are_those_that_no_queued_request_waits_for() -> None:
    gate = Gate(10)
    assert gate.idle_slots == 0
    assert gate.reserve_idle(0.0) is None
    gate.put_instance("a", provisioned=True, slots=2, now_s=0.0)
    gate.put_instance("b", provisioned=False, slots=1, now_s=0.0)
    assert gate.idle_slots == 3
    leases = [gate.reserve_idle(1.0) for _ in range(3)]
    assert all(isinstance(each, Lease) for each in leases)
    assert gate.idle_slots == 0
    assert gate.reserve_idle(1.0) is None


def test_a_slot_that_frees_goes_to_the_queue_first() -> None:
    gate = Gate(10)
    gate.put_instance("a", provisioned=True, slots=1, now_s=0.0)
    told: list[str] = []
    gate.on_idle = lambda: told.append("idle")
    held = gate.reserve_idle(1.0)
    assert held is not None
    waiting = gate.reserve("request", 2.0)
    assert isinstance(waiting, Ticket)
    assert held.release(3.0) is waiting
    assert told == []
    assert gate.reserve_idle(3.0) is None
    assert waiting.lease is not None
    assert waiting.lease.release(4.0) is None
    assert told == ["idle"]
    assert gate.idle_slots == 1


def test_a_new_or_returning_instance_is_told_of_when_a_slot_is_left_over() -> None:
    gate = Gate(10)
    told: list[str] = []
    gate.on_idle = lambda: told.append("idle")
    gate.reserve("request", 0.0)
    gate.put_instance("a", provisioned=True, slots=1, now_s=1.0)
    assert told == []
    gate.put_instance("b", provisioned=True, slots=1, now_s=1.0)
    assert told == ["idle"]
    gate.eject_instance("b")
    assert gate.idle_slots == 0
    gate.restore_instance("b", 2.0)
    assert told == ["idle", "idle"]
    gate.drain_instance("b")
    assert gate.idle_slots == 0


def test_waiting_events_are_in_the_report_and_in_the_integral() -> None:
    gate = Gate(10)
    gate.usage.set_background(10.0, 4)
    assert not gate.usage.is_idle
    gate.usage.set_background(12.0, 1)
    report = make_report("g", 0, {("s", "1", "f"): gate}, [], since=Moment(0.0, 10.0), now=Moment(5.0, 15.0))
    [usage] = report.functions
    assert (usage["queued"], usage["demand_peak"]) == (1, 4)
    assert usage["demand_request_seconds"] == 4 * 2.0 + 1 * 3.0


def test_a_config_reaches_the_routes_and_defaults_stand_where_there_is_none() -> None:
    routes = Routes()
    names = Names("s", "prod", "f")
    assert routes.async_route(names) == AsyncRoute("s", "f", "prod", 3, 86_400.0)
    config = AsyncRoute("s", "f", "prod", 1, 60.0, on_failure="http://h/")
    field = async_field("s", "prod", "f")
    routes.put(field, {"service": "s", "function": "f", "qualifier": "prod", "retry_attempts_max": 1,
                       "event_age_s_max": 60.0, "on_failure": "http://h/", "later": "unknown"})  # fmt: skip
    assert routes.async_route(names) == config
    assert routes.async_age_s_min("s", "f") == 60.0
    assert routes.async_age_s_min("s", "g") == 86_400.0
    routes.remove(field)
    assert routes.async_route(names).retry_attempts_max == 3
