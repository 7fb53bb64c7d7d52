"""A function version's slots and its queue: who gets a slot now, who waits for one, and who is told to come back later.

Pure: every method takes the time and gives what follows from it. A request binds to an instance only when a slot is
free, so a new instance takes from the backlog the moment it is ready, and nothing waits behind a slow request while
another instance is idle.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from runtime.gateway.pick import Instance, Picker
from runtime.gateway.usage import Usage


@dataclass(frozen=True, slots=True)
class Full:
    """No slot is free and the queue has no place left."""

    queue_length_max: int


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


class Ticket:
    """A place in the queue. `lease` is set when its turn has come."""

    __slots__ = ("lease", "queued_at_s", "waiter")

    def __init__(self, waiter: Any, queued_at_s: float) -> None:
        self.waiter: Final = waiter
        self.queued_at_s: Final = queued_at_s
        self.lease: Lease | None = None


class Gate:
    """All of one function version at one gateway."""

    def __init__(self, queue_length_max: int) -> None:
        self._queue_length_max: Final = queue_length_max
        self._picker = Picker()
        self._queue: OrderedDict[Ticket, None] = OrderedDict()
        self._instances: dict[str, Instance] = {}
        self.usage = Usage()
        self.background_inside = 0  # of what is in flight, asynchronous work
        self.last_failure = ""  # why the last instance failed, "" once one has become ready since
        self.on_idle: Callable[[], None] | None = None  # called when a slot is free that no queued request wanted

    # -- requests ------------------------------------------------------------------------------------------------------

    def reserve(self, waiter: Any, now_s: float) -> Lease | Ticket | Full:
        """A slot now, or a place at the end of the queue; `waiter` is whom to tell of the lease."""
        self.usage.arrive(now_s)
        if self._picker and not self._queue:
            return self._bind(now_s, None)
        if len(self._queue) >= self._queue_length_max:
            return Full(self._queue_length_max)
        return self._enqueue(waiter, now_s)

    def reserve_again(self, waiter: Any, now_s: float) -> Lease | Ticket:
        """For a request whose instance went away under it: never refused, and the first in the queue if it waits."""
        if self._picker and not self._queue:
            return self._bind(now_s, None)
        ticket = self._enqueue(waiter, now_s)
        self._queue.move_to_end(ticket, last=False)
        return ticket

    def reserve_idle(self, now_s: float) -> Lease | None:
        """A slot that is free and that no queued request waits for; None: there is none, and no place in the queue.

        For work that may wait outside, so that it never stands before a request.
        """
        if not self._picker or self._queue:
            return None
        self.usage.arrive(now_s)
        lease = self._bind(now_s, None)
        lease.is_background = True
        self.background_inside += 1
        return lease

    @property
    def idle_slots(self) -> int:
        """How often `reserve_idle` would give a slot now."""
        if not self._picker or self._queue:
            return 0
        return sum(each.slots - each.in_flight for each in self._instances.values() if each.is_offered)

    def cancel(self, ticket: Ticket, now_s: float) -> None:
        """Leave the queue. A ticket that has left it, with or without a lease, does nothing."""
        if ticket in self._queue:
            del self._queue[ticket]
            self.usage.dequeue(now_s, ticket.queued_at_s)

    def cancel_all(self, now_s: float) -> list[Ticket]:
        """Empty the queue, of a function that is no more; what it held is given: tell the waiters."""
        tickets = list(self._queue)
        for ticket in tickets:
            self.cancel(ticket, now_s)
        return tickets

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
        return self._offer(instance, now_s)

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
        return not self._instances and not self._queue

    # -- inside --------------------------------------------------------------------------------------------------------

    def _bind(self, now_s: float, queued_at_s: float | None) -> Lease:
        instance = self._picker.enter()
        self.usage.enter(now_s, instance.provisioned)
        return Lease(self, instance, now_s, queued_at_s is not None and instance.ready_at_s >= queued_at_s)

    def _enqueue(self, waiter: Any, now_s: float) -> Ticket:
        ticket = Ticket(waiter, now_s)
        self._queue[ticket] = None
        self.usage.enqueue(now_s)
        return ticket

    def _offer(self, instance: Instance, now_s: float) -> list[Ticket]:
        if instance.is_offered:
            self._picker.add(instance)
        bound: list[Ticket] = []
        while self._queue and self._picker:
            bound.append(self._bind_first(now_s))
        if self._picker and self.on_idle is not None:
            self.on_idle()
        return bound

    def _bind_first(self, now_s: float) -> Ticket:
        ticket, _ = self._queue.popitem(last=False)
        self.usage.dequeue(now_s, ticket.queued_at_s)
        ticket.lease = self._bind(now_s, ticket.queued_at_s)
        return ticket

    def _release(self, instance: Instance, now_s: float, since_s: float) -> Ticket | None:
        offered = self._picker.leave(instance)
        instance.last_finished_s = now_s
        self.usage.leave(now_s, instance.provisioned, since_s)
        if offered:
            if self._queue:
                return self._bind_first(now_s)
            if self.on_idle is not None:
                self.on_idle()
            return None
        if instance.removed and instance.in_flight == 0:
            self._instances.pop(instance.instance_id, None)
        return None
