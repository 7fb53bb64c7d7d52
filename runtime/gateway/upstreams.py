"""The instances that the control plane says are there: each has a place in its gate and a pool of connections.

The control plane may learn of an instance's death later than the next request comes. So one whose address does not
answer is held back from its gate at once, and one that broke off a request until it is known to be alive; both are
offered again when a connection to them succeeds or their record changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from time import monotonic
from typing import Any, Final

from runtime.contract import HEADER_INSTANCE_ID, InstanceRecord, InstanceState, VersionKey, version_key
from runtime.gateway.gate import Gate, Ticket
from runtime.gateway.metrics import OUTLIER, UNREACHABLE
from runtime.gateway.outliers import Health, OutlierLimits, is_outlier
from runtime.gateway.pick import Instance
from runtime.http.client import ClientConnection
from runtime.http.deadlines import Deadlines
from runtime.http.framing import header
from runtime.http.pool import NoResources, Pool, Unreachable, close_idle
from runtime.http.turns import Turns

log = logging.getLogger(__name__)

PROBE_AFTER_S: Final = 1.0

# A process that is killed loses its connections an instant before its listening socket: to connect at once could still
# succeed, and cost the next request too.
SUSPECT_AFTER_S: Final = 0.05

# An instance that is removed has ended, and its connections with it; what it said last is read by then. Only of one on
# a machine that is cut off nothing is heard, not even that.
BEREAVED_AFTER_S: Final = 1.0


class Upstream:
    """One instance that takes requests or has taken some."""

    __slots__ = ("gate", "health", "id_line", "is_held_back", "is_unreachable", "out_until_s", "pool", "record")

    def __init__(self, record: InstanceRecord, gate: Gate, pool: Pool) -> None:
        self.record = record
        self.gate = gate
        self.pool = pool
        self.id_line = header(HEADER_INSTANCE_ID, record.instance_id)
        self.health = Health()
        self.is_held_back = False
        self.out_until_s = 0.0  # until then it is left out, if it is
        self.is_unreachable = False  # held back because a connect failed: reported


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
        slots: Callable[[InstanceRecord], int],
        connect_timeout_s: float,
        idle_timeout_s: float,
        outlier_limits: OutlierLimits,
        ejected: Counter[tuple[VersionKey, str]],
        bereave: Callable[[str], None],
    ) -> None:
        """`gate` gives the gate of a function version; `wake` tells tickets of their leases; `slots`, how many of an
        instance's slots may be used here; `ejected` counts those that were kept from requests; `bereave` tells the
        requests that a removed instance still has that no answer comes."""
        self._loop = loop
        self._gate = gate
        self._wake = wake
        self._spawn = spawn
        self._limits = outlier_limits
        self._ejected = ejected
        self._bereave = bereave
        self._report_soon = report_soon
        self._slots = slots
        self._connect_timeout_s = connect_timeout_s
        self._idle: Deadlines[ClientConnection] = Deadlines(loop, idle_timeout_s, close_idle)
        self._turns = Turns(loop)
        self._by_id: dict[str, Upstream] = {}
        # Of removed instances, while requests are inside: their leases still ask for them.
        self._leaving: dict[str, Upstream] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def of(self, instance: Instance) -> Upstream:
        """The upstream of a leased instance."""
        return self._by_id.get(instance.instance_id) or self._leaving[instance.instance_id]

    def gate_of(self, instance_id: str) -> Gate | None:
        """The gate of an instance that takes requests; None for any other."""
        upstream = self._by_id.get(instance_id)
        return upstream.gate if upstream is not None and upstream.record.state is InstanceState.READY else None

    def unreachable(self) -> list[str]:
        """The instances whose address does not answer."""
        return [instance_id for instance_id, upstream in self._by_id.items() if upstream.is_unreachable]

    def held_back(self) -> Counter[tuple[VersionKey, str]]:
        """How many of each function version are kept from requests now, by what for."""
        found: Counter[tuple[VersionKey, str]] = Counter()
        for upstream in self._by_id.values():
            if upstream.is_unreachable:
                found[version_key(upstream.record), UNREACHABLE] += 1
            elif upstream.health.is_left_out:
                found[version_key(upstream.record), OUTLIER] += 1
        return found

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
            self.remove(record.instance_id)
            if record.state is InstanceState.FAILED:
                for ticket in self._gate(version_key(record)).start_failed(record.reason, monotonic()):
                    ticket.waiter.waited_too_long()

    def remove(self, instance_id: str) -> None:
        """There is no such instance any more. An unknown one does nothing."""
        upstream = self._by_id.pop(instance_id, None)
        if upstream is None:
            return
        upstream.pool.close()
        instance = upstream.gate.instance(instance_id)
        if instance is not None and instance.in_flight:
            self._leaving[instance_id] = upstream
            self._loop.call_later(BEREAVED_AFTER_S, self._is_gone, instance_id)
        upstream.gate.remove_instance(instance_id)

    def forget_left(self) -> None:
        """Drop the removed ones that have become empty since the last call."""
        for instance_id, upstream in list(self._leaving.items()):
            if upstream.gate.instance(instance_id) is None:
                del self._leaving[instance_id]

    def suspect(self, instance: Instance) -> None:
        """It broke off a request, as one does that dies: ask whether it lives before the next is sent."""
        upstream = self._by_id.get(instance.instance_id)
        if upstream is not None:
            self._hold_back(upstream, SUSPECT_AFTER_S)

    def answered(self, upstream: Upstream, status: int) -> None:
        """It answered with an error, or well after a failure."""
        if status >= 500:
            self.failed(upstream)
        else:
            upstream.health.answered += 1
            upstream.health.recover()

    def failed(self, upstream: Upstream) -> None:
        """It failed a request: it is left out for a while if its peers do better."""
        now_s, health = monotonic(), upstream.health
        health.fail(now_s)
        failures = self._limits.failures
        # Asked again only after as many more: a function that always fails pays for no look at its peers each time.
        if not failures or health.in_a_row % failures or not self._is_current(upstream):
            return
        if is_outlier(health, self._peers(upstream), self._limits, now_s):
            for_s = health.leave_out(self._limits)
            log.warning("instance-left-out instance=%s for_s=%g", upstream.record.instance_id, for_s)
            upstream.out_until_s = now_s + for_s
            self._ejected[version_key(upstream.record), OUTLIER] += 1
            self._hold_back(upstream, for_s)

    def eject(self, upstream: Upstream, reason: str) -> None:
        """Its address did not answer."""
        if not self._is_current(upstream) or upstream.is_unreachable:
            return
        log.warning("instance-unreachable instance=%s reason=%r", upstream.record.instance_id, reason)
        upstream.is_unreachable = True
        self._ejected[version_key(upstream.record), UNREACHABLE] += 1
        self._report_soon()
        self._hold_back(upstream, PROBE_AFTER_S)

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
            known = self._by_id[record.instance_id] = Upstream(record, self._gate(version_key(record)), pool)
        known.record = record
        known.is_held_back = known.is_unreachable = False
        if known.health.is_left_out:
            known.health.take_back(self._limits)
        tickets = known.gate.put_instance(
            record.instance_id,
            provisioned=record.kind == "provisioned",
            slots=self._slots(record),
            now_s=monotonic(),
        )
        self._wake(tickets)

    def _drain(self, record: InstanceRecord, known: Upstream | None) -> None:
        if known is None:
            pool = self._pool(record.address or "unix:none")
            known = self._by_id[record.instance_id] = Upstream(record, self._gate(version_key(record)), pool)
        known.record = record
        known.is_held_back = known.is_unreachable = False
        known.pool.close()
        known.gate.drain_instance(record.instance_id)
        self._report_soon()

    def _pool(self, address: str) -> Pool:
        return Pool(self._loop, address, connect_timeout_s=self._connect_timeout_s, idle=self._idle, turns=self._turns)

    def _hold_back(self, upstream: Upstream, probe_after_s: float) -> None:
        """Take it out of its gate until a probe succeeds. Again does nothing."""
        if not upstream.is_held_back:
            upstream.is_held_back = True
            upstream.gate.eject_instance(upstream.record.instance_id)
            self._spawn(self._probe(upstream, probe_after_s))

    async def _probe(self, upstream: Upstream, after_s: float) -> None:
        """Connect until it answers, or something else was decided about it."""
        record = upstream.record
        while True:
            await asyncio.sleep(after_s)
            # One that was suspected first may have been left out since.
            await asyncio.sleep(max(0.0, upstream.out_until_s - monotonic()))
            if not self._is_probed(upstream, record):
                return
            try:
                connection = await upstream.pool.connect()
            except Unreachable as error:
                self.eject(upstream, str(error))
            except NoResources as error:
                log.warning("probe-failed instance=%s reason=%r", record.instance_id, str(error))
            else:
                upstream.pool.put_back(connection)
                if self._is_probed(upstream, record):
                    self._restore(upstream)
                return
            after_s = PROBE_AFTER_S

    def _is_gone(self, instance_id: str) -> None:
        """Unless it was put back, as one is when the store had lost it."""
        if instance_id not in self._by_id:
            self._bereave(instance_id)

    def _peers(self, upstream: Upstream) -> list[Health]:
        """The others of its function that take requests, or would if they were not left out."""
        peers: list[Health] = []
        for instance in upstream.gate.instances():
            peer = self._by_id.get(instance.instance_id)
            if peer is not None and peer is not upstream and not instance.draining and not peer.is_unreachable:
                peers.append(peer.health)
        return peers

    def _restore(self, upstream: Upstream) -> None:
        if upstream.is_unreachable:
            log.info("instance-reachable instance=%s", upstream.record.instance_id)
        upstream.is_held_back = upstream.is_unreachable = False
        if upstream.health.is_left_out:
            log.info("instance-tried-again instance=%s", upstream.record.instance_id)
            upstream.health.take_back(self._limits)
        self._wake(upstream.gate.restore_instance(upstream.record.instance_id, monotonic()))

    def _is_probed(self, upstream: Upstream, record: InstanceRecord) -> bool:
        """Whether nothing has been said of it since the probe for this record began."""
        return self._is_current(upstream) and upstream.is_held_back and upstream.record is record

    def _is_current(self, upstream: Upstream) -> bool:
        return self._by_id.get(upstream.record.instance_id) is upstream
