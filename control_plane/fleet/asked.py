"""What one tick asks of the fleet: gathered for all function versions before any of them gets a place. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from control_plane.fleet.capacity import Capacity
from control_plane.fleet.placement import Placed
from control_plane.fleet.plan import Want
from control_plane.fleet.usage import Observation
from control_plane.model import Function, QualifiedFunction, Service
from runtime.contract import VersionKey


@dataclass(slots=True)
class Asked:
    """By one function version."""

    key: VersionKey
    function: Function
    service: Service
    want: Want
    observation: Observation
    changed: set[QualifiedFunction] = field(default_factory=set)  # those whose decision is another one now
    places: Sequence[Placed] | None = None  # None: it looks for its own when it is its turn


def find_places(asked: Sequence[Asked], capacity: Capacity, launches: Callable[[VersionKey, Want], int]) -> None:
    """Places for all that will be launched, found together where that is more than one instance on a device. Who gets
    fewer than `launches` says has been told so: there is no room for more."""
    if not capacity.has_devices:
        return
    counts = {one.key: launches(one.key, one.want) for one in asked}
    if sum(count for key, count in counts.items() if capacity.asks_for_device(key)) < 2:
        return
    found = capacity.places_together(counts)
    for one in asked:
        one.places = found[one.key]
        if len(one.places) < counts[one.key]:
            one.want = replace(one.want, launches_max=len(one.places))
