"""What several gateways at one port are told, tell, and show."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from control_plane.fleet.leases import LeaseBook
from control_plane.fleet.sharing import Turns, share, split
from control_plane.fleet.usage import GATEWAY_SILENT_S, UsageBook
from control_plane.gateways import names
from control_plane.options import parse
from runtime.contract import InstanceRecord, InstanceState, Kind, UsageReport
from runtime.gateway.gate import Gate, Lease, Ticket
from runtime.gateway.leases import Leases, make_lease_report
from runtime.gateway.settings import GatewaySettings
from runtime.gateway.sharing import part_of
from runtime.gateway.siblings import merged
from runtime.leasing import Grants, Holder, LeaseReport

KEY = ("s", "LATEST", "f")


def asked(requests: int, waiting: int) -> list[dict[str, object]]:
    return [{"service": "s", "version": "LATEST", "function": "f", "requests": requests, "waiting": waiting}]


def report(name: str, sequence: int, epoch: int, requests: int = 0, waiting: int = 0, **inside: int) -> LeaseReport:
    return LeaseReport(name, len(name), 1, sequence, epoch, inside, asked(requests, waiting))


def record(name: str, slots: int, kind: Kind = Kind.PROVISIONED) -> InstanceRecord:
    return InstanceRecord(name, "s", "f", "LATEST", "r", kind, InstanceState.READY, slots, "n")


def usage_report(gateway: str, now_s: float, *drained: str) -> UsageReport:
    return UsageReport(gateway, 1, now_s, 1.0, [], {}, {}, list(drained))


# -- a slot's way -----------------------------------------------------------------------------------------------------


def test_a_slot_moves_only_after_its_holder_has_said_that_it_gave_it_up() -> None:
    book = LeaseBook()

    def written() -> dict[str, int]:
        book.settle(KEY, 1.0)
        batch = book.batch()
        return {} if batch is None else {n: c for _, grants in batch.grants if grants for n, c in grants.slots.items()}

    book.sync([record("i", 1)])
    book.hear(report("a", 1, 0, requests=1, waiting=1), 1.0)
    book.hear(report("b", 1, 0), 1.0)
    assert written() == {"a": 1}
    book.hear(report("b", 2, 1, requests=1, waiting=1), 1.0)
    book.hear(report("a", 2, 1), 1.0)
    assert written() == {}, "taken from a, and given to nobody yet"
    book.hear(report("a", 3, 1, i=1), 1.0)
    assert written() == {}, "a has not read it, and began a request"
    book.hear(report("a", 4, 2, i=1), 1.0)
    assert written() == {}, "a has read it, and its request goes on"
    book.hear(report("a", 3, 2), 1.0)
    assert written() == {}, "an earlier report counts for nothing"
    book.hear(report("a", 5, 2), 1.0)
    assert written() == {"b": 1}


def test_the_slots_of_a_gateway_whose_process_is_gone_go_to_the_others_at_once() -> None:
    book = LeaseBook()
    book.sync([record("i", 2)])
    book.hear(report("a", 1, 0, requests=2, waiting=2), 1.0)
    book.hear(report("b", 1, 0), 1.0)
    book.settle(KEY, 1.0)
    assert book.batch()
    book.hear(report("a", 2, 1, requests=2, i=2), 1.0)
    book.gone("a")
    book.settle(KEY, 1.0)
    batch = book.batch()
    assert batch is not None
    assert batch.grants == (("i", Grants(2, {"b": 2})),)
    assert batch.holders == (("a", None),)


def test_after_a_restart_nothing_is_given_that_somebody_may_have() -> None:
    """The lessor before took the slot back, and has not heard whether a request is inside."""
    book = LeaseBook(7, {"i": Grants(7, {})}, {"a": Holder(1, 1)})
    book.sync([record("i", 1)])
    book.hear(report("b", 1, 7, requests=1, waiting=1), 1.0)
    book.settle(KEY, 1.0)
    batch = book.batch()
    assert batch is not None
    assert not batch.grants
    assert batch.holders == (("b", Holder(1, 1)),)
    book.hear(report("a", 9, 7), 1.0)
    book.settle(KEY, 1.0)
    batch = book.batch()
    assert batch is not None
    assert batch.grants == (("i", Grants(9, {"b": 1})),)


def test_idle_slots_are_left_where_they_are_until_somebody_lacks_one() -> None:
    nobody = {"a": 0, "b": 0}
    assert share(10, {"a": 3, "b": 1}, nobody, {"a": 6, "b": 4}, Turns(), 1.0) == {"a": 6, "b": 4}
    assert share(10, {"a": 3, "b": 5}, nobody, {"a": 6, "b": 4}, Turns(), 1.0) == {"a": 4, "b": 6}
    assert share(10, nobody, nobody, {"a": 10, "b": 0}, Turns(), 1.0) == {"a": 10, "b": 0}
    assert share(10, nobody, nobody, {"a": 10, "b": 0}, Turns(), 1.0, even=True) == {"a": 5, "b": 5}


def test_requests_come_before_asynchronous_events() -> None:
    assert share(2, {"a": 0, "b": 2}, {"a": 5, "b": 0}, {"a": 2, "b": 0}, Turns(), 1.0) == {"a": 0, "b": 2}
    assert share(2, {"a": 0, "b": 1}, {"a": 5, "b": 0}, {"a": 1, "b": 1}, Turns(), 1.0) == {"a": 1, "b": 1}


def test_provisioned_slots_go_to_those_that_have_requests_and_what_is_inside_stays() -> None:
    none = {"a": 0, "b": 0}
    targets = {"a": 2, "b": 2}
    assert split(targets, 2, {"a": 2, "b": 0}, {"a": 0, "b": 2}, none, none) == {"a": 2, "b": 0}
    assert split(targets, 2, {"a": 2, "b": 0}, {"a": 0, "b": 2}, none, {"a": 2, "b": 0}) == {"a": 0, "b": 2}
    assert split(targets, 2, {"a": 2, "b": 2}, {"a": 0, "b": 2}, {"a": 0, "b": 2}, none) == {"a": 0, "b": 2}


# -- at a gateway -----------------------------------------------------------------------------------------------------


def test_fewer_slots_take_effect_as_requests_end_and_more_of_them_at_once() -> None:
    gate = Gate(10)
    gate.put_instance("i", provisioned=True, slots=2, now_s=0.0)
    leases = [gate.reserve(None, 0.0), gate.reserve(None, 0.0)]
    assert all(isinstance(each, Lease) for each in leases)
    assert gate.set_slots("i", 0, 1.0) == []
    waiting = gate.reserve("w", 1.0)
    assert isinstance(waiting, Ticket)
    for lease in leases:
        assert isinstance(lease, Lease)
        assert lease.release(2.0) is None, "its slot is another's"
    assert gate.set_slots("i", 1, 3.0) == [waiting]
    assert gate.set_slots("i", 1, 3.0) == []
    assert gate.set_slots("unknown", 1, 3.0) == []


def test_a_report_tells_asynchronous_runs_apart_from_requests() -> None:
    gate = Gate(10)
    gate.put_instance("i", provisioned=True, slots=2, now_s=0.0)
    run, _ = gate.reserve_idle(0.0), gate.reserve(None, 0.0)
    gate.reserve(None, 0.0)
    leases = Leases("g")
    leases.read("i", Grants(4, {"g": 2}))
    told = make_lease_report(leases, Holder(1, 2), 5, {KEY: gate})
    assert (told.epoch, told.inside) == (4, {"i": 2})
    assert (told.asked[0]["requests"], told.asked[0]["waiting"]) == (2, 1)
    assert run is not None
    run.release(1.0)
    assert make_lease_report(leases, Holder(1, 2), 6, {KEY: gate}).asked[0]["requests"] == 2


def test_grants_are_obeyed_in_the_order_of_their_epochs() -> None:
    leases = Leases("g")
    assert leases.slots("i") == 0
    assert leases.read("i", Grants(3, {"g": 2, "h": 1}))
    assert not leases.read("i", Grants(2, {"g": 5}))
    assert leases.slots("i") == 2
    assert leases.read("i", Grants(4, {"h": 3}))
    assert (leases.slots("i"), leases.epoch) == (0, 4)
    assert not leases.read("i", None)


def test_the_parts_of_several_gateways_add_up() -> None:
    for count in (0, 1, 7, 10):
        parts = [
            part_of(count, GatewaySettings(
                listen="localhost:1", store="redis://", control_plane="unix:/c", gateways=3, number=number, sockets="/s"
            )) for number in (1, 2, 3)
        ]  # fmt: skip
        assert sum(parts) == count
        assert max(parts) - min(parts) <= 1


# -- drains -----------------------------------------------------------------------------------------------------------


def test_an_instance_is_drained_only_when_every_gateway_that_lives_has_said_so() -> None:
    usage = UsageBook()
    usage.expected = frozenset({"a", "b"})
    usage.absorb(usage_report("a", 1.0, "i"))
    assert not usage.is_drained("i"), "b has not been heard since the control plane began"
    usage.absorb(usage_report("b", 1.0))
    assert not usage.is_drained("i")
    usage.forget_silent(1.0 + 2 * GATEWAY_SILENT_S)
    assert not usage.is_drained("i"), "b lives, so its silence says nothing"
    usage.forget_gateway("b")
    usage.expected = frozenset({"a"})
    usage.absorb(usage_report("a", 99.0, "i"))
    assert usage.is_drained("i")


# -- what one sees ----------------------------------------------------------------------------------------------------


def test_the_figures_of_several_are_one_text_that_tells_them_apart() -> None:
    one = (
        '# HELP x_total About x.\n# TYPE x_total counter\nx_total{code="a"} 1\n# HELP y About y.\n# TYPE y gauge\ny 2\n'
    )
    two = one.replace(" 1\n", " 5\n")
    text = merged({2: two, 1: one, 3: None})
    samples = {
        (s.name, *sorted(s.labels.items())): s.value for f in text_string_to_metric_families(text) for s in f.samples
    }
    assert samples[("x_total", ("code", "a"), ("gateway", "1"))] == 1
    assert samples[("x_total", ("code", "a"), ("gateway", "2"))] == 5
    assert samples[("y", ("gateway", "1"))] == 2
    assert samples[("stoke_gateway_up", ("gateway", "3"))] == 0
    assert text.count("# TYPE x_total counter") == 1


# -- options ----------------------------------------------------------------------------------------------------------


def test_one_that_shares_is_never_called_as_one_that_is_alone() -> None:
    assert names(1) == ["gateway"]
    assert names(3) == ["gateway-1", "gateway-2", "gateway-3"]


@pytest.mark.parametrize("given", ["0", "65", "two", "-1"])
def test_a_wrong_number_of_gateways_is_named(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([f"--gateways={given}"])
    assert f"--gateways is '{given}'; allowed is a number from 1 to 64" in capsys.readouterr().err


def test_a_gateway_is_told_which_of_how_many_it_is_and_where_the_others_are() -> None:
    needed: dict[str, Any] = {"listen": "localhost:1", "store": "redis://", "control_plane": "unix:/c"}
    with pytest.raises(ValueError, match="--number 3: 1 to --gateways 2 is allowed"):
        GatewaySettings(**needed, gateways=2, number=3, sockets="/s")
    with pytest.raises(ValueError, match="--gateways 2: --sockets is needed, a folder"):
        GatewaySettings(**needed, gateways=2)
