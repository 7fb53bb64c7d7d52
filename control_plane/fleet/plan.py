"""What to launch, relabel and drain for one function version: target and instances in, a plan out. Pure.

The rules, in the order they are applied:

1. A function that is gone keeps nothing: everything is drained.
2. Too few provisioned: promote on-demand instances (ready before starting, then the longest running), then launch.
3. Too many provisioned: while requests queue, the surplus becomes on-demand; else it is drained, starting ones first,
   then idle ones, then those with the least in flight, the youngest first.
4. Queued requests beyond the slots that are free or coming: launch on-demand instances, up to the function's maximum.
5. An on-demand instance idle for `on_demand_idle_s` is drained, unless requests queue.
6. Instances of an older revision serve until as many new ones are ready, then they are drained; when the node is full,
   and for no other reason, one of them makes room. So do those that leave for another reason (`leaves_for`): a machine
   that will be taken away, a pool that has more than its share.
7. An instance that has to leave by a time (`drain_at_s`) is drained then, replaced or not.

A plan that was carried out leaves nothing to do: planning again gives the empty plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from control_plane.fleet.census import Census
from provision.words import counted
from runtime.contract import InstanceState, Kind


@dataclass(frozen=True, slots=True)
class Unit:
    """One live instance, as planning sees it. DRAINING and ended ones are not live."""

    instance_id: str
    kind: Kind
    state: InstanceState
    revision: str
    launched_at_s: float
    in_flight: int = 0
    idle_since_s: float = 0.0  # UTC seconds since when nothing is in flight; only looked at when in_flight is 0
    leaves_for: str = ""  # why another takes its place; "" = it stays
    drain_at_s: float = math.inf  # UTC seconds
    leaves_as: int = 0  # its place in the order in which pools give instances up; without pools all have the same

    @property
    def is_starting(self) -> bool:
        return self.state.is_starting

    @property
    def is_ready(self) -> bool:
        return self.state is InstanceState.READY


@dataclass(frozen=True, slots=True)
class Want:
    """What should be true of one function version."""

    now: float  # UTC seconds
    revision: str  # the one that new instances have; "" when the function is gone
    slots: int = 1  # instanceConcurrency
    provisioned: int = 0  # target, summed over the qualifiers that resolve to this version
    queued: int = 0
    on_demand_max: int = 100
    on_demand_idle_s: float = 300.0
    launches_max: int = 1_000_000  # what capacity, back-off and the limit on simultaneous launches leave
    room: int | None = None  # what capacity alone leaves; None = the same


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now. `relabel` and `drain` name live instances; no instance is in both."""

    launch_provisioned: int = 0
    launch_on_demand: int = 0
    relabel: tuple[tuple[str, Kind], ...] = ()
    drain: tuple[tuple[str, str], ...] = ()  # (instance id, why)
    held: str = ""  # why fewer are launched than wanted

    def __bool__(self) -> bool:
        return bool(self.launch_provisioned or self.launch_on_demand or self.relabel or self.drain)


@dataclass(slots=True)
class _Draft:
    """A plan being written, with the live instances as they will be once it is carried out."""

    provisioned: list[Unit]
    on_demand: list[Unit]
    stale: list[Unit]
    relabel: dict[str, Kind] = field(default_factory=dict)
    drain: dict[str, str] = field(default_factory=dict)


NOTHING = Plan()


def is_settled(want: Want, there: Census) -> bool:
    """What is there is what should be: the plan would be empty and hold nothing back, however busy they are."""
    return (
        want.provisioned == there.provisioned
        and not want.queued
        and not there.on_demand
        and there.revisions <= {want.revision}
        and bool(want.revision or not there.live)
    )


def plan(want: Want, units: Sequence[Unit]) -> Plan:
    """Compare what should be with what is. `units` are the live instances of this function version."""
    if not want.revision:
        return Plan(drain=tuple((unit.instance_id, "the function was removed") for unit in units))
    staying = [u for u in units if want.now < u.drain_at_s]
    fresh = [u for u in staying if u.revision == want.revision and not u.leaves_for]
    draft = _Draft(
        provisioned=[u for u in fresh if u.kind is Kind.PROVISIONED],
        on_demand=[u for u in fresh if u.kind is Kind.ON_DEMAND],
        stale=[u for u in staying if u.revision != want.revision or u.leaves_for],
        drain={u.instance_id: u.leaves_for for u in units if want.now >= u.drain_at_s},
    )
    _promote(want, draft)
    _give_up_surplus(want, draft)
    missing = want.provisioned - len(draft.provisioned)
    launch_provisioned = max(0, min(missing, want.launches_max))
    _replace_stale(want, draft, is_full=missing > (want.launches_max if want.room is None else want.room))
    launch_on_demand = _overflow(
        want, draft, coming=launch_provisioned, launches_left=want.launches_max - launch_provisioned
    )
    _reap_idle(want, draft)
    later = missing - launch_provisioned
    held = f"{counted(later, 'launch', 'launches')} held" if later > 0 else ""
    return Plan(launch_provisioned, launch_on_demand, tuple(draft.relabel.items()), tuple(draft.drain.items()), held)


def _promote(want: Want, draft: _Draft) -> None:
    missing = want.provisioned - len(draft.provisioned)
    candidates = sorted(draft.on_demand, key=lambda u: (not u.is_ready, u.launched_at_s, u.instance_id))
    for unit in candidates[: max(0, missing)]:
        draft.relabel[unit.instance_id] = Kind.PROVISIONED
        draft.on_demand.remove(unit)
        draft.provisioned.append(unit)


def _give_up_surplus(want: Want, draft: _Draft) -> None:
    surplus = len(draft.provisioned) - want.provisioned
    if surplus <= 0:
        return
    if want.queued:
        # Requests wait: a label costs nothing, a new on-demand instance in its place would cost a cold start.
        for unit in sorted(draft.provisioned, key=_least_worth)[:surplus]:
            draft.relabel[unit.instance_id] = Kind.ON_DEMAND
            draft.provisioned.remove(unit)
            draft.on_demand.append(unit)
        return
    for unit in sorted(draft.provisioned, key=_least_worth)[:surplus]:
        draft.drain[unit.instance_id] = "above the target"
        draft.provisioned.remove(unit)


def _least_worth(unit: Unit) -> tuple[int, bool, int, float, str]:
    return (unit.leaves_as, not unit.is_starting, unit.in_flight, -unit.launched_at_s, unit.instance_id)


def _overflow(want: Want, draft: _Draft, *, coming: int, launches_left: int) -> int:
    units = [*draft.provisioned, *draft.on_demand, *draft.stale]
    free = sum(max(0, want.slots - u.in_flight) for u in units if u.is_ready)
    starting = want.slots * (coming + sum(u.is_starting for u in units))
    needed = math.ceil((want.queued - free - starting) / want.slots)
    return max(0, min(needed, want.on_demand_max - len(draft.on_demand), launches_left))


def _reap_idle(want: Want, draft: _Draft) -> None:
    if want.queued:
        return
    for unit in list(draft.on_demand):
        if unit.is_ready and not unit.in_flight and want.now - unit.idle_since_s >= want.on_demand_idle_s:
            draft.drain[unit.instance_id] = f"idle for {want.on_demand_idle_s:g} s"
            draft.on_demand.remove(unit)


def _replace_stale(want: Want, draft: _Draft, *, is_full: bool) -> None:
    """Rule 6. Launches that fail, or wait for others, are no reason to let go of what works. Stale on-demand instances
    that are idle go at once: the next request starts a fresh one."""
    ready = sum(u.is_ready for u in draft.provisioned)
    kept = sorted((u for u in draft.stale if u.kind is Kind.PROVISIONED), key=_least_worth, reverse=True)
    keep = max(0, want.provisioned - ready)
    if is_full and keep:
        keep = min(keep, max(0, len(kept) - 1))
    leaving = kept[keep:] + [u for u in draft.stale if u.kind is Kind.ON_DEMAND and not want.queued]
    for unit in leaving:
        draft.drain[unit.instance_id] = unit.leaves_for or "replaced by a newer revision"
        draft.stale.remove(unit)
