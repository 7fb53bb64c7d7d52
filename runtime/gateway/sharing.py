"""What a gateway does because others serve the same port: it uses only the slots that it was granted, and says at once
what it lacks and what it has given up. `Alone` is the gateway that has no others: all slots are its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Final, Protocol

from runtime.contract import InstanceRecord, VersionKey
from runtime.gateway.feeds import decode
from runtime.gateway.gate import Gate, Ticket
from runtime.gateway.leases import Leases, make_lease_report, requests_at
from runtime.gateway.pick import Instance
from runtime.gateway.settings import GatewaySettings
from runtime.leasing import Grants, Holder, LeaseReport
from runtime.processes import host_id, start_time

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
# Requests that come together are told of together; and while they go on coming, this often.
DEBOUNCE_S: Final = 0.002
PAUSE_S: Final = 0.02
TIMER_RESOLUTION_S: Final = 1e-4  # a timer may fire this much early


class Sharing(Protocol):
    def slots(self, record: InstanceRecord) -> int:
        """How many of an instance's slots may be used here."""

    def load(self, grants: Mapping[str, str]) -> None:
        """All grants there are."""

    def change(self, instance_id: str, value: str) -> None:
        """The grants of one instance; "" when it is no more."""

    def released(self, instance: Instance) -> None:
        """A request has left an instance."""

    def short(self) -> None:
        """A request waits for a slot."""

    def give_up(self) -> None:
        """Nothing new is sent to any instance from now on."""

    async def run(self) -> None: ...


class Alone:
    def slots(self, record: InstanceRecord) -> int:
        return record.slots

    def load(self, grants: Mapping[str, str]) -> None: ...

    def change(self, instance_id: str, value: str) -> None: ...

    def released(self, instance: Instance) -> None: ...

    def short(self) -> None: ...

    def give_up(self) -> None: ...

    async def run(self) -> None: ...


class Shared:
    def __init__(
        self,
        gateway_id: str,
        gates: Mapping[VersionKey, Gate],
        gate_of: Callable[[str], Gate | None],
        wake: Callable[[list[Ticket]], None],
        publish: Callable[[LeaseReport], Awaitable[None]],
        holder: Holder,
    ) -> None:
        """`gate_of` gives the gate of a READY instance; `publish` may raise OSError, and the report is lost then;
        `holder` is this process."""
        self._leases = Leases(gateway_id)
        self._gates = gates
        self._gate_of = gate_of
        self._wake = wake
        self._publish = publish
        self._holder = holder
        self._sequence = 0
        self._wanted = asyncio.Event()
        self._at_once = False
        self._is_short = False  # a request has begun to wait since the last report
        self._is_fewer = False  # there may be far fewer than were told of
        self._owed: set[str] = set()  # instances with more inside than is granted
        self._told: dict[Gate, int] = {}  # the requests of the last report, where there were any
        self._said_at_s = 0.0
        self._looked_at_s = 0.0  # whether there are far fewer

    def slots(self, record: InstanceRecord) -> int:
        return min(record.slots, self._leases.slots(record.instance_id))

    def load(self, grants: Mapping[str, str]) -> None:
        for instance_id in self._leases.known():
            if instance_id not in grants:
                self.change(instance_id, "")
        for instance_id, value in grants.items():
            self.change(instance_id, value)
        self._say_at_once()

    def change(self, instance_id: str, value: str) -> None:
        try:
            grants = Grants.from_dict(decode(value)) if value else None
        except (ValueError, TypeError) as error:
            log.error("grants-unreadable instance=%s error=%r", instance_id, str(error))
            return
        before = self._leases.slots(instance_id)
        if not self._leases.read(instance_id, grants):
            return
        slots = self._leases.slots(instance_id)
        gate = self._gate_of(instance_id)
        if gate is not None:
            self._wake(gate.set_slots(instance_id, slots, monotonic()))
            instance = gate.instance(instance_id)
            if instance is not None and instance.in_flight > slots:
                self._owed.add(instance_id)
        if slots < before:
            self._say_at_once()

    def released(self, instance: Instance) -> None:
        if instance.instance_id in self._owed:
            if instance.in_flight <= instance.slots:
                self._owed.discard(instance.instance_id)
            self._say_at_once()
        if self._told and not self._is_fewer:
            gate = self._gate_of(instance.instance_id)
            if gate is not None and _is_far_fewer(requests_at(gate), self._told.get(gate, 0)):
                self._is_fewer = True
                self._wanted.set()

    def short(self) -> None:
        self._is_short = True
        self._wanted.set()

    def give_up(self) -> None:
        self._leases.is_over = True
        for instance_id in self._leases.known():
            if (gate := self._gate_of(instance_id)) is not None:
                self._wake(gate.set_slots(instance_id, 0, monotonic()))

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._wanted.wait()
                if not self._at_once:
                    await self._gather()
            self._wanted.clear()
            if self._is_passed():
                self._is_fewer, self._looked_at_s = False, asyncio.get_running_loop().time()
                continue
            self._at_once = self._is_short = self._is_fewer = False
            await self._report()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _is_passed(self) -> bool:
        """Whether nothing is to be said but that there are fewer requests, and there are as many again by now."""
        if self._at_once or self._is_short or not self._is_fewer:
            return False
        if asyncio.get_running_loop().time() >= self._said_at_s + EVERY_S:
            return False
        return not any(_is_far_fewer(requests_at(gate), told) for gate, told in self._told.items())

    def _say_at_once(self) -> None:
        self._at_once = True
        self._wanted.set()

    async def _gather(self) -> None:
        """A moment, for requests that come together; cut short when something was given up."""
        clock = asyncio.get_running_loop().time
        begun_s = clock()
        while not self._at_once:
            last_s = self._said_at_s if self._is_short else max(self._said_at_s, self._looked_at_s)
            left_s = max(begun_s + DEBOUNCE_S, last_s + PAUSE_S) - clock()
            if left_s <= TIMER_RESOLUTION_S:
                return
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._wanted.wait()

    async def _report(self) -> None:
        self._sequence += 1
        self._said_at_s = asyncio.get_running_loop().time()
        report = make_lease_report(self._leases, self._holder, self._sequence, self._gates)
        self._told = {gate: requests for gate in self._gates.values() if (requests := requests_at(gate))}
        try:
            await self._publish(report)
        except OSError as error:
            log.debug("lease-report-lost sequence=%d reason=%r", report.sequence, str(error))


def _is_far_fewer(requests: int, told: int) -> bool:
    """Whether so many would be kept slots for in vain that it is worth a report."""
    return bool(told) and requests * 2 <= told


def sharing_of(
    settings: GatewaySettings,
    gates: Mapping[VersionKey, Gate],
    gate_of: Callable[[str], Gate | None],
    wake: Callable[[list[Ticket]], None],
    publish: Callable[[LeaseReport], Awaitable[None]] | None,
) -> Sharing:
    """`Alone` for a gateway that has its port for itself."""
    if not settings.shares:
        return Alone()
    assert publish is not None, "whoever shares must be able to say what it needs"
    pid = os.getpid()
    holder = Holder(pid, start_time(pid))
    if settings.lease_s:
        holder = Holder(pid, start_time(pid), host_id(), settings.lease_s, settings.word_s)
    return Shared(settings.id, gates, gate_of, wake, publish, holder)


def part_of(count: int, settings: GatewaySettings) -> int:
    """This gateway's part of something that all of them see, so that the parts add up to it."""
    return (count + settings.gateways - settings.number) // settings.gateways
