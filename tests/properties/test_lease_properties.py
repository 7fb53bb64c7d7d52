"""However messages are lost, late or told twice, and whoever crashes, no instance has more inside than slots."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from control_plane.fleet.lease_store import MemoryLeaseStore, Superseded
from control_plane.fleet.leases import Batch, LeaseBook
from control_plane.fleet.sharing import TURN_S, Turns, share
from runtime.contract import InstanceRecord, InstanceState, Kind
from runtime.gateway.leases import Leases
from runtime.leasing import Asked, LeaseReport
from tests.support.examples import examples

KEY = ("s", "LATEST", "f")


@dataclass
class Process:
    """One gateway: obeys what it has read, and sends requests inside by nothing else."""

    leases: Leases
    pid: int
    position: int = 0  # in the feed
    inside: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    sequence: int = 0
    alive: bool = True

    def report(self) -> LeaseReport:
        self.sequence += 1
        held = sum(self.inside.values())
        asked = Asked(*KEY, requests=held + self.requests, waiting=self.requests)
        return LeaseReport(
            self.leases.gateway_id, self.pid, 1, self.sequence, self.leases.epoch, dict(self.inside),
            [json.loads(asked.to_json())],
        )  # fmt: skip


class LeaseMachine(RuleBasedStateMachine):
    @initialize(gateways=st.integers(1, 3), slots=st.lists(st.integers(1, 3), min_size=1, max_size=3))
    def begin(self, gateways: int, slots: list[int]) -> None:
        self.now_s = 1.0
        self.store = MemoryLeaseStore()
        self.pids = 0
        self.gateways: list[Process] = []
        self.mail: list[LeaseReport] = []  # on its way; a report may be taken out of it more than once, or never
        self.delayed: list[tuple[int, Batch]] = []  # writes that time out here and may arrive yet
        self.records: dict[str, InstanceRecord] = {}
        for count in slots:
            self.an_instance_is_ready(slots=count, provisioned=True)
        for _ in range(gateways):
            self.a_gateway_starts()
        self.the_control_plane_begins()

    # -- gateways

    @rule()
    @precondition(lambda self: sum(g.alive for g in self.gateways) < 4)
    def a_gateway_starts(self) -> None:
        self.pids += 1
        process = Process(Leases(f"g{self.pids}"), self.pids, position=len(self.store.feed))
        self.gateways.append(process)
        for instance_id, grants in self.store.grants.items():
            process.leases.read(instance_id, grants)
        self.mail.append(process.report())

    def living(self, at: int) -> Process | None:
        living = [g for g in self.gateways if g.alive]
        return living[at % len(living)] if living else None

    @rule(at=st.integers(0, 9), requests=st.integers(0, 6))
    def requests_come(self, at: int, requests: int) -> None:
        if process := self.living(at):
            process.requests = requests
            self.send(process)

    def send(self, process: Process) -> None:
        for instance_id, record in self.records.items():
            while (
                process.requests
                and record.state is InstanceState.READY
                and process.inside.get(instance_id, 0) < process.leases.slots(instance_id)
            ):
                process.requests -= 1
                process.inside[instance_id] = process.inside.get(instance_id, 0) + 1

    @rule(at=st.integers(0, 9), which=st.integers(0, 9))
    def a_request_ends(self, at: int, which: int) -> None:
        process = self.living(at)
        if process and (busy := sorted(i for i, count in process.inside.items() if count)):
            process.inside[busy[which % len(busy)]] -= 1
            self.send(process)

    @rule(at=st.integers(0, 9), entries=st.integers(1, 5))
    def a_gateway_reads_the_feed(self, at: int, entries: int) -> None:
        if process := self.living(at):
            for instance_id, grants in self.store.feed[process.position : process.position + entries]:
                process.leases.read(instance_id, grants)
            process.position = min(len(self.store.feed), process.position + entries)
            self.send(process)

    @rule(at=st.integers(0, 9))
    def a_gateway_reads_everything_again(self, at: int) -> None:
        if process := self.living(at):
            for instance_id in process.leases.known():
                if instance_id not in self.store.grants:
                    process.leases.read(instance_id, None)
            for instance_id, grants in self.store.grants.items():
                process.leases.read(instance_id, grants)
            process.position = len(self.store.feed)
            self.send(process)

    @rule(at=st.integers(0, 9))
    def a_gateway_reports(self, at: int) -> None:
        if process := self.living(at):
            self.mail.append(process.report())

    @rule(at=st.integers(0, 9))
    def a_gateway_is_killed(self, at: int) -> None:
        if process := self.living(at):
            process.alive = False
            process.inside = {}

    # -- messages

    @rule(at=st.integers(0, 99), twice=st.booleans())
    def a_report_arrives(self, at: int, twice: bool) -> None:
        if self.mail:
            report = self.mail[at % len(self.mail)] if twice else self.mail.pop(at % len(self.mail))
            self.book.hear(report, self.now_s)
            self.settle()

    @rule()
    def all_is_said_and_read(self) -> None:
        for process in self.gateways:
            if process.alive:
                self.book.hear(process.report(), self.now_s)
        self.settle()
        for at in range(len(self.gateways)):
            if self.living(at):
                self.a_gateway_reads_the_feed(at, 100)

    # -- instances

    @rule(slots=st.integers(1, 3), provisioned=st.booleans())
    @precondition(lambda self: len(self.records) < 5)
    def an_instance_is_ready(self, slots: int, provisioned: bool) -> None:
        self.pids += 1
        kind = Kind.PROVISIONED if provisioned else Kind.ON_DEMAND
        name = f"i{self.pids}"
        self.records[name] = InstanceRecord(name, "s", "f", "LATEST", "r", kind, InstanceState.READY, slots, "n")

    @rule(at=st.integers(0, 9), change=st.sampled_from(["drain", "relabel", "remove"]))
    def an_instance_changes(self, at: int, change: str) -> None:
        if not self.records:
            return
        name = sorted(self.records)[at % len(self.records)]
        record = self.records[name]
        if change == "drain":
            self.records[name] = replace(record, state=InstanceState.DRAINING)
        elif change == "relabel":
            other = Kind.ON_DEMAND if record.kind is Kind.PROVISIONED else Kind.PROVISIONED
            self.records[name] = replace(record, kind=other)
        else:
            del self.records[name]
            for process in self.gateways:
                process.inside.pop(name, None)

    # -- the control plane

    @rule()
    def the_control_plane_begins(self) -> None:
        """Also as a crash: what it knew is lost, what it wrote is there, and what it sent may arrive yet."""
        self.store.term += 1
        self.term = self.store.term
        self.book = LeaseBook(self.store.epoch, self.store.grants, self.store.holders)
        self.outcome = "ok"

    @rule(outcome=st.sampled_from(["ok", "ok", "lost", "answer lost", "late"]))
    def writes_will_be(self, outcome: str) -> None:
        self.outcome = outcome

    @rule(at=st.integers(0, 9))
    def a_late_write_arrives(self, at: int) -> None:
        if self.delayed:
            self._arrives(*self.delayed.pop(at % len(self.delayed)))

    @rule(step_s=st.floats(0.0, 1.0), even=st.booleans())
    def time_passes(self, step_s: float, even: bool) -> None:
        self.now_s += step_s
        for process in self.gateways:
            if not process.alive:
                self.book.gone(process.leases.gateway_id)
        self.settle(even=even)

    def settle(self, *, even: bool = False) -> None:
        self.book.sync(self.records.values())
        for key in self.book.versions():
            self.book.settle(key, self.now_s, even=even)
        batch = self.book.batch()
        if batch is None:
            return
        if self.outcome in ("ok", "answer lost"):
            self._arrives(self.term, batch)
        if self.outcome == "late":
            self.delayed.append((self.term, batch))
        if self.outcome != "ok":
            self.book.not_written(batch)

    def _arrives(self, term: int, batch: Batch) -> None:
        with suppress(Superseded):
            self.store.take(term, batch)

    # -- what must hold

    @invariant()
    def no_instance_may_have_more_inside_than_slots(self) -> None:
        for name, record in self.records.items():
            may = [max(g.leases.slots(name), g.inside.get(name, 0)) for g in self.gateways if g.alive]
            assert sum(may) <= record.slots, (name, may)

    def teardown(self) -> None:
        """And once everybody answers again, each slot is somebody's, and nobody waits while one is free."""
        if not hasattr(self, "book"):
            return
        self.outcome = "ok"
        for _ in range(12):
            self.time_passes(1.0, True)
            self.all_is_said_and_read()
        living = [g for g in self.gateways if g.alive]
        ready = {name: record for name, record in self.records.items() if record.state is InstanceState.READY}
        for name, record in ready.items():
            used = sum(max(g.leases.slots(name), g.inside.get(name, 0)) for g in living)
            assert not living or used == record.slots
        free = sum(record.slots for record in ready.values()) - sum(g.inside.get(n, 0) for g in living for n in ready)
        assert not free or not any(g.requests for g in living)


TestLeases = LeaseMachine.TestCase
TestLeases.settings = examples(150, stateful_step_count=60)

NAMES = ("a", "b", "c")


@st.composite
def shared(draw: st.DrawFn) -> tuple[int, dict[str, int], dict[str, int], dict[str, int]]:
    names = NAMES[: draw(st.integers(1, 3))]
    slots = draw(st.integers(0, 40))
    held, left = {}, slots
    for name in names:
        held[name] = draw(st.integers(0, left))
        left -= held[name]
    return (
        slots,
        {name: draw(st.integers(0, 30)) for name in names},
        {name: draw(st.integers(0, 5)) for name in names},
        held,
    )


@given(shared(), st.booleans())
@examples(300)
def test_all_slots_are_shared_out_and_nobody_lacks_one_that_another_does_not_need(
    case: tuple[int, dict[str, int], dict[str, int], dict[str, int]], even: bool
) -> None:
    slots, requests, background, held = case
    targets = share(slots, requests, background, held, Turns(), 1.0, even=even)
    assert sum(targets.values()) == slots
    assert all(count >= 0 for count in targets.values())
    if sum(requests.values()) <= slots:
        assert all(targets[name] >= requests[name] for name in requests)
        again = share(slots, requests, background, targets, Turns(), 1.0, even=even)
        assert again == targets, "done twice, nothing moves"
    else:
        fair = {name: slots * requests[name] / sum(requests.values()) for name in requests}
        assert all(abs(targets[name] - fair[name]) < len(fair) for name in fair)


@given(st.integers(1, 3), st.integers(2, 3), st.integers(1, 20))
@examples(60)
def test_too_few_slots_go_to_and_fro_in_equal_parts(slots: int, gateways: int, requests: int) -> None:
    names = NAMES[:gateways]
    asked = dict.fromkeys(names, slots * requests)
    held = {name: slots if name == "a" else 0 for name in names}
    turns, had = Turns(1.0, {}), dict.fromkeys(names, 0.0)
    steps = 600
    for step in range(steps):
        held = share(slots, asked, dict.fromkeys(names, 0), held, turns, 1.0 + step * TURN_S / 2)
        for name in names:
            had[name] += held[name] / steps
    for name in names:
        assert abs(had[name] - slots / gateways) < 0.05 * slots + 0.02
