"""Queues that share one hall: whatever comes, bounds hold, and nobody is robbed by one who has more."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runtime.gateway.claim import Claim
from runtime.gateway.gate import Full, Gate, Lease, Ticket
from runtime.gateway.hall import Hall
from tests.support.examples import examples

GATES, LENGTH_MAX, BYTES_MAX, ALL_LENGTH_MAX, ALL_BYTES_MAX = 3, 6, 600, 10, 1000


class HallMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now_s = 1.0
        self.hall = Hall(ALL_LENGTH_MAX, ALL_BYTES_MAX)
        self.gates = [Gate(LENGTH_MAX, BYTES_MAX, self.hall) for _ in range(GATES)]
        self.leases: list[Lease] = []
        self.waiting: dict[Ticket, int] = {}  # and at which gate

    def places(self, at: int) -> int:
        line = self.gates[at].line
        return self.hall.places(line.length, line.held_bytes)

    @rule(step_s=st.floats(0.0, 10.0))
    def time_passes(self, step_s: float) -> None:
        self.now_s += step_s

    @rule(at=st.integers(0, GATES - 1), priority=st.integers(0, 9), held_bytes=st.integers(0, 700))
    def a_request_comes(self, at: int, priority: int, held_bytes: int) -> None:
        gate, before = self.gates[at], [self.places(n) for n in range(GATES)]
        waited = gate.line.length
        got = gate.reserve("waiter", self.now_s, Claim(priority=priority), held_bytes)
        if isinstance(got, Lease):
            assert not waited, "nobody overtakes"
            self.leases.append(got)
            return
        for gone in got.outrun:
            other = self.waiting.pop(gone)
            if other == at:
                assert gone.claim.priority < priority, "only one of higher priority takes a place in its own queue"
            else:
                assert before[other] > 1, "the only one of a function keeps its place"
                assert before[other] > self.hall.places(1, held_bytes), "from those who have more"
        if isinstance(got, Full):
            assert 1 <= got.retry_after_s <= 60
            fits = gate.line.length < LENGTH_MAX and gate.line.held_bytes + held_bytes <= BYTES_MAX
            assert not fits or self.hall.is_full_for(held_bytes), "refused only where there is no room"
        else:
            self.waiting[got] = at

    @rule(at=st.integers(0, 100))
    def one_leaves(self, at: int) -> None:
        if self.waiting:
            ticket = list(self.waiting)[at % len(self.waiting)]
            self.gates[self.waiting.pop(ticket)].cancel(ticket, self.now_s)

    @rule(at=st.integers(0, GATES - 1), slots=st.integers(1, 3))
    def an_instance_is_ready(self, at: int, slots: int) -> None:
        self.bound(self.gates[at].put_instance("i", provisioned=True, slots=slots, now_s=self.now_s))

    @rule(at=st.integers(0, 100))
    def a_request_ends(self, at: int) -> None:
        if self.leases:
            ticket = self.leases.pop(at % len(self.leases)).release(self.now_s)
            self.bound([ticket] if ticket else [])

    def bound(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            at = self.waiting.pop(ticket)
            assert all(other.claim.priority <= ticket.claim.priority for other, n in self.waiting.items() if n == at)
            assert ticket.lease is not None
            self.leases.append(ticket.lease)

    @invariant()
    def no_bound_is_ever_exceeded(self) -> None:
        for gate in self.gates:
            assert gate.line.length <= LENGTH_MAX
            assert gate.line.held_bytes <= BYTES_MAX
        assert self.hall.length <= ALL_LENGTH_MAX
        assert self.hall.held_bytes <= ALL_BYTES_MAX

    @invariant()
    def the_sums_are_exact(self) -> None:
        assert self.hall.length == sum(gate.line.length for gate in self.gates) == len(self.waiting)
        assert self.hall.held_bytes == sum(ticket.held_bytes for ticket in self.waiting)
        for at, gate in enumerate(self.gates):
            assert set(gate.line) == {ticket for ticket, n in self.waiting.items() if n == at}
            assert gate.usage.queued == gate.line.length
        largest = self.hall.largest()
        most = max(self.places(at) for at in range(GATES))
        assert (0 if largest is None else self.hall.places_of(largest)) == most


TestHall = HallMachine.TestCase
TestHall.settings = examples(80, stateful_step_count=60)
