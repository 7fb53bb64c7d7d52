"""Keeps the instances that should exist: carries plans out, follows what becomes of each, repairs after crashes.

Two doors only: `follow` listens to the backend, `settle` is called by the autoscaler for each function version. An
instance's record is durable before the backend hears of it, and goes only when the instance has ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from control_plane.errors import NoRoom, PlatformError, StokeError, Unavailable
from control_plane.fleet.backoff import Setbacks
from control_plane.fleet.census import hindrance
from control_plane.fleet.launch_times import LaunchTimes
from control_plane.fleet.new_records import drained, new_record
from control_plane.fleet.placement import Placed, anywhere
from control_plane.fleet.plan import NOTHING, Plan, Unit, Want, is_settled, plan
from control_plane.fleet.pooling import Pooling
from control_plane.fleet.record_book import RecordBook
from control_plane.fleet.records import RecordStore
from control_plane.fleet.table import oldest_first
from control_plane.fleet.usage import UsageBook
from control_plane.fleet_views import PoolView
from control_plane.ports import Backend, Clock
from runtime.contract import TRANSITIONS, InstanceRecord, InstanceState, Kind, VersionKey, version_key
from runtime.node_contract import InstanceStatus, LaunchSpec

log = logging.getLogger(__name__)

RECONNECT_S = 0.2
DRAIN_CHECK_S = 0.1

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
        pooling: Pooling | None = None,
    ) -> None:
        self._backend = backend
        self._book = RecordBook(records, clock)
        self.table = self._book.table
        self.holdings = self.table.holdings
        self._usage = usage
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._on_change = on_change
        self.pooling = pooling or Pooling(None, limits.drain_timeout_s, limits.stop_grace_s)
        self._setbacks = Setbacks()
        self._unconfirmed: set[str] = set()  # launch() has not answered yet
        self._tasks: set[asyncio.Task[None]] = set()
        self.launch_times = LaunchTimes()
        self.connected = asyncio.Event()

    # -- looking ----------------------------------------------------------------------------------------------------

    def records(self, key: VersionKey | None = None) -> list[InstanceRecord]:
        """The records of one function version, or all; the oldest first."""
        return oldest_first(self.table.values() if key is None else self.table.of(key))

    def is_off_pools(self, key: VersionKey, want: Want) -> bool:
        """Its instances are shared out between pools otherwise than they should be, or wait for a place."""
        return self.pooling.is_off(self.table.of(key), want)

    def pools(self) -> list[PoolView]:
        return self.pooling.views(self.table.values(), self._clock.utc_s())

    def idle_until(self, key: VersionKey, want: Want) -> float:
        """When the next on-demand instance has been idle for too long, if none is used until then; UTC seconds."""
        idle = (unit.idle_since_s for unit in self.units(key) if unit.kind is Kind.ON_DEMAND)
        return min(idle, default=math.inf) + want.on_demand_idle_s

    def current_error(self, key: VersionKey) -> str:
        """Why the last launch failed, "" once one has succeeded since; else what is in the way of those under way."""
        return self._setbacks.of(key).error or self.pooling.error(key) or hindrance(self.table.of(key))

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
            if record.state.is_live
        ]

    # -- deciding and doing -----------------------------------------------------------------------------------------

    def launches(self, key: VersionKey, want: Want) -> int:
        """How many `settle` would launch now, if there were as many places as `want` allows."""
        if not want.launches_max or self.is_settled(key, want):
            return 0
        _, todo = self._planned(key, want)
        return todo.launch_provisioned + todo.launch_on_demand

    def is_settled(self, key: VersionKey, want: Want) -> bool:
        """There is nothing to do, and nothing is held back."""
        return is_settled(want, self.table.census(key)) and not self.is_off_pools(key, want)

    async def settle(self, key: VersionKey, want: Want, make_spec: MakeSpec, places: Places = anywhere) -> Plan:
        """Plan for one function version and carry the plan out; fewer are launched if there are fewer places.

        Raises:
            Unavailable: the store is away; nothing was begun that is not recorded.
        """
        if self.is_settled(key, want):
            self.pooling.nothing_is_missing(key)
            return NOTHING
        async with self._book.changing:
            units, todo = self._planned(key, want)
            if not todo:
                return todo
            kinds = [Kind.PROVISIONED] * todo.launch_provisioned + [Kind.ON_DEMAND] * todo.launch_on_demand
            # Asked for under the lock, with what others have been given since `launches_max` was reckoned.
            found = places(len(kinds)) if kinds else ()
            pools = self.pooling.pick(key, units, self.table, want.now, min(len(kinds), len(found)))
            each = zip(kinds, found, pools, strict=False)
            new = [new_record(self._new_id(), key, want, kind, place, pool) for kind, place, pool in each]
            relabelled = [replace(self.table[i], kind=kind) for i, kind in todo.relabel]
            draining = [drained(self.table[i], want.now, why) for i, why in todo.drain]
            await self._book.put([*new, *relabelled, *draining])
        if not new and not relabelled and not draining:
            return todo
        log.info(
            "fleet.plan function=%s launch=%d+%d relabel=%d drain=%d",
            "/".join(key), sum(r.kind is Kind.PROVISIONED for r in new), sum(r.kind is Kind.ON_DEMAND for r in new),
            len(todo.relabel), len(todo.drain),
        )  # fmt: skip
        for record in new:
            self._unconfirmed.add(record.instance_id)
            spec = make_spec(record.instance_id)
            self._spawn(self._launch(record, replace(spec, gpu_device=record.device, pool=record.pool)))
        for record in draining:
            self._spawn(self._drain(record))
        return todo

    def _planned(self, key: VersionKey, want: Want) -> tuple[list[Unit], Plan]:
        units = self.pooling.seen(self.units(key), self.table, want)
        allowed = self._launches_max(key, want, units)
        return units, plan(replace(want, launches_max=allowed, room=want.launches_max), units)

    def _launches_max(self, key: VersionKey, want: Want, units: list[Unit]) -> int:
        backoff = self._setbacks.of(key)
        if not self.connected.is_set() or not backoff.allows(want.now):
            return 0
        starting = sum(unit.is_starting for unit in units)
        at_once = min(self._limits.launches_at_once_max, backoff.launches_max or self._limits.launches_at_once_max)
        return max(0, min(want.launches_max, at_once - starting))

    async def _launch(self, record: InstanceRecord, spec: LaunchSpec) -> None:
        try:
            await self._backend.launch(spec)
        except NoRoom as error:
            self.pooling.ran_out(record.pool, self._clock.utc_s(), error.message)
            await self._ended(record.instance_id, InstanceState.STOPPED, error.message)
        except Unavailable:
            pass  # `follow` learns on its return whether the launch had arrived
        except StokeError as error:  # refused, or the backend could not: a full disk, say
            await self._ended(record.instance_id, InstanceState.FAILED, error.message)
        finally:
            self._unconfirmed.discard(record.instance_id)

    async def _drain(self, record: InstanceRecord) -> None:
        """Wait until every gateway has let go of it, or the drain timeout, then stop it."""
        instance_id = record.instance_id
        timeout_s = self.pooling.drain_timeout_s(record, self._clock.utc_s())
        deadline_s = self._clock.monotonic_s() + timeout_s
        while record.ready_at_s and not self._usage.is_drained(instance_id) and self._clock.monotonic_s() < deadline_s:
            await self._clock.sleep(DRAIN_CHECK_S)
            if instance_id not in self.table:
                return
        while instance_id in self.table:
            try:
                await self._backend.stop(instance_id, self._limits.stop_grace_s)
                return
            except PlatformError:  # away, or it could not just now
                await self._clock.sleep(RECONNECT_S)

    async def repair(self) -> None:
        """Make the store agree with what is known here, where a lost answer left it open. Raises Unavailable."""
        await self._book.repair()

    # -- following the backend --------------------------------------------------------------------------------------

    async def adopt(self) -> None:
        """Load the records that an earlier control plane has left. Raises Unavailable."""
        for record in await self._book.load():
            if record.ready_at_s:
                self.launch_times.note(version_key(record), record.launched_at_s, record.ready_at_s)
        log.info("fleet.adopted instances=%d", len(self.table))

    async def follow(self) -> None:
        """Follow the backend for ever; after each loss of connection, and each failure of its own, compare everything
        anew."""
        said = ""
        while True:
            try:
                events = self._backend.watch()
                await self._compare(await self._backend.list())
                self.connected.set()
                said = ""
                async for status in events:
                    await self._heard(status)
            except PlatformError as error:  # away, or it could not do what was asked meanwhile
                log.log(logging.DEBUG if str(error) == said else logging.WARNING, "fleet.backend_away error=%s", error)
                said = str(error)
            self.connected.clear()
            await self._clock.sleep(RECONNECT_S)

    async def _compare(self, statuses: Iterable[InstanceStatus]) -> None:
        """What the backend has against what is recorded: neither may have what the other knows nothing of."""
        known = {status.instance_id: status for status in statuses}
        for instance_id in [i for i in self.table if i not in known and i not in self._unconfirmed]:
            await self._ended(instance_id, InstanceState.STOPPED, "unknown to its node")
        for status in known.values():
            if status.instance_id not in self.table:
                await self._discard(status)
                continue
            await self._heard(status)
            record = self.table.get(status.instance_id)
            if record is not None and record.state is InstanceState.DRAINING:
                self._spawn(self._drain(record))

    async def _discard(self, status: InstanceStatus) -> None:
        if status.state.is_final:
            await self._backend.forget(status.instance_id)
        else:
            log.warning("fleet.stray instance=%s state=%s", status.instance_id, status.state)
            await self._backend.stop(status.instance_id, self._limits.stop_grace_s)

    async def _heard(self, status: InstanceStatus) -> None:
        if self.pooling.tells_of_reclaim(status, self.table.get(status.instance_id)):
            await self._reclaimed(status)
        record = self.table.get(status.instance_id)
        if record is None:
            await self._discard(status)  # a launch that arrived after its record was given up
        elif status.state.is_final:
            await self._ended(status.instance_id, status.state, status.reason)
        elif status.state is InstanceState.DRAINING:
            await self._is_taken_away(status.instance_id, status.reason)
        elif status.state is not record.state:
            await self._advanced(status.instance_id, status)
        elif status.state is record.state is InstanceState.LAUNCHING and status.reason != record.reason:
            self.pooling.waits(status, self._clock.utc_s())
            # How far an image is: for who looks, not for the store.
            self.table.put(replace(record, reason=status.reason, is_hindered=status.is_hindered))

    async def _reclaimed(self, status: InstanceStatus) -> None:
        async with self._book.changing:
            record = self.table.get(status.instance_id)
            if record is None:
                return
            self.pooling.noticed(record)
            changed = replace(record, reclaim_at_s=status.reclaim_at_s)
            await self._book.must_put(changed)
        log.warning("instance.reclaim instance=%s at_s=%.0f", record.instance_id, status.reclaim_at_s)
        self._on_change(version_key(record))

    async def _advanced(self, instance_id: str, status: InstanceStatus) -> None:
        async with self._book.changing:
            record = self.table.get(instance_id)
            if record is None or status.state not in TRANSITIONS[record.state]:
                return
            changed = replace(
                record, state=status.state, address=status.address, pid=status.pid, reason=status.reason,
                is_hindered=False,
            )  # fmt: skip
            if status.state is InstanceState.READY:
                now = self._clock.utc_s()
                changed = replace(changed, ready_at_s=now)
                self._setbacks.launched(version_key(record))
                self.pooling.has_room(record)
                self.launch_times.note(version_key(record), record.launched_at_s, now)
                log.info("instance.ready instance=%s seconds=%.3f", instance_id, now - record.launched_at_s)
                await self._book.must_put(changed)
            else:
                self.table.put(changed)  # only READY matters to gateways: the steps before it need no durable write
        self._on_change(version_key(record))

    async def _is_taken_away(self, instance_id: str, reason: str) -> None:
        """The backend ends it, and it was not told to from here (its node is emptied): it takes nothing new."""
        async with self._book.changing:
            record = self.table.get(instance_id)
            if record is None or not record.state.is_live:
                return
            draining = drained(record, self._clock.utc_s(), reason or "its backend ends it")
            await self._book.must_put(draining)
        log.info("instance.taken_away instance=%s reason=%s", instance_id, reason)
        self._spawn(self._drain(draining))
        self._on_change(version_key(record))

    async def _ended(self, instance_id: str, state: InstanceState, reason: str) -> None:
        async with self._book.changing:
            record = self.table.get(instance_id)
            if record is None:
                return
            if state is InstanceState.FAILED:
                self.holdings.doubted |= bool(record.device)
                key = version_key(record)
                self._setbacks.failed(key, record, self.table.of(key), self._clock.utc_s(), reason)
                if record.state.is_starting:
                    await self._book.tell_failed(record, reason)
            if state is InstanceState.FAILED or record.state is not InstanceState.DRAINING:
                log.warning("instance.ended instance=%s state=%s reason=%s", instance_id, state, reason)
            await self._book.must_remove(instance_id)
            self._usage.forget_instance(instance_id)
            self.pooling.forget(instance_id)
        try:
            await self._backend.forget(instance_id)
        except StokeError:
            log.debug("instance.forget_later instance=%s", instance_id)  # `_compare` will find and forget it
        self._on_change(version_key(record))

    # -- what is under way ------------------------------------------------------------------------------------------

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
