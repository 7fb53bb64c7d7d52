"""Which gateway may use which slots: decided so that no instance ever has more requests inside than slots. Pure.

For each instance and gateway three numbers are kept. The *goal* is what the gateway should have (`sharing`). The
*grant* is what was written for it. What it *may believe* is the largest of all grants since the one that it has last
confirmed, and of what it has inside. Goals may be anything; a grant is raised only as far as what all gateways may
believe stays, together, within the slots. So a slot moves in two steps: it is taken from one grant, and given to the
other when the first gateway has confirmed, by the epoch in its report, that it does not use it, or when its process is
gone.

What may be believed never comes from silence or from time: a gateway that does not answer keeps what it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from control_plane.fleet.sharing import Turns, share, split
from runtime.contract import InstanceRecord, InstanceState, Kind, VersionKey, version_key
from runtime.leasing import Asked, Grants, Holder, LeaseReport

# One that was not heard for so long cannot be asked to give anything up in time: the others share the rest.
SILENT_S = 5.0
BEFORE = -1  # the epoch of what may have been granted before this lessor began


@dataclass(slots=True)
class Lot:
    """The slots of one instance."""

    instance_id: str
    key: VersionKey
    slots: int
    provisioned: bool
    goal: dict[str, int] = field(default_factory=dict)
    grants: dict[str, int] = field(default_factory=dict)
    # By gateway: (epoch, grant), since the last that it has confirmed. Empty: nothing was ever granted.
    history: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def unclaimed(self) -> int:
        return self.slots - sum(self.goal.values())


@dataclass(slots=True)
class Leaseholder:
    """One gateway, as its newest report told of it."""

    holder: Holder
    sequence: int = -1  # -1: not heard yet
    heard_at_s: float = 0.0  # monotonic
    inside: Mapping[str, int] = field(default_factory=dict)
    asked: dict[VersionKey, Asked] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be written, as a whole. `grants` in the order of their epochs; None: the instance is no more."""

    epoch: int  # the last one: `grants` have those up to it, one each
    grants: tuple[tuple[str, Grants | None], ...]
    holders: tuple[tuple[str, Holder | None], ...]

    @property
    def first_epoch(self) -> int:
        return self.epoch - max(0, len(self.grants) - 1)


class LeaseBook:
    """All lots and gateways. Hear, sync, settle, and write what `batch` gives before anything else is believed."""

    def __init__(
        self, epoch: int = 0, grants: Mapping[str, Grants] | None = None, holders: Mapping[str, Holder] | None = None
    ) -> None:
        """`grants` and `holders` are what an earlier lessor has left; any holder may have what was granted before."""
        self._epoch = epoch
        self._left = dict(grants or {})
        self.holders = {name: Leaseholder(holder) for name, holder in (holders or {}).items()}
        self._lots: dict[str, Lot] = {}
        self._by_version: dict[VersionKey, dict[str, Lot]] = {}
        self._turns: dict[VersionKey, Turns] = {}
        self._dirty: set[str] = set()
        self._dirty_holders: set[str] = set()
        self._unsure: set[str] = set()  # lots whose last grants may not have been written
        self.unsettled: set[VersionKey] = set()  # a grant waits for a confirmation, or gateways take turns

    # -- what is heard -------------------------------------------------------------------------------------------------

    def hear(self, report: LeaseReport, now_s: float) -> set[VersionKey]:
        """Take a report in; gives the function versions to settle now. One that is out of date does nothing."""
        known = self.holders.get(report.gateway)
        if known is None:
            known = self.holders[report.gateway] = Leaseholder(report.holder)
            self._dirty_holders.add(report.gateway)
        if report.sequence <= known.sequence:
            return set()
        known.sequence, known.heard_at_s, known.inside = report.sequence, now_s, report.inside
        told = [Asked.from_dict(values) for values in report.asked]
        known.asked = {version_key(each): each for each in told}
        for lot in self._lots.values():
            _confirm(lot, report.gateway, report.epoch)
        return {key for key, each in known.asked.items() if each.waiting or each.background} | self.unsettled

    def gone(self, gateway: str) -> None:
        """Its process is gone, and with it its connections: it believes nothing any more."""
        if self.holders.pop(gateway, None) is None:
            return
        self._dirty_holders.add(gateway)
        for lot in self._lots.values():
            lot.goal.pop(gateway, None)
            lot.history.pop(gateway, None)
            if lot.grants.pop(gateway, None):
                self._dirty.add(lot.instance_id)

    def sync(self, records: Iterable[InstanceRecord]) -> None:
        """The instances there are now. Only READY ones take requests; what drains keeps its grants to its end."""
        present = set()
        for record in records:
            if record.state in (InstanceState.READY, InstanceState.DRAINING):
                present.add(record.instance_id)
                self._put(record)
        for instance_id in [each for each in (*self._lots, *self._left) if each not in present]:
            self._left.pop(instance_id, None)
            lot = self._lots.pop(instance_id, None)
            if lot is not None:
                self._by_version.get(lot.key, {}).pop(instance_id, None)
            self._dirty.add(instance_id)

    def _put(self, record: InstanceRecord) -> None:
        key = version_key(record)
        lot = self._lots.get(record.instance_id)
        if lot is None:
            lot = self._lots[record.instance_id] = Lot(record.instance_id, key, record.slots, False)
            left = self._left.pop(record.instance_id, None)
            if left is not None:
                lot.grants = {name: count for name, count in left.slots.items() if name in self.holders}
                lot.goal = dict(lot.grants)
                lot.history = {
                    name: [(BEFORE, record.slots), (left.epoch, lot.grants.get(name, 0))] for name in self.holders
                }
        lot.slots = record.slots
        lot.provisioned = record.kind is Kind.PROVISIONED
        lots = self._by_version.setdefault(key, {})
        if record.state is InstanceState.READY:
            lots[lot.instance_id] = lot
        else:
            lots.pop(lot.instance_id, None)

    # -- deciding ------------------------------------------------------------------------------------------------------

    def versions(self) -> list[VersionKey]:
        return list(self._by_version)

    def settle(self, key: VersionKey, now_s: float, *, even: bool = False) -> None:
        """Decide goals and grants of one function version. `even`: also spread idle slots evenly."""
        lots = self._by_version.get(key, {})
        if not lots:
            self._by_version.pop(key, None)
            self._turns.pop(key, None)
            self.unsettled.discard(key)
            return
        sharers = sorted(
            name for name, g in self.holders.items() if g.sequence >= 0 and now_s - g.heard_at_s < SILENT_S
        )
        asked = {name: self.holders[name].asked.get(key) for name in sharers}
        requests = {name: each.requests if each else 0 for name, each in asked.items()}
        background = {name: each.background if each else 0 for name, each in asked.items()}
        pools = [[lot for lot in lots.values() if lot.provisioned is kind] for kind in (True, False)]
        held, inside = ([{n: sum(of(lot, n) for lot in pool) for n in sharers} for pool in pools]
                        for of in (_goal, self._inside))  # fmt: skip
        free = [sum(max(0, lot.unclaimed) for lot in pool) for pool in pools]
        slots = [sum(held[at].values()) + free[at] for at in (0, 1)]
        takes_turns = sum(requests.values()) > sum(slots) and any(each.waiting for each in asked.values() if each)
        turns = self._turns.pop(key, None) or Turns(now_s)
        if takes_turns:
            self._turns[key] = turns
        both = {name: held[0][name] + held[1][name] for name in sharers}
        targets = share(sum(slots), requests, background, both, turns, now_s, even=even)
        provisioned = split(targets, slots[0], requests, held[0], inside[0], inside[1])
        self._assign(pools[0], provisioned)
        self._assign(pools[1], {name: targets[name] - provisioned[name] for name in sharers})
        for lot in lots.values():
            self._grant(lot)
        if takes_turns or any(lot.goal.get(n, 0) > lot.grants.get(n, 0) for lot in lots.values() for n in lot.goal):
            self.unsettled.add(key)
        else:
            self.unsettled.discard(key)

    def _assign(self, pool: list[Lot], targets: Mapping[str, int]) -> None:
        """Change goals until each gateway's sum is its target: free slots first, then idle ones of others."""
        for lot in pool:
            for name in sorted(lot.goal, key=lambda n: -lot.goal[n]):  # fewer slots than before
                lot.goal[name] -= max(0, min(lot.goal[name], -lot.unclaimed))
        missing = {name: target - sum(lot.goal.get(name, 0) for lot in pool) for name, target in targets.items()}
        while missing and (receiver := max(missing, key=lambda name: missing[name])) and missing[receiver] > 0:
            free = [lot for lot in pool if lot.unclaimed > 0]
            if free:
                lot = min(free, key=lambda each: (each.goal.get(receiver, 0) - each.unclaimed, each.instance_id))
            else:
                donor = min(missing, key=lambda name: missing[name])
                if missing[donor] >= 0:
                    return
                given = [each for each in pool if each.goal.get(donor, 0) > 0]
                lot = min(given, key=lambda each: self._reluctance(each, donor))
                lot.goal[donor] -= 1
                missing[donor] += 1
            lot.goal[receiver] = lot.goal.get(receiver, 0) + 1
            missing[receiver] -= 1
        self._exchange_busy_for_idle(pool, targets)

    def _reluctance(self, lot: Lot, donor: str) -> tuple[bool, int, str]:
        """Idle slots are given first, and of those one of the instance that has the least inside."""
        is_busy = self._inside(lot, donor) >= lot.goal[donor]
        return is_busy, sum(self._inside(lot, name) for name in self.holders), lot.instance_id

    def _exchange_busy_for_idle(self, pool: list[Lot], names: Iterable[str]) -> None:
        """A slot that is waited for turns out to be busy, its gateway has an idle one elsewhere: that one instead."""
        for lot in pool:
            for donor in names:
                if self._inside(lot, donor) <= lot.goal.get(donor, 0):
                    continue
                waiting = [name for name in names if lot.goal.get(name, 0) > lot.grants.get(name, 0)]
                idle = [each for each in pool if 0 <= self._inside(each, donor) < each.goal.get(donor, 0)]
                if waiting and idle:
                    receiver, other = waiting[0], idle[0]
                    lot.goal[receiver] -= 1
                    lot.goal[donor] = lot.goal.get(donor, 0) + 1
                    other.goal[donor] -= 1
                    other.goal[receiver] = other.goal.get(receiver, 0) + 1

    def _grant(self, lot: Lot) -> None:
        """Take back at once what is above the goals; give only what nobody else may believe to have."""
        grants = {name: min(count, lot.goal.get(name, 0)) for name, count in lot.grants.items()}
        believed = {name: self.may_believe(lot.instance_id, name) for name in self.holders}
        room = lot.slots - sum(believed.values())
        for name in sorted(lot.goal):
            count = min(lot.goal[name], believed.get(name, 0) + room)  # the others may believe the rest
            if name in self.holders and count > grants.get(name, 0):
                grants[name] = count
                room -= max(0, count - believed[name])
        grants = {name: count for name, count in grants.items() if count}
        if grants != lot.grants:
            lot.grants = grants
            self._dirty.add(lot.instance_id)

    def may_believe(self, instance_id: str, gateway: str) -> int:
        """The most requests that a gateway may have, or send, inside an instance."""
        lot = self._lots.get(instance_id)
        if lot is None:
            return 0
        since = max((count for _, count in lot.history.get(gateway, ())), default=0)
        return max(since, lot.grants.get(gateway, 0), self._inside(lot, gateway))

    def _inside(self, lot: Lot, gateway: str) -> int:
        return self.holders[gateway].inside.get(lot.instance_id, 0)

    # -- writing -------------------------------------------------------------------------------------------------------

    def batch(self) -> Batch | None:
        """What has changed since the last one; from now on it may have been written. None: nothing has."""
        if not self._dirty and not self._dirty_holders:
            return None
        grants: list[tuple[str, Grants | None]] = []
        for instance_id in sorted(self._dirty):
            self._epoch += 1
            lot = self._lots.get(instance_id)
            grants.append((instance_id, Grants(self._epoch, dict(lot.grants)) if lot else None))
            if lot is not None:
                self._note(lot)
        if not grants:
            self._epoch += 1
        known = {name: each.holder for name, each in self.holders.items()}
        holders = tuple((name, known.get(name)) for name in sorted(self._dirty_holders))
        self._dirty, self._dirty_holders, self._unsure = set(), set(), set()
        return Batch(self._epoch, tuple(grants), holders)

    def not_written(self, batch: Batch) -> None:
        """Whether it was is not known: its parts are in the next one again, as they are then."""
        self._dirty.update(instance_id for instance_id, _ in batch.grants)
        self._dirty_holders.update(name for name, _ in batch.holders)
        self._unsure.update(instance_id for instance_id, _ in batch.grants)

    def _note(self, lot: Lot) -> None:
        """What may be believed from this epoch on. Where nothing changes for a gateway, its last grant goes on; but one
        that may never have been written must not be taken for confirmed, so it is noted once more."""
        for name in {*lot.grants, *lot.history}:
            history, count = lot.history.setdefault(name, []), lot.grants.get(name, 0)
            if not history or history[-1][1] != count or lot.instance_id in self._unsure:
                history.append((self._epoch, count))


def _goal(lot: Lot, gateway: str) -> int:
    return lot.goal.get(gateway, 0)


def _confirm(lot: Lot, gateway: str, epoch: int) -> None:
    """Drop what was granted before the last grant that the gateway has confirmed."""
    history = lot.history.get(gateway)
    if not history or len(history) == 1:
        return
    last = max((at for at, (since, _) in enumerate(history) if since <= epoch), default=0)
    del history[:last]
    if history == [(history[0][0], 0)] and history[0][0] != BEFORE:
        del lot.history[gateway]
