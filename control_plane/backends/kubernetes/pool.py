"""What a pool means for a Pod: a pool's labels choose its nodes, and its tolerations let the Pod onto them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control_plane.backends.pools import Pools
from control_plane.errors import NoRoom
from runtime.node_contract import LaunchSpec


@dataclass(frozen=True, slots=True)
class PodPool:
    """As `pods.Pool` has it. `labels` are the Pod's own."""

    name: str
    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, Any]] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def pool_of(pools: Pools | None, spec: LaunchSpec) -> PodPool | None:
    """Where an instance is to run; None: anywhere. Raises NoRoom for a pool that is no more."""
    if pools is None or not spec.pool:
        return None
    pool = pools.get(spec.pool)
    if pool is None:
        raise NoRoom(f"pool '{spec.pool}' is not in pools.yaml any more")
    said = tuple(each.model_dump(by_alias=True, exclude_defaults=True) for each in pool.tolerations)
    return PodPool(pool.name, dict(pool.labels), said)
