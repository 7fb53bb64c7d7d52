"""Keeps the instances that should exist: carries plans out, follows what becomes of each, repairs after crashes.

Two doors only: `follow` listens to the backend, `settle` is called by the autoscaler for each function version. An
instance's record is durable before the backend hears of it, and goes only when the instance has ended. Records change
under one lock, so that what gateways read is what is known here.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from control_plane.errors import LaunchRefused, StokeError, Unavailable
from control_plane.fleet.backoff import Backoff
from control_plane.fleet.census import EMPTY, Census, census
from control_plane.fleet.holdings import Holdings
from control_plane.fleet.launch_times import LaunchTimes
from control_plane.fleet.placement import Placed, anywhere
from control_plane.fleet.plan import NOTHING, Plan, Unit, Want, is_settled, plan
from control_plane.fleet.records import RecordStore
from control_plane.fleet.usage import UsageBook, VersionKey
from control_plane.ports import Backend, Clock
from runtime.contract import TRANSITIONS, InstanceRecord, InstanceState, InstanceStatus, Kind, LaunchSpec

log = logging.getLogger(__name__)

RECONNECT_S = 0.2
DRAIN_CHECK_S = 0.1
# An instance that was ready this long before it died was healthy: its replacement starts at once.
HEALTHY_AFTER_S = 5.0
LIVE = (InstanceState.LAUNCHING, InstanceState.INITIALIZING, InstanceState.READY)

MakeSpec = Callable[[str], LaunchSpec]  # instance id -> spec
Places = Callable[[int], Sequence[Placed]]  # for so many more, or for as many as fit now


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds, and how many launches of one function version may be under way."""

    drain_timeout_s: float = 30.0
    stop_grace_s: float = 10.0
    launches_at_once_max: int = 16


class FleetKeeper:
    """All instances of all function versions on one backend."""

    def __init__(
        self,
        backend: Backend,
        records: RecordStore,
        usage: UsageBook,
        clock: Clock,
        new_id: Callable[[], str],
        limits: Limits,
        *,
        on_change: Callable[[VersionKey], None] = lambda _key: None,
    ) -> None:
        self._backend = backend
        self._store = records
        self._usage = usage
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._on_change = on_change
        self._records: dict[str, InstanceRecord] = {}
        self._by_version: defaultdict[VersionKey, set[str]] = defaultdict(set)  # those that have any
        self._counted: dict[VersionKey, Census] = {}  # of those that did not change since
        self._moved: set[VersionKey] = set()
        self._backoff: dict[VersionKey, Backoff] = {}
        self._unconfirmed: set[str] = set()  # launch() has not answered yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._doubtful: set[str] = set()  # written, but whether it arrived is not known
        self._writing = asyncio.Lock()
        self.launch_times = LaunchTimes()
        self.holdings = Holdings()
        self.connected = asyncio.Event()

    # -- looking ----------------------------------------------------------------------------------------------------

    def records(self, key: VersionKey | None = None) -> list[InstanceRecord]:
        """The records of one function version, or all; the oldest first."""
        ids: Iterable[str] = self._records if key is None else self._by_version.get(key, ())
        return sorted((self._records[i] for i in ids), key=lambda r: (r.launched_at_s, r.instance_id))

    def versions(self) -> set[VersionKey]:
        """The function versions that have instances."""
        return set(self._by_version)

    def census(self, key: VersionKey) -> Census:
        """How many live instances a function version has."""
        counted = self._counted.get(key)
        if counted is None:
            ids = self._by_version.get(key)
            counted = self._counted[key] = census(self._records[i] for i in ids) if ids else EMPTY
        return counted

    def has_instances(self) -> bool:
        return bool(self._records)

    def idle_until(self, key: VersionKey, want: Want) -> float:
        """When the next on-demand instance has been idle for too long, if none is used until then; UTC seconds."""
        idle = (unit.idle_since_s for unit in self.units(key) if unit.kind is Kind.ON_DEMAND)
        return min(idle, default=math.inf) + want.on_demand_idle_s

    def moved(self) -> set[VersionKey]:
        """The function versions whose instances are not as they were at the last call."""
        moved, self._moved = self._moved, set()
        return moved

    def version_of(self, instance_id: str) -> VersionKey | None:
        record = self._records.get(instance_id)
        return None if record is None else self._key(record)

    def current_error(self, key: VersionKey) -> str:
        """Why the last launch failed; "" once one has succeeded since."""
        backoff = self._backoff.get(key)
        return backoff.error if backoff else ""

    def units(self, key: VersionKey) -> list[Unit]:
        """The live instances of a function version, as planning sees them."""
        return [
            Unit(
                instance_id=record.instance_id,
                kind=record.kind,
                state=record.state,
                revision=record.revision,
                launched_at_s=record.launched_at_s,
                in_flight=self._usage.in_flight(record.instance_id),
                idle_since_s=max(record.ready_at_s, self._usage.last_used_s(record.instance_id)),
            )
            for record in self.records(key)
            if record.state in LIVE
        ]

    # -- deciding and doing -----------------------------------------------------------------------------------------

    async def settle(self, key: VersionKey, want: Want, make_spec: MakeSpec, places: Places = anywhere) -> Plan:
        """Plan for one function version and carry the plan out; fewer are launched if there are fewer places.

        Raises:
            Unavailable: the store is away; nothing was begun that is not recorded.
        """
        if is_settled(want, self.census(key)):
            return NOTHING
        async with self._writing:
            units = self.units(key)
            todo = plan(replace(want, launches_max=self._launches_max(key, want, units)), units)
            if not todo:
                return todo
            kinds = [Kind.PROVISIONED] * todo.launch_provisioned + [Kind.ON_DEMAND] * todo.launch_on_demand
            # Asked for under the lock, with what others have been given since `launches_max` was reckoned.
            found = places(len(kinds)) if kinds else ()
            new = [self._new_record(key, want, kind, place) for kind, place in zip(kinds, found, strict=False)]
            relabelled = [replace(self._records[i], kind=kind) for i, kind in todo.relabel]
            draining = [self._draining(self._records[i], want.now, why) for i, why in todo.drain]
            await self._put([*new, *relabelled, *draining])
        log.info(
            "fleet.plan function=%s launch=%d+%d relabel=%d drain=%d",
            "/".join(key), sum(r.kind is Kind.PROVISIONED for r in new), sum(r.kind is Kind.ON_DEMAND for r in new),
            len(todo.relabel), len(todo.drain),
        )  # fmt: skip
        for record in new:
            self._unconfirmed.add(record.instance_id)
            spec = make_spec(record.instance_id)
            self._spawn(self._launch(record, replace(spec, gpu_device=record.device)))
        for record in draining:
            self._spawn(self._drain(record))
        return todo

    def _launches_max(self, key: VersionKey, want: Want, units: list[Unit]) -> int:
        backoff = self._backoff.get(key, Backoff())
        if not self.connected.is_set() or not backoff.allows(want.now):
            return 0
        starting = sum(unit.is_starting for unit in units)
        at_once = min(self._limits.launches_at_once_max, backoff.launches_max or self._limits.launches_at_once_max)
        return max(0, min(want.launches_max, at_once - starting))

    def _new_record(self, key: VersionKey, want: Want, kind: Kind, place: Placed) -> InstanceRecord:
        service, version, function = key
        return InstanceRecord(
            instance_id=self._new_id(),
            service=service,
            function=function,
            version=version,
            revision=want.revision,
            kind=kind,
            state=InstanceState.LAUNCHING,
            slots=want.slots,
            node=place.node,
            launched_at_s=want.now,
            device=place.device,
            gpu_memory_mib=place.gpu_memory_mib,
        )

    @staticmethod
    def _draining(record: InstanceRecord, now: float, why: str) -> InstanceRecord:
        return replace(record, state=InstanceState.DRAINING, draining_since_s=now, reason=why)

    async def _launch(self, record: InstanceRecord, spec: LaunchSpec) -> None:
        try:
            await self._backend.launch(spec)
        except LaunchRefused as error:
            await self._ended(record.instance_id, InstanceState.FAILED, error.message)
        except Unavailable:
            pass  # `follow` learns on its return whether the launch had arrived
        finally:
            self._unconfirmed.discard(record.instance_id)

    async def _drain(self, record: InstanceRecord) -> None:
        """Wait until every gateway has let go of it, or the drain timeout, then stop it."""
        instance_id = record.instance_id
        deadline_s = self._clock.monotonic_s() + self._limits.drain_timeout_s
        while record.ready_at_s and not self._usage.is_drained(instance_id) and self._clock.monotonic_s() < deadline_s:
            await self._clock.sleep(DRAIN_CHECK_S)
            if instance_id not in self._records:
                return
        while instance_id in self._records:
            try:
                await self._backend.stop(instance_id, self._limits.stop_grace_s)
                return
            except Unavailable:
                await self._clock.sleep(RECONNECT_S)

    # -- following the backend --------------------------------------------------------------------------------------

    async def adopt(self) -> None:
        """Load the records that an earlier control plane has left. Raises Unavailable."""
        for record in sorted(await self._store.load(), key=lambda r: r.ready_at_s):
            self._keep(record)
            if record.ready_at_s:
                self.launch_times.note(self._key(record), record.launched_at_s, record.ready_at_s)
        log.info("fleet.adopted instances=%d", len(self._records))

    async def follow(self) -> None:
        """Follow the backend for ever; after each loss of connection compare everything anew."""
        while True:
            try:
                events = self._backend.watch()
                await self._compare(await self._backend.list())
                self.connected.set()
                async for status in events:
                    await self._heard(status)
            except Unavailable as error:
                log.warning("fleet.backend_away error=%s", error)
            self.connected.clear()
            await self._clock.sleep(RECONNECT_S)

    async def _compare(self, statuses: Iterable[InstanceStatus]) -> None:
        """What the backend has against what is recorded: neither may have what the other knows nothing of."""
        known = {status.instance_id: status for status in statuses}
        for instance_id in [i for i in self._records if i not in known and i not in self._unconfirmed]:
            await self._ended(instance_id, InstanceState.STOPPED, "unknown to its node")
        for status in known.values():
            if status.instance_id not in self._records:
                await self._discard(status)
                continue
            await self._heard(status)
            record = self._records.get(status.instance_id)
            if record is not None and record.state is InstanceState.DRAINING:
                self._spawn(self._drain(record))

    async def _discard(self, status: InstanceStatus) -> None:
        if status.state.is_final:
            await self._backend.forget(status.instance_id)
        else:
            log.warning("fleet.stray instance=%s state=%s", status.instance_id, status.state)
            await self._backend.stop(status.instance_id, self._limits.stop_grace_s)

    async def _heard(self, status: InstanceStatus) -> None:
        record = self._records.get(status.instance_id)
        if record is None:
            await self._discard(status)  # a launch that arrived after its record was given up
        elif status.state.is_final:
            await self._ended(status.instance_id, status.state, status.reason)
        elif status.state is InstanceState.DRAINING:
            await self._is_taken_away(status.instance_id, status.reason)
        elif status.state is not record.state:
            await self._advanced(status.instance_id, status)
        elif status.state is record.state is InstanceState.LAUNCHING and status.reason != record.reason:
            self._keep(replace(record, reason=status.reason))  # how far an image is: for who looks, not for the store

    async def _advanced(self, instance_id: str, status: InstanceStatus) -> None:
        async with self._writing:
            record = self._records.get(instance_id)
            if record is None or status.state not in TRANSITIONS[record.state]:
                return
            changed = replace(record, state=status.state, address=status.address, pid=status.pid, reason=status.reason)
            if status.state is InstanceState.READY:
                now = self._clock.utc_s()
                changed = replace(changed, ready_at_s=now)
                self._launch_succeeded(self._key(record))
                self.launch_times.note(self._key(record), record.launched_at_s, now)
                log.info("instance.ready instance=%s seconds=%.3f", instance_id, now - record.launched_at_s)
                await self._insist(lambda: self._put([changed]))
            else:
                self._keep(changed)  # only READY matters to gateways: the steps before it need no durable write
        self._on_change(self._key(record))

    async def _is_taken_away(self, instance_id: str, reason: str) -> None:
        """The backend ends it, and it was not told to from here (its node is emptied): it takes nothing new."""
        async with self._writing:
            record = self._records.get(instance_id)
            if record is None or record.state not in LIVE:
                return
            draining = self._draining(record, self._clock.utc_s(), reason or "its backend ends it")
            await self._insist(lambda: self._put([draining]))
        log.info("instance.taken_away instance=%s reason=%s", instance_id, reason)
        self._spawn(self._drain(draining))
        self._on_change(self._key(record))

    async def _ended(self, instance_id: str, state: InstanceState, reason: str) -> None:
        async with self._writing:
            record = self._records.get(instance_id)
            if record is None:
                return
            if state is InstanceState.FAILED:
                self.holdings.doubted |= bool(record.device)
                self._launch_failed(record, reason)
            if state is InstanceState.FAILED or record.state is not InstanceState.DRAINING:
                log.warning("instance.ended instance=%s state=%s reason=%s", instance_id, state, reason)
            await self._insist(lambda: self._store.remove([instance_id]))
            self._drop(record)
        try:
            await self._backend.forget(instance_id)
        except StokeError:
            log.debug("instance.forget_later instance=%s", instance_id)  # `_compare` will find and forget it
        self._on_change(self._key(record))

    def _launch_succeeded(self, key: VersionKey) -> None:
        if (backoff := self._backoff.get(key)) is not None:
            self._backoff[key] = replace(backoff, error="")

    def _launch_failed(self, record: InstanceRecord, reason: str) -> None:
        now = self._clock.utc_s()
        if record.ready_at_s and now - record.ready_at_s >= HEALTHY_AFTER_S:
            return
        key = self._key(record)
        others_are_healthy = any(r.ready_at_s and now - r.ready_at_s >= HEALTHY_AFTER_S for r in self.records(key))
        before = Backoff() if others_are_healthy else self._backoff.get(key, Backoff())
        self._backoff[key] = before.failed(now, reason)

    # -- the table --------------------------------------------------------------------------------------------------

    @staticmethod
    def _key(record: InstanceRecord) -> VersionKey:
        return (record.service, record.version, record.function)

    async def _put(self, records: list[InstanceRecord]) -> None:
        try:
            await self._store.put(records)
        except Unavailable:
            self._doubtful.update(record.instance_id for record in records)
            raise
        for record in records:
            self._keep(record)

    async def repair(self) -> None:
        """Make the store agree with what is known here, where a lost answer left it open. Raises Unavailable."""
        if not self._doubtful:
            return
        async with self._writing:
            await self._store.put([self._records[i] for i in self._doubtful if i in self._records])
            await self._store.remove([i for i in self._doubtful if i not in self._records])
            self._doubtful.clear()

    async def _insist(self, write: Callable[[], Awaitable[None]]) -> None:
        """Do what has already happened outside until it is recorded."""
        while True:
            try:
                return await write()
            except Unavailable:
                await self._clock.sleep(RECONNECT_S)

    def _keep(self, record: InstanceRecord) -> None:
        key = self._key(record)
        if record.instance_id not in self._records:
            self.holdings.put(record)
        self._records[record.instance_id] = record
        self._by_version[key].add(record.instance_id)
        self._count_again(key)

    def _drop(self, record: InstanceRecord) -> None:
        key = self._key(record)
        if self._records.pop(record.instance_id, None) is not None:
            self.holdings.drop(record)
        self._by_version[key].discard(record.instance_id)
        if not self._by_version[key]:
            del self._by_version[key]
        self._count_again(key)
        self._usage.forget_instance(record.instance_id)

    def _count_again(self, key: VersionKey) -> None:
        self._counted.pop(key, None)
        self._moved.add(key)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("fleet.task_failed", exc_info=error)

    async def close(self) -> None:
        """End what is under way here; instances are left as they are."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
