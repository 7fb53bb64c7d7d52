"""The instances that the control plane says are there: each has a place in its gate and a pool of connections.

An instance whose address does not answer is taken out of its gate at once (the control plane may learn of its death
later than the next request comes), and put back when its record changes or a connection to it succeeds again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from time import monotonic
from typing import Any, Final

from runtime.contract import HEADER_INSTANCE_ID, InstanceRecord, InstanceState
from runtime.gateway.gate import Gate, Ticket
from runtime.gateway.pick import Instance
from runtime.gateway.routes import VersionKey
from runtime.http.client import ClientConnection
from runtime.http.deadlines import Deadlines
from runtime.http.framing import header
from runtime.http.pool import NoResources, Pool, Unreachable, close_idle

log = logging.getLogger(__name__)

PROBE_AFTER_S: Final = 1.0


class Upstream:
    """One instance that takes requests or has taken some."""

    __slots__ = ("gate", "id_line", "is_ejected", "pool", "record")

    def __init__(self, record: InstanceRecord, gate: Gate, pool: Pool) -> None:
        self.record = record
        self.gate = gate
        self.pool = pool
        self.id_line = header(HEADER_INSTANCE_ID, record.instance_id)
        self.is_ejected = False


class Upstreams:
    """All of them, by id."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        gate: Callable[[VersionKey], Gate],
        wake: Callable[[list[Ticket]], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        report_soon: Callable[[], None],
        connect_timeout_s: float,
        idle_timeout_s: float,
    ) -> None:
        """`gate` gives the gate of a function version; `wake` tells tickets of their leases."""
        self._loop = loop
        self._gate = gate
        self._wake = wake
        self._spawn = spawn
        self._report_soon = report_soon
        self._connect_timeout_s = connect_timeout_s
        self._idle: Deadlines[ClientConnection] = Deadlines(loop, idle_timeout_s, close_idle)
        self._by_id: dict[str, Upstream] = {}
        # Of removed instances, while requests are inside: their leases still ask for them.
        self._leaving: dict[str, Upstream] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def of(self, instance: Instance) -> Upstream:
        """The upstream of a leased instance."""
        return self._by_id.get(instance.instance_id) or self._leaving[instance.instance_id]

    def unreachable(self) -> list[str]:
        """The instances whose address does not answer."""
        return [instance_id for instance_id, upstream in self._by_id.items() if upstream.is_ejected]

    def put(self, record: InstanceRecord) -> None:
        """What the control plane says of one instance now.

        Raises:
            ValueError: its address has neither of the forms that are known.
        """
        known = self._by_id.get(record.instance_id)
        if known is not None and known.record == record:
            return
        if record.state is InstanceState.READY and record.address:
            self._offer(record, known)
        elif record.state is InstanceState.DRAINING:
            self._drain(record, known)
        else:
            if record.state is InstanceState.FAILED:
                self._gate(_key(record)).last_failure = record.reason
            self.remove(record.instance_id)

    def remove(self, instance_id: str) -> None:
        """There is no such instance any more. An unknown one does nothing."""
        upstream = self._by_id.pop(instance_id, None)
        if upstream is None:
            return
        upstream.pool.close()
        instance = upstream.gate.instance(instance_id)
        if instance is not None and instance.in_flight:
            self._leaving[instance_id] = upstream
        upstream.gate.remove_instance(instance_id)

    def forget_left(self) -> None:
        """Drop the removed ones that have become empty since the last call."""
        for instance_id, upstream in list(self._leaving.items()):
            if upstream.gate.instance(instance_id) is None:
                del self._leaving[instance_id]

    def eject(self, upstream: Upstream, reason: str) -> None:
        """Its address did not answer. Again does nothing until it has been restored."""
        instance_id = upstream.record.instance_id
        if upstream.is_ejected or self._by_id.get(instance_id) is not upstream:
            return
        upstream.is_ejected = True
        upstream.gate.eject_instance(instance_id)
        log.warning("instance-unreachable instance=%s reason=%r", instance_id, reason)
        self._report_soon()
        self._spawn(self._probe(upstream))

    def close(self) -> None:
        for upstream in self._by_id.values():
            upstream.pool.close()
        self._idle.clear()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _offer(self, record: InstanceRecord, known: Upstream | None) -> None:
        if known is None or known.record.address != record.address:
            pool = self._pool(record.address)
            if known is not None:
                known.pool.close()
            known = self._by_id[record.instance_id] = Upstream(record, self._gate(_key(record)), pool)
        known.record = record
        known.is_ejected = False
        tickets = known.gate.put_instance(
            record.instance_id,
            provisioned=record.kind == "provisioned",
            slots=record.slots,
            now_s=monotonic(),
        )
        self._wake(tickets)

    def _drain(self, record: InstanceRecord, known: Upstream | None) -> None:
        if known is None:
            address = record.address or "unix:none"
            known = self._by_id[record.instance_id] = Upstream(record, self._gate(_key(record)), self._pool(address))
        known.record = record
        known.is_ejected = False
        known.pool.close()
        known.gate.drain_instance(record.instance_id)
        self._report_soon()

    def _pool(self, address: str) -> Pool:
        return Pool(self._loop, address, connect_timeout_s=self._connect_timeout_s, idle=self._idle)

    async def _probe(self, upstream: Upstream) -> None:
        """Connect once a second until it answers, or something else was decided about it."""
        while True:
            await asyncio.sleep(PROBE_AFTER_S)
            instance_id = upstream.record.instance_id
            if not upstream.is_ejected or self._by_id.get(instance_id) is not upstream:
                return
            try:
                connection = await upstream.pool.connect()
            except (Unreachable, NoResources):
                continue
            upstream.pool.put_back(connection)
            if upstream.is_ejected and self._by_id.get(instance_id) is upstream:
                upstream.is_ejected = False
                log.info("instance-reachable instance=%s", instance_id)
                self._wake(upstream.gate.restore_instance(instance_id, monotonic()))
            return


def _key(record: InstanceRecord) -> VersionKey:
    return (record.service, record.version, record.function)
