"""Keeps what pools remember between decisions: which are out of stock, and which launches wait for a machine.

What is decided is in `pools`; here records are shown to it and its answers to the plan. Without pools, reclaim notices
are still obeyed.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from control_plane.backends.pools import Pools
from control_plane.fleet.plan import Unit, Want
from control_plane.fleet.pools import Member, Stock, choose, leaving_order, on_reclaim, rebalance
from control_plane.fleet_views import PoolView
from provision.words import counted
from runtime.contract import InstanceRecord, InstanceState, Kind, VersionKey
from runtime.node_contract import InstanceStatus

log = logging.getLogger(__name__)

RECLAIMED = "its machine is being reclaimed"
MOVES = "its pool has more than its share"


class Pooling:
    """One for the whole fleet. `pools` None: there are none, and every instance is launched anywhere."""

    def __init__(self, pools: Pools | None, drain_timeout_s: float, stop_grace_s: float) -> None:
        self.pools = pools
        self._drain_timeout_s = drain_timeout_s
        self._stop_grace_s = stop_grace_s
        self._stock = Stock({})
        self._why_out: dict[str, str] = {}
        self._unplaced_since_s: dict[str, float] = {}  # by instance
        self._held: dict[VersionKey, str] = {}
        self._reclaims: Counter[str] = Counter()  # by pool, as are these
        self._compensations: Counter[str] = Counter()

    # -- being told -------------------------------------------------------------------------------------------------

    def ran_out(self, pool: str, now: float, why: str) -> None:
        """A launch into this pool has found no room."""
        if self.pools is not None:
            log.warning("pool.out pool=%s seconds=%g reason=%s", pool, self.pools.out_s, why)
            self._stock = self._stock.ran_out(pool, now, self.pools.out_s)
            self._why_out[pool] = why

    def has_room(self, record: InstanceRecord) -> None:
        """A launch into this record's pool has arrived."""
        self._unplaced_since_s.pop(record.instance_id, None)
        if record.pool in self._stock.out_until_s:
            log.info("pool.in_stock pool=%s", record.pool)
            self._stock = self._stock.has_room(record.pool)

    def noticed(self, record: InstanceRecord) -> None:
        """A notice has come for its machine, which may come again with another time."""
        if not record.reclaim_at_s:
            self._reclaims[record.pool] += 1

    def waits(self, status: InstanceStatus, now: float) -> None:
        """A launch has, or has not yet, found a machine."""
        if status.is_unplaced:
            self._unplaced_since_s.setdefault(status.instance_id, now)
        else:
            self._unplaced_since_s.pop(status.instance_id, None)

    def forget(self, instance_id: str) -> None:
        self._unplaced_since_s.pop(instance_id, None)

    @staticmethod
    def tells_of_reclaim(status: InstanceStatus, record: InstanceRecord | None) -> bool:
        """The notice is new. One that is taken back is not believed: its instance is being replaced already."""
        return (
            record is not None
            and record.state.is_live
            and not status.state.is_final
            and bool(status.reclaim_at_s)
            and status.reclaim_at_s != record.reclaim_at_s
        )

    # -- answering --------------------------------------------------------------------------------------------------

    def out(self, now: float) -> frozenset[str]:
        """The pools that nothing is launched into now."""
        return self._stock.out(now)

    def views(self, records: Iterable[InstanceRecord], now: float) -> list[PoolView]:
        """Every pool, as it is now."""
        if self.pools is None:
            return []
        there = [record for record in records if not record.state.is_final]
        out = self.out(now)
        return [
            PoolView(
                name=pool.name,
                kind=pool.kind.value,
                price=pool.price,
                instances=sum(record.pool == pool.name for record in there),
                ready=sum(record.pool == pool.name and record.state is InstanceState.READY for record in there),
                is_out=pool.name in out,
                reason=self._why_out.get(pool.name, "") if pool.name in out else "",
                reclaims=self._reclaims[pool.name],
                compensations=self._compensations[pool.name],
            )
            for pool in self.pools.pools
        ]

    def nothing_is_missing(self, key: VersionKey) -> None:
        """A function version has what it should have."""
        self._held.pop(key, None)

    def error(self, key: VersionKey) -> str:
        """Why launches of a function version are held; "" if none are."""
        return self._held.get(key, "")

    def is_off(self, records: Iterable[InstanceRecord], want: Want) -> bool:
        """Looking at these again will lead to something: a share is off, a launch waits, or a pool may be in stock."""
        if self.pools is None:
            return False
        members = [_member(r) for r in records if _stays(r) and r.kind is Kind.PROVISIONED]
        if any(m.instance_id in self._unplaced_since_s for m in members):
            return True
        return bool(rebalance(self.pools, members, want.provisioned))

    def seen(self, units: Sequence[Unit], records: Mapping[str, InstanceRecord], want: Want) -> list[Unit]:
        """The live instances as planning is to see them: with who leaves, and why."""
        leaving = [self._reclaimed(unit, records[unit.instance_id]) for unit in units]
        if self.pools is None:
            return leaving
        fresh = [u for u in leaving if not u.leaves_for and u.revision == want.revision]
        members = {u.instance_id: _member(records[u.instance_id]) for u in fresh}
        provisioned = [members[u.instance_id] for u in fresh if u.kind is Kind.PROVISIONED]
        moving = set(rebalance(self.pools, provisioned, want.provisioned, self.out(want.now)))
        order = leaving_order(self.pools, [*members.values()]) if len(provisioned) > want.provisioned else {}
        marked = []
        for unit in leaving:
            if (since_s := self._unplaced_since_s.get(unit.instance_id)) is not None:
                others = [records[u.instance_id].pool for u in leaving if u is not unit and not u.leaves_for]
                unit = self._unplaced(unit, records[unit.instance_id].pool, others, since_s, want.now)
            elif unit.instance_id in moving:
                unit = replace(unit, leaves_for=MOVES)
            marked.append(replace(unit, leaves_as=order.get(unit.instance_id, 0)))
        return marked

    def pick(
        self, key: VersionKey, units: Sequence[Unit], records: Mapping[str, InstanceRecord], now: float, n: int
    ) -> list[str]:
        """The pools of `n` launches; fewer, where there is none for some."""
        if self.pools is None or not n:
            self._held.pop(key, None)
            return [""] * n
        there = [records[u.instance_id].pool for u in units if not u.leaves_for]
        chosen = choose(self.pools, there, n, self.out(now))
        compensating = sum(choice.compensates for choice in chosen)
        if compensating:
            self._compensations.update(choice.pool for choice in chosen if choice.compensates)
            log.info("pool.compensates function=%s launches=%d", "/".join(key), compensating)
        if len(chosen) < n:
            why = "; ".join(f"{name}: {self._why_out.get(name, '')}" for name in sorted(self.out(now)))
            self._held[key] = f"no pool has room for {counted(n - len(chosen), 'more instance')}: {why}"
        else:
            self._held.pop(key, None)
        return [choice.pool for choice in chosen]

    def drain_timeout_s(self, record: InstanceRecord, now: float) -> float:
        """How long a draining instance may finish what it has; no longer than its machine is there."""
        if not record.reclaim_at_s:
            return self._drain_timeout_s
        return max(0.0, min(self._drain_timeout_s, record.reclaim_at_s - self._stop_grace_s - now))

    def _reclaimed(self, unit: Unit, record: InstanceRecord) -> Unit:
        if not record.reclaim_at_s:
            return unit
        reclaim = on_reclaim(record.reclaim_at_s, self._drain_timeout_s, self._stop_grace_s)
        return replace(unit, leaves_for=RECLAIMED, drain_at_s=reclaim.drain_at_s)

    def _unplaced(self, unit: Unit, pool: str, others: Sequence[str], since_s: float, now: float) -> Unit:
        """One that has waited for too long gives up, if there is a pool that it has not waited for."""
        pools = self.pools
        if pools is None or now - since_s < pools.place_timeout_s:
            return unit
        if not choose(pools, others, 1, self.out(now) | {pool}):
            return unit
        if pool not in self.out(now):
            self.ran_out(pool, now, f"no machine within {pools.place_timeout_s:g} s")
        return replace(unit, leaves_for=f"pool {pool} had no machine for it", drain_at_s=-math.inf)


def _stays(record: InstanceRecord) -> bool:
    return record.state.is_live and not record.reclaim_at_s


def _member(record: InstanceRecord) -> Member:
    return Member(record.instance_id, record.pool, record.launched_at_s, record.state is InstanceState.READY)
