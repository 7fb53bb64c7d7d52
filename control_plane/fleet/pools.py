"""Which pool of nodes an instance is launched into, and which instances are to move between pools. Pure.

The rules, for each function version by itself:

1. Of `n` instances `on_demand_share` are in on-demand pools: the base, and of what is above it a percentage, rounded to
   the nearest whole number, halves up (20 at 30 %: 6; 5 at 30 %: 1.5, so 2). The rest are in spot pools.
2. Within a kind the cheapest pool that is not out of stock gets the instance; of two at one price the first listed.
3. While every spot pool is out, on-demand pools take what they would have had, if compensation is on: else those
   launches are held. While every on-demand pool is out, spot pools take theirs: an instance that may be reclaimed
   serves better than none.
4. Compensation is not remembered but seen: it is what on-demand pools have above their share. Once a spot pool is not
   out, `rebalance` names instances of the kind that has too many, a few at a time. They are treated as of an older
   revision: they serve until what replaces them is ready.
5. A reclaim notice works alike: the replacement is launched at once, and the instance drains when it is ready, at the
   latest so early that the drain is over before the notice is.
6. What leaves when the target becomes smaller is taken from the kind that would be above its share (`leaving_order`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from control_plane.backends.pools import Pool, PoolKind, Pools

# Instances in a pool that is no more, or that were launched before there were pools: nothing is known of their price.
UNKNOWN = PoolKind.ON_DEMAND


@dataclass(frozen=True, slots=True)
class Choice:
    """Where one instance goes. `compensates`: it is in the other kind than its share says."""

    pool: str
    compensates: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One live instance that stays, as sharing out sees it."""

    instance_id: str
    pool: str
    launched_at_s: float
    is_ready: bool = True


@dataclass(frozen=True, slots=True)
class Reclaim:
    """What follows from a notice. From `drain_at_s` (UTC) on it drains whether or not it is replaced."""

    replace: bool
    drain_at_s: float


def on_demand_share(pools: Pools, n: int) -> int:
    """How many of `n` instances are to be in on-demand pools, were all pools in stock."""
    kinds = {pool.kind for pool in pools.pools}
    if len(kinds) == 1:
        return n if PoolKind.ON_DEMAND in kinds else 0
    above = max(0, n - pools.on_demand_base_capacity)
    return min(n, pools.on_demand_base_capacity + _nearest(above * pools.on_demand_percentage_above_base_capacity, 100))


def choose(pools: Pools, instances: Iterable[str], n: int, out: Collection[str] = ()) -> list[Choice]:
    """Where `n` more go beside `instances`, the pools of those that are there. Fewer than `n`: the others are held."""
    there = _by_kind(pools, instances)
    chosen: list[Choice] = []
    for _ in range(n):
        wanted = on_demand_share(pools, sum(there.values()) + 1)
        kind = PoolKind.ON_DEMAND if there[PoolKind.ON_DEMAND] < wanted else PoolKind.SPOT
        pool = cheapest(pools, kind, out)
        compensates = pool is None
        if pool is None and (kind is PoolKind.ON_DEMAND or pools.compensate_with_on_demand):
            kind = _other(kind)
            pool = cheapest(pools, kind, out)
        if pool is None:
            break
        there[kind] += 1
        chosen.append(Choice(pool.name, compensates))
    return chosen


def cheapest(pools: Pools, kind: PoolKind, out: Collection[str] = ()) -> Pool | None:
    """The cheapest pool of a kind that is in stock; None if there is none."""
    return min((p for p in pools.pools if p.kind is kind and p.name not in out), key=lambda p: p.price, default=None)


def rebalance(pools: Pools, members: Sequence[Member], target: int, out: Collection[str] = ()) -> list[str]:
    """Which of `members` should be replaced by one of the other kind, now that it is in stock. A tenth of the target at
    once, at least one; the same answer until those are gone. What is above the target is no concern of this."""
    wanted = on_demand_share(pools, target)
    by_kind = {kind: [m for m in members if _kind(pools, m.pool) is kind] for kind in PoolKind}
    excess = {
        PoolKind.ON_DEMAND: len(by_kind[PoolKind.ON_DEMAND]) - wanted,
        PoolKind.SPOT: len(by_kind[PoolKind.SPOT]) - (target - wanted),
    }
    for kind, above in excess.items():
        if above > 0 and cheapest(pools, _other(kind), out) is not None:
            oldest = sorted(by_kind[kind], key=lambda m: (m.launched_at_s, m.instance_id))
            return [m.instance_id for m in oldest[: min(above, max(1, target // 10))]]
    return []


def leaving_order(pools: Pools, members: Sequence[Member]) -> dict[str, int]:
    """By instance, its place among those that leave when there are too many, so that those that stay keep the share.
    Within a kind the dearest pool goes first, then what is not ready yet, then the youngest."""
    queues = {
        kind: sorted(
            (m for m in members if _kind(pools, m.pool) is kind),
            key=lambda m: (-_price(pools, m.pool), m.is_ready, -m.launched_at_s, m.instance_id),
        )
        for kind in PoolKind
    }
    order: dict[str, int] = {}
    while any(queues.values()):
        left = sum(map(len, queues.values())) - 1
        kind = PoolKind.ON_DEMAND if len(queues[PoolKind.ON_DEMAND]) > on_demand_share(pools, left) else PoolKind.SPOT
        order[(queues[kind] or queues[_other(kind)]).pop(0).instance_id] = len(order)
    return order


def on_reclaim(reclaim_at_s: float, drain_s: float, stop_s: float) -> Reclaim:
    """What to do about a machine that goes at `reclaim_at_s`, when draining takes `drain_s` and stopping `stop_s`."""
    return Reclaim(replace=True, drain_at_s=reclaim_at_s - drain_s - stop_s)


@dataclass(frozen=True, slots=True)
class Stock:
    """Which pools are out, by what launches into them met. A value: it says what it becomes."""

    out_until_s: Mapping[str, float]  # UTC seconds

    def out(self, now: float) -> frozenset[str]:
        return frozenset(name for name, until in self.out_until_s.items() if now < until)

    def ran_out(self, pool: str, now: float, out_s: float) -> Stock:
        """A launch has found no room there: nothing is tried there for `out_s`."""
        return Stock({**self.out_until_s, pool: now + out_s})

    def has_room(self, pool: str) -> Stock:
        """A launch has found room there."""
        return Stock({name: until for name, until in self.out_until_s.items() if name != pool})

    def next_try_s(self, now: float) -> float:
        """When the next pool that is out is tried again."""
        return min((until for until in self.out_until_s.values() if until > now), default=math.inf)


def _by_kind(pools: Pools, names: Iterable[str]) -> dict[PoolKind, int]:
    counts = dict.fromkeys(PoolKind, 0)
    for name in names:
        counts[_kind(pools, name)] += 1
    return counts


def _kind(pools: Pools, name: str) -> PoolKind:
    pool = pools.get(name)
    return UNKNOWN if pool is None else pool.kind


def _price(pools: Pools, name: str) -> float:
    pool = pools.get(name)
    return math.inf if pool is None else pool.price


def _other(kind: PoolKind) -> PoolKind:
    return PoolKind.SPOT if kind is PoolKind.ON_DEMAND else PoolKind.ON_DEMAND


def _nearest(above: int, below: int) -> int:
    """above ÷ below, halves up, in whole numbers: 0.3 of 5 has no exact float."""
    return (2 * above + below) // (2 * below)
