"""Node pools: what an operator says of them in `pools.yaml`, read and checked.

Which pool a launch goes to is decided in `control_plane.fleet.pools`; how a pool is asked for is the backend's: a Pod
gets its node selector and tolerations, a plain node is asked whether it has the labels.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from control_plane.errors import InvalidArgument

POOLS_MAX = 64
# Of AWS's termination handler, of Google's clusters, and of the cluster autoscaler before it gives a node back.
RECLAIM_TAINTS = (
    "aws-node-termination-handler/spot-itn",
    "cloud.google.com/impending-node-termination",
    "ToBeDeletedByClusterAutoscaler",
)

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
_Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?$")]
_Value = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")]


class PoolKind(StrEnum):
    """How its machines are paid for. Nothing to do with on-demand instances, which are started for a request."""

    ON_DEMAND = "on-demand"  # stays until it is given back
    SPOT = "spot"  # cheaper, may be out of stock, and may be reclaimed at short notice


class _Checked(BaseModel):
    """Wrong names are refused: a pool's share that was misspelled would be none."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class Toleration(_Checked):
    """As in a Pod."""

    key: str = ""
    operator: Annotated[str, StringConstraints(pattern="^(Equal|Exists)$")] = "Equal"
    value: str = ""
    effect: Annotated[str, StringConstraints(pattern="^(NoSchedule|PreferNoSchedule|NoExecute)?$")] = ""
    toleration_seconds: int | None = Field(default=None, ge=0)


class Pool(_Checked):
    """Machines that are alike."""

    name: _Name
    kind: PoolKind = PoolKind.ON_DEMAND
    price: float = Field(ge=0.0, le=1e9, allow_inf_nan=False)  # of one instance for an hour, in any currency
    labels: dict[_Label, _Value] = Field(default_factory=dict, max_length=16)  # that its nodes have, all of them
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=16)


class Pools(_Checked):
    """All pools, and how instances are shared out between those of either kind."""

    pools: tuple[Pool, ...] = Field(min_length=1, max_length=POOLS_MAX)
    on_demand_base_capacity: int = Field(default=0, strict=True, ge=0, le=1000)  # instances, of each function version
    # ACK's own default is 20 for its node pools; without spot pools all are on demand whatever stands here.
    on_demand_percentage_above_base_capacity: int = Field(default=100, strict=True, ge=0, le=100)
    compensate_with_on_demand: bool = Field(default=True, strict=True)  # while no spot pool has room
    # A launch that finds no machine for so long is taken back, and its pool is left alone for `out_s`.
    place_timeout_s: float = Field(default=60.0, gt=0.0, le=3600.0)
    out_s: float = Field(default=120.0, gt=0.0, le=86_400.0)
    # Keys of the taints that a node of a cluster gets when it will be taken away, and how long it has from then on.
    reclaim_taints: tuple[str, ...] = Field(default=RECLAIM_TAINTS, max_length=32)
    reclaim_notice_s: float = Field(default=120.0, ge=0.0, le=86_400.0)

    @model_validator(mode="after")
    def _names_are_different(self) -> Self:
        names = [pool.name for pool in self.pools]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"name {twice[0]!r} is given twice; each pool has a name of its own")
        return self

    def get(self, name: str) -> Pool | None:
        """The pool of this name; None for "" and for one that is no more."""
        return next((pool for pool in self.pools if pool.name == name), None)


def parse_pools(values: Any) -> Pools:
    """Check what a file has. Raises InvalidArgument, which names the field, the value and what is allowed."""
    try:
        return Pools.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "pools"
        raise InvalidArgument(f"{place} is {first['input']!r}: {first['msg']}") from error


def read_pools(path: Path) -> Pools:
    """Raises InvalidArgument for a file that cannot be read, is no YAML or says what is not allowed."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}") from error
    try:
        return parse_pools(values)
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error.message}") from error
