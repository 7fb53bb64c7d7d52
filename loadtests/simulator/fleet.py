"""The fleet in virtual time: the real `plan` says what to launch and drain, launches take their time, some things fail.

It follows `control_plane.fleet.keeper` step by step, without its store and its backend.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from control_plane.fleet.backoff import HEALTHY_AFTER_S, Backoff
from control_plane.fleet.keeper import DRAIN_CHECK_S
from control_plane.fleet.placement import Placed
from control_plane.fleet.plan import NOTHING, Plan, Unit, Want, plan
from control_plane.fleet.usage import UsageBook
from loadtests.simulator.devices import Devices
from loadtests.simulator.front import Front
from loadtests.simulator.kernel import Kernel
from loadtests.simulator.scenario import Scenario
from runtime.contract import InstanceState, Kind

REVISION: Final = "simulated"
LIVE: Final = (InstanceState.LAUNCHING, InstanceState.READY)


@dataclass(slots=True, eq=False)
class Instance:
    """One instance from its launch to its end, in seconds since the beginning. Paid for from the first to the last."""

    instance_id: str
    kind: Kind
    launched_s: float
    state: InstanceState = InstanceState.LAUNCHING
    ready_s: float | None = None
    drained_s: float | None = None
    ended_s: float | None = None
    place: Placed | None = None  # on a device
    useful: bool = False  # took a request for which those that were ready before it had no slot


@dataclass(frozen=True, slots=True)
class Census:
    """How many there are. DRAINING ones count nowhere."""

    ready: int
    starting: int
    ready_provisioned: int
    starting_provisioned: int
    on_demand: int  # ready or starting
    starting_provisioned_s: tuple[float, ...]  # when each of them was launched, since the beginning
    newest_ready_s: float | None  # of the provisioned ones, since the beginning


class Fleet:
    """All instances of the one function version."""

    def __init__(
        self,
        kernel: Kernel,
        scenario: Scenario,
        began_utc_s: float,
        usage: UsageBook,
        changed: Callable[[], None],
        *,
        launches_at_once_max: int,
    ) -> None:
        self.front: Front  # set by whoever makes both
        self._kernel = kernel
        self._scenario = scenario
        self._began_utc_s = began_utc_s
        self._usage = usage
        self._changed = changed
        self._launches_at_once_max = launches_at_once_max
        self._random = random.Random(scenario.seed)
        self._backoff = Backoff()
        self._devices = Devices(scenario.devices_mib, scenario.gpu_memory_mib) if scenario.devices_mib else None
        self._there: dict[str, Instance] = {}
        self._ready: list[Instance] = []  # in the order in which they became so
        self._census: Census | None = None  # until something changes
        self.all: list[Instance] = []

    # -- looking ----------------------------------------------------------------------------------------------------

    def census(self) -> Census:
        if self._census is None:
            self._census = self._count()
        return self._census

    def _count(self) -> Census:
        ready = provisioned = starting = starting_provisioned = 0
        launched_s: list[float] = []
        newest_s: float | None = None
        for instance in self._there.values():
            kept = instance.kind is Kind.PROVISIONED
            if instance.state is InstanceState.READY:
                ready += 1
                provisioned += kept
                if kept and instance.ready_s is not None and (newest_s is None or instance.ready_s > newest_s):
                    newest_s = instance.ready_s
            elif instance.state is InstanceState.LAUNCHING:
                starting += 1
                if kept:
                    starting_provisioned += 1
                    launched_s.append(instance.launched_s)
        on_demand = ready - provisioned + starting - starting_provisioned
        return Census(ready, starting, provisioned, starting_provisioned, on_demand, tuple(launched_s), newest_s)

    def live(self) -> int:
        return sum(i.state in LIVE for i in self._there.values())

    def room(self) -> int | None:
        """How many more the devices hold; None without a limit."""
        rooms = [] if self._devices is None else [self._devices.fits()]
        if self._scenario.capacity is not None:
            rooms.append(max(0, self._scenario.capacity - self.live()))
        return min(rooms, default=None)

    def most(self) -> int | None:
        """How many there can be at all; None without a limit."""
        most = [] if self._devices is None else [self._devices.instances_max]
        return min([*most, *([] if self._scenario.capacity is None else [self._scenario.capacity])], default=None)

    def took(self, instance_id: str, requests: int) -> None:
        """An instance took a request, as one of so many: useful if the instances ready before it had no slot for it."""
        instance = self._there[instance_id]
        if not instance.useful and instance.state is InstanceState.READY:
            instance.useful = requests > self._scenario.slots * self._ready.index(instance)

    def _units(self) -> list[Unit]:
        usage, began = self._usage, self._began_utc_s
        return [
            Unit(
                instance_id=i.instance_id,
                kind=i.kind,
                state=i.state,
                revision=REVISION,
                launched_at_s=began + i.launched_s,
                in_flight=usage.in_flight(i.instance_id),
                idle_since_s=max(0.0 if i.ready_s is None else began + i.ready_s, usage.last_used_s(i.instance_id)),
            )
            for i in self._there.values()
            if i.state in LIVE
        ]

    # -- deciding and doing -----------------------------------------------------------------------------------------

    def settle(self, want: Want) -> Plan:
        """Plan, and carry the plan out."""
        if self._is_settled(want):
            return NOTHING
        units = self._units()
        todo = plan(replace(want, launches_max=self._launches_max(want, units), room=want.launches_max), units)
        for _ in range(todo.launch_provisioned):
            self._launch(Kind.PROVISIONED)
        for _ in range(todo.launch_on_demand):
            self._launch(Kind.ON_DEMAND)
        for instance_id, kind in todo.relabel:
            instance = self._there[instance_id]
            instance.kind, self._census = kind, None
            if instance.state is InstanceState.READY:
                self.front.put(instance_id, provisioned=kind is Kind.PROVISIONED)
        for instance_id, _ in todo.drain:
            self._drain(self._there[instance_id])
        return todo

    def _is_settled(self, want: Want) -> bool:
        """As many as wanted and none on demand, nor may one be: the plan would be empty."""
        there = self.census()
        wanted = want.provisioned == there.ready_provisioned + there.starting_provisioned
        return wanted and not there.on_demand and (not want.queued or not want.on_demand_max)

    def _launches_max(self, want: Want, units: list[Unit]) -> int:
        if not self._backoff.allows(want.now):
            return 0
        starting = sum(unit.is_starting for unit in units)
        at_once = min(self._launches_at_once_max, self._backoff.launches_max or self._launches_at_once_max)
        return max(0, min(want.launches_max, at_once - starting))

    def _launch(self, kind: Kind) -> None:
        instance = Instance(f"c-{len(self.all):06d}", kind, self._kernel.now_s)
        if self._devices is not None:
            instance.place = self._devices.take()
        self.all.append(instance)
        self._there[instance.instance_id], self._census = instance, None
        fails = self._random.random() < self._scenario.launch_failure_share
        self._kernel.at(self._kernel.now_s + self._scenario.launch_s, self._launched, instance, fails)

    def _launched(self, instance: Instance, fails: bool) -> None:
        if instance.state is not InstanceState.LAUNCHING:
            return
        now_s = self._kernel.now_s
        if fails:
            self._failed("simulated failure of a launch")
            self._end(instance, InstanceState.FAILED)
            return
        instance.state, instance.ready_s, self._census = InstanceState.READY, now_s, None
        self._ready.append(instance)
        self._backoff = replace(self._backoff, error="")
        if self._scenario.crashes_per_instance_hour:
            lives_s = self._random.expovariate(self._scenario.crashes_per_instance_hour / 3600.0)
            self._kernel.at(now_s + lives_s, self._crash, instance)
        self.front.put(instance.instance_id, provisioned=instance.kind is Kind.PROVISIONED)
        self._changed()

    def _failed(self, reason: str) -> None:
        now_s = self._kernel.now_s
        healthy = any(i.ready_s is not None and now_s - i.ready_s >= HEALTHY_AFTER_S for i in self._there.values())
        self._backoff = (Backoff() if healthy else self._backoff).failed(self._began_utc_s + now_s, reason)

    def _crash(self, instance: Instance) -> None:
        if instance.ended_s is None:
            if instance.ready_s is not None and self._kernel.now_s - instance.ready_s < HEALTHY_AFTER_S:
                self._failed("simulated crash")
            self._end(instance, InstanceState.FAILED)

    def _drain(self, instance: Instance) -> None:
        """One that was never ready is stopped at once; the others when the gateway has said that they are empty."""
        if instance.ready_s is None:
            self._end(instance, InstanceState.STOPPED)
            return
        instance.state, instance.drained_s, self._census = InstanceState.DRAINING, self._kernel.now_s, None
        self._ready.remove(instance)
        self.front.drain(instance.instance_id)
        self._look_whether_drained(instance)

    def _look_whether_drained(self, instance: Instance) -> None:
        if instance.ended_s is not None:
            return
        assert instance.drained_s is not None
        if self._usage.is_drained(instance.instance_id):
            self._end(instance, InstanceState.STOPPED)
        elif self._kernel.now_s - instance.drained_s >= self._scenario.drain_timeout_s:
            self._kernel.at(self._kernel.now_s + self._scenario.stop_grace_s, self._stop, instance)
        else:
            self._kernel.at(self._kernel.now_s + DRAIN_CHECK_S, self._look_whether_drained, instance)

    def _stop(self, instance: Instance) -> None:
        if instance.ended_s is None:
            self._end(instance, InstanceState.STOPPED)

    def _end(self, instance: Instance, state: InstanceState) -> None:
        if instance in self._ready:
            self._ready.remove(instance)
        was_ready = instance.ready_s is not None
        instance.state, instance.ended_s = state, self._kernel.now_s
        del self._there[instance.instance_id]
        self._census = None
        if self._devices is not None and instance.place is not None:
            self._devices.give_back(instance.place)
        self._usage.forget_instance(instance.instance_id)
        if was_ready:
            self.front.remove(instance.instance_id)
        self._changed()
