"""A function version's slots and its queue: who gets a slot now, who waits for one, and who is told to come back later.

Pure: every method takes the time and gives what follows from it. A request binds to an instance only when a slot is
free, so a new instance takes from the backlog the moment it is ready, and nothing waits behind a slow request while
another instance is idle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from runtime.gateway.affinity import Sessions
from runtime.gateway.claim import PLAIN, Claim
from runtime.gateway.drain_rate import DrainRate
from runtime.gateway.hall import Hall
from runtime.gateway.line import Line, Ticket
from runtime.gateway.pick import Instance, Picker
from runtime.gateway.retry_budget import RetryBudget
from runtime.gateway.room import in_hall, in_line
from runtime.gateway.usage import Usage

__all__ = ["Full", "Gate", "Lease", "Ticket"]


@dataclass(frozen=True, slots=True)
class Full:
    """No slot is free, and the queue has no place for this request."""

    why: str
    retry_after_s: int
    outrun: tuple[Ticket, ...] = ()  # those that had to go for it, in vain as it turned out


class Lease:
    """One slot of one instance. Whoever holds it gives it back with `release`; again does nothing."""

    __slots__ = ("_gate", "_held", "_since_s", "cold_start", "instance", "is_background")

    def __init__(self, gate: Gate, instance: Instance, since_s: float, cold_start: bool) -> None:
        self._gate = gate
        self._held = True
        self.is_background = False  # of asynchronous work, which takes what requests leave
        self._since_s = since_s
        self.instance: Final = instance
        self.cold_start: Final = cold_start  # bound to an instance that became ready while the request waited

    def release(self, now_s: float) -> Ticket | None:
        """Give the slot back. A ticket that got it is given: tell its waiter."""
        if not self._held:
            return None
        self._held = False
        if self.is_background:
            self._gate.background_inside -= 1
        return self._gate._release(self.instance, now_s, self._since_s)


FAILED_STARTS_MAX: Final = 2
FAILURES_APART_S: Final = 0.5


class Gate:
    """All of one function version at one gateway."""

    def __init__(
        self,
        queue_length_max: int,
        queue_bytes_max: int | None = None,
        hall: Hall | None = None,
        retries: RetryBudget | None = None,
    ) -> None:
        """`hall` bounds what waits at this gate and others together, `retries` what is sent again."""
        self._queue_length_max: Final = queue_length_max
        self._queue_bytes_max: Final = inf if queue_bytes_max is None else queue_bytes_max
        self._hall: Final = hall
        self._retries: Final = retries
        self._picker = Picker()
        self._sessions = Sessions()
        self.line = Line()
        self.drain_rate = DrainRate()
        self._instances: dict[str, Instance] = {}
        self.usage = Usage()
        self.background_inside = 0  # of what is in flight, asynchronous work
        self.last_failure = ""  # why the last instance failed, "" once one has become ready since
        self._failed_starts = 0  # in a row
        self._failed_at_s = -inf
        self.on_idle: Callable[[], None] | None = None  # called when a slot is free that no queued request wanted

    # -- requests ------------------------------------------------------------------------------------------------------

    def reserve(self, waiter: Any, now_s: float, claim: Claim = PLAIN, held_bytes: int = 0) -> Lease | Ticket | Full:
        """A slot now, or a place in the queue; `waiter` is whom to tell of the lease, `held_bytes` what it holds."""
        self.usage.arrive(now_s)
        if self._picker and not self.line.length:
            return self._bind(now_s, None, claim.session)
        if not self.line.length:
            self.drain_rate.begin(now_s)
        refused = self._hopeless(now_s, claim)
        if refused is not None:
            return refused
        outrun, why = self._room(now_s, claim, held_bytes)
        if why:
            return Full(why, self.retry_after_s(now_s), outrun)
        ticket = Ticket(waiter, now_s, claim, held_bytes)
        ticket.outrun = outrun
        self._enqueue(ticket, now_s)
        return ticket

    def reserve_again(self, waiter: Any, now_s: float, claim: Claim = PLAIN, held_bytes: int = 0) -> Lease | Ticket:
        """For a request whose instance went away under it: never refused, and the first of its priority if it waits."""
        if self._picker and not self.line.length:
            return self._bind(now_s, None, claim.session)
        ticket = Ticket(waiter, now_s, claim, held_bytes)
        ticket.is_again = True
        if not self.line.length:
            self.drain_rate.begin(now_s)
        self._enqueue(ticket, now_s)
        return ticket

    def reserve_idle(self, now_s: float) -> Lease | None:
        """A slot that is free and that no queued request waits for; None: there is none, and no place in the queue.

        For work that may wait outside, so that it never stands before a request.
        """
        if not self._picker or self.line.length:
            return None
        self.usage.arrive(now_s)
        lease = self._bind(now_s, None)
        lease.is_background = True
        self.background_inside += 1
        return lease

    @property
    def idle_slots(self) -> int:
        """How often `reserve_idle` would give a slot now."""
        if not self._picker or self.line.length:
            return 0
        return sum(each.slots - each.in_flight for each in self._instances.values() if each.is_offered)

    def cancel(self, ticket: Ticket, now_s: float) -> None:
        """Leave the queue. A ticket that has left it, with or without a lease, does nothing."""
        if self.line.remove(ticket):
            self._left(ticket, now_s)

    def cancel_all(self, now_s: float) -> list[Ticket]:
        """Empty the queue, of a function that is no more; what it held is given: tell the waiters."""
        tickets = list(self.line)
        for ticket in tickets:
            self.cancel(ticket, now_s)
        return tickets

    def retry_after_s(self, now_s: float) -> int:
        """After how many whole seconds there should be room again."""
        return self.drain_rate.retry_after_s(self.line.length, now_s)

    def may_send_again(self, now_s: float) -> bool:
        """Whether one more request that was lost may be sent again; asking counts."""
        return self._retries is None or self._retries.take(now_s, self.usage.arrived_ever)

    def age(self, now_s: float) -> None:
        """To be called about once a second."""
        if self._retries is not None:
            self._retries.age(now_s, self.usage.arrived_ever)

    # -- instances -----------------------------------------------------------------------------------------------------

    def put_instance(self, instance_id: str, *, provisioned: bool, slots: int, now_s: float) -> list[Ticket]:
        """An instance is ready, or its label or its number of slots has changed. Gives the tickets that got a slot."""
        instance = self._instances.get(instance_id)
        if instance is None:
            instance = Instance(instance_id, provisioned=provisioned, slots=slots, ready_at_s=now_s)
            self._instances[instance_id] = instance
        else:
            self._picker.remove(instance)
            if provisioned != instance.provisioned:
                self.usage.relabel(now_s, instance.in_flight if provisioned else -instance.in_flight)
            instance.provisioned = provisioned
            instance.slots = slots
            instance.draining = instance.ejected = instance.removed = False
        self.last_failure = ""
        self._failed_starts = 0
        return self._offer(instance, now_s)

    def start_failed(self, reason: str, now_s: float) -> list[Ticket]:
        """An instance has failed that never was ready. Gives those who need not wait any more.

        Once may be chance, and another launch follows; twice in a row, with nothing that serves, is the function. What
        was launched together fails together, and counts once.
        """
        self.last_failure = reason
        if now_s - self._failed_at_s >= FAILURES_APART_S:
            self._failed_starts += 1
        self._failed_at_s = now_s
        hopeless = self._failed_starts >= FAILED_STARTS_MAX and not self.is_served
        return list(self.line) if hopeless else []

    def set_slots(self, instance_id: str, slots: int, now_s: float) -> list[Ticket]:
        """More or fewer of its slots are ours; fewer than are in flight takes effect as they end. Gives the tickets
        that got a slot. An unknown instance, or as many as before, does nothing."""
        instance = self._instances.get(instance_id)
        if instance is None or slots == instance.slots:
            return []
        self._picker.remove(instance)
        instance.slots = slots
        return self._offer(instance, now_s)

    def drain_instance(self, instance_id: str) -> None:
        """It takes nothing new. An unknown one is remembered, so that it can be told to be empty."""
        instance = self._instances.get(instance_id)
        if instance is None:
            instance = Instance(instance_id, provisioned=False, slots=0, ready_at_s=0.0)
            self._instances[instance_id] = instance
        self._picker.remove(instance)
        instance.draining = True

    def remove_instance(self, instance_id: str) -> None:
        """It is no more. Leases on it stay with their holders, who will notice."""
        instance = self._instances.get(instance_id)
        if instance is None:
            return
        self._picker.remove(instance)
        instance.removed = True
        if instance.in_flight == 0:
            del self._instances[instance_id]

    def eject_instance(self, instance_id: str) -> None:
        """Its address did not answer: it takes nothing new until it is restored or put again."""
        instance = self._instances.get(instance_id)
        if instance is not None:
            self._picker.remove(instance)
            instance.ejected = True

    def restore_instance(self, instance_id: str, now_s: float) -> list[Ticket]:
        """Its address answers again. Gives the tickets that got a slot."""
        instance = self._instances.get(instance_id)
        if instance is None or not instance.ejected:
            return []
        instance.ejected = False
        return self._offer(instance, now_s)

    def instances(self) -> Iterator[Instance]:
        return iter(self._instances.values())

    def instance(self, instance_id: str) -> Instance | None:
        return self._instances.get(instance_id)

    @property
    def is_served(self) -> bool:
        """There is an instance that takes requests, if only later."""
        return any(not (each.draining or each.ejected or each.removed) for each in self._instances.values())

    @property
    def is_unused(self) -> bool:
        """No instance, no request: nothing is lost when it goes."""
        return not self._instances and not self.line.length

    # -- inside --------------------------------------------------------------------------------------------------------

    def _bind(self, now_s: float, queued_at_s: float | None, session: bytes = b"") -> Lease:
        picker = self._picker
        instance = picker.enter() if not session else self._sessions.enter(session, picker, self._instances)
        self.usage.enter(now_s, instance.provisioned)
        return Lease(self, instance, now_s, queued_at_s is not None and instance.ready_at_s >= queued_at_s)

    def _enqueue(self, ticket: Ticket, now_s: float) -> None:
        self.line.push(ticket)
        self.usage.enqueue(now_s)
        if self._hall is not None:
            self._hall.changed(self, 1, ticket.held_bytes)

    def _left(self, ticket: Ticket, now_s: float) -> None:
        self.usage.dequeue(now_s, ticket.queued_at_s)
        if self._hall is not None:
            self._hall.changed(self, -1, -ticket.held_bytes)

    def _hopeless(self, now_s: float, claim: Claim) -> Full | None:
        """Refuses who would wait in vain. Never the first: a queue that is kept empty asks for no instance."""
        if claim.wait_s_max == inf or not self.line.length or not self.is_served:
            return None
        wait_s = self.drain_rate.wait_s(self.line.ahead_of(claim.priority), now_s)
        if wait_s is None or wait_s <= claim.wait_s_max:
            return None
        why = f"no instance is free, and to wait would take {wait_s:.3g} s: {claim.wait_s_max:g} s are allowed here"
        return Full(why, self.retry_after_s(now_s))

    def _room(self, now_s: float, claim: Claim, held_bytes: int) -> tuple[tuple[Ticket, ...], str]:
        """Makes room in the queue and in the hall. Gives those that had to go, and why there is none all the same."""
        goes = in_line(self.line, self._queue_length_max, self._queue_bytes_max, claim.priority, held_bytes)
        if isinstance(goes, str):
            return (), goes
        for ticket in goes:
            self.cancel(ticket, now_s)
        hall = self._hall
        while hall is not None:
            step = in_hall(self, hall, claim.priority, held_bytes)
            if step is None:
                break
            if isinstance(step, str):
                return goes, step
            gate, ticket = step
            gate.cancel(ticket, now_s)
            goes += (ticket,)
        return goes, ""

    def _offer(self, instance: Instance, now_s: float) -> list[Ticket]:
        if instance.is_offered:
            self._picker.add(instance)
        bound: list[Ticket] = []
        while self.line.length and self._picker:
            bound.append(self._bind_first(now_s))
        if self._picker and self.on_idle is not None:
            self.on_idle()
        return bound

    def _bind_first(self, now_s: float) -> Ticket:
        ticket = self.line.pop()
        self._left(ticket, now_s)
        self.drain_rate.turn(now_s)
        ticket.lease = self._bind(now_s, ticket.queued_at_s, ticket.claim.session)
        return ticket

    def _release(self, instance: Instance, now_s: float, since_s: float) -> Ticket | None:
        offered = self._picker.leave(instance)
        instance.last_finished_s = now_s
        self.usage.leave(now_s, instance.provisioned, since_s)
        if offered:
            if self.line.length:
                return self._bind_first(now_s)
            if self.on_idle is not None:
                self.on_idle()
            return None
        if instance.removed and instance.in_flight == 0:
            self._instances.pop(instance.instance_id, None)
        return None
