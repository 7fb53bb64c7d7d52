"""Whatever happens to a gate, in whatever order, some things hold."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runtime.gateway.gate import Full, Gate, Lease, Ticket
from runtime.gateway.pick import Instance
from tests.support.examples import examples

QUEUE_LENGTH_MAX = 5
IDS = st.sampled_from(["a", "b", "c", "d"])


class GateMachine(RuleBasedStateMachine):
    """A gate beside the simplest model of it: which instance should be picked, and who is first in the queue."""

    @initialize()
    def begin(self) -> None:
        self.now_s = 1.0
        self.gate = Gate(QUEUE_LENGTH_MAX)
        self.leases: list[Lease] = []
        self.queue: list[Ticket] = []
        self.known: dict[str, tuple[bool, int]] = {}  # offered instances: provisioned, slots
        self.used: dict[str, int] = {}  # when each was used last
        self.inside: dict[str, int] = {}
        self.uses = 0
        self.demand_s = 0.0

    # -- the model

    def expected(self) -> str | None:
        """The rule, read word by word over all instances."""
        free = [i for i, (_, slots) in self.known.items() if self.inside.get(i, 0) < slots]
        if not free:
            return None
        return min(free, key=lambda i: (not self.known[i][0], self.inside.get(i, 0), -self.used[i]))

    def touch(self, instance_id: str) -> None:
        self.uses += 1
        self.used[instance_id] = self.uses

    def take(self, lease: Lease, expected: str | None) -> None:
        assert lease.instance.instance_id == expected
        assert expected is not None
        self.inside[expected] = self.inside.get(expected, 0) + 1
        self.touch(expected)
        self.leases.append(lease)

    def bound(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            assert ticket is self.queue.pop(0), "first come, first served"
            assert ticket.lease is not None
            self.take(ticket.lease, self.expected())

    # -- what may happen

    @rule(step_s=st.floats(0.0, 10.0))
    def time_passes(self, step_s: float) -> None:
        self.demand_s += (len(self.leases) + len(self.queue)) * step_s
        self.now_s += step_s

    @rule(again=st.booleans())
    def a_request_comes(self, again: bool) -> None:
        expected = None if self.queue else self.expected()
        got = self.gate.reserve_again(None, self.now_s) if again else self.gate.reserve(None, self.now_s)
        if isinstance(got, Lease):
            self.take(got, expected)
        elif isinstance(got, Ticket):
            assert expected is None, "nobody waits while a slot is free"
            self.queue.insert(0 if again else len(self.queue), got)
        else:
            assert isinstance(got, Full)
            assert len(self.queue) >= QUEUE_LENGTH_MAX

    @rule(at=st.integers(0, 100))
    def a_request_ends(self, at: int) -> None:
        if not self.leases:
            return
        lease = self.leases.pop(at % len(self.leases))
        instance_id = lease.instance.instance_id
        self.inside[instance_id] -= 1
        self.touch(instance_id)
        ticket = lease.release(self.now_s)
        self.bound([ticket] if ticket else [])
        assert lease.release(self.now_s) is None

    @rule(at=st.integers(0, 100))
    def a_client_leaves_the_queue(self, at: int) -> None:
        if self.queue:
            self.gate.cancel(self.queue.pop(at % len(self.queue)), self.now_s)

    @rule(instance_id=IDS, provisioned=st.booleans(), slots=st.integers(1, 3))
    def an_instance_is_ready_or_changes(self, instance_id: str, provisioned: bool, slots: int) -> None:
        self.known[instance_id] = (provisioned, slots)
        self.touch(instance_id)
        self.bound(
            self.gate.put_instance(instance_id, provisioned=provisioned, slots=slots, now_s=self.now_s),
        )

    @rule(instance_id=IDS, how=st.sampled_from([Gate.drain_instance, Gate.eject_instance, Gate.remove_instance]))
    def an_instance_goes(self, instance_id: str, how: object) -> None:
        if instance_id in self.known:
            del self.known[instance_id]
            assert callable(how)
            how(self.gate, instance_id)

    # -- what must hold

    @invariant()
    def no_instance_has_more_inside_than_slots_unless_they_became_fewer(self) -> None:
        for instance in self.instances():
            assert instance.in_flight == self.inside.get(instance.instance_id, 0)
            assert instance.in_flight >= 0

    @invariant()
    def nobody_waits_while_a_slot_is_free(self) -> None:
        if self.queue:
            assert self.expected() is None

    @invariant()
    def the_counts_are_exact(self) -> None:
        usage = self.gate.usage
        usage.advance(self.now_s)
        assert usage.in_flight == len(self.leases)
        assert usage.queued == len(self.queue)
        assert abs(usage.demand_request_s - self.demand_s) < 1e-6
        provisioned = sum(lease.instance.provisioned for lease in self.leases)
        assert usage.in_flight_provisioned == provisioned

    def instances(self) -> list[Instance]:
        return list(self.gate.instances())


TestGate = GateMachine.TestCase
TestGate.settings = examples(150, stateful_step_count=60)
