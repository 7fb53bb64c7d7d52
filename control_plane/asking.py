"""What one tick asks of the fleet: decided for all function versions before any of them gets a place. Pure.

A decision is only taken for true once it is known how many places there are: where some of what it asks for finds none
beside what others ask for, it is made again with the room that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from control_plane.explain import Explained
from control_plane.fleet.capacity import Capacity
from control_plane.fleet.placement import Placed
from control_plane.fleet.plan import Want
from control_plane.fleet.usage import Observation
from control_plane.model import Function, QualifiedFunction, Service
from control_plane.world import Provisioned
from provision.decide import Decision, Memory, Seen, step
from provision.together import together
from runtime.contract import VersionKey


@dataclass(slots=True)
class Step:
    """What one provision config comes to, not taken for true yet."""

    name: QualifiedFunction
    provisioned: Provisioned
    seen: Seen
    memory: Memory
    decision: Decision

    def hold_true(self, version: str) -> Explained | None:
        """From now on it is the newest; gives what explains it, where it differs from the one before."""
        config = self.provisioned
        config.memory, config.decision = self.memory, self.decision
        config.slots = float(self.seen.current * self.seen.slots_per_instance)
        return config.history.note(self.memory.now, version, self.seen, self.decision)


@dataclass(slots=True)
class Asked:
    """By one function version."""

    key: VersionKey
    function: Function
    service: Service
    observation: Observation
    steps: list[Step]
    want: Want
    places: Sequence[Placed] | None = None  # None: it looks for its own when it is its turn


def decided(name: QualifiedFunction, provisioned: Provisioned, seen: Seen) -> Step:
    return Step(name, provisioned, seen, *step(provisioned.config, provisioned.memory, seen))


def target(steps: Sequence[Step]) -> int:
    return together(step.decision for step in steps)


def find_places(asked: Sequence[Asked], capacity: Capacity, launches: Callable[[VersionKey, Want], int]) -> None:
    """Places for all that `launches` says will be launched, found together where that is more than one instance and
    there are devices. Who gets fewer asks for no more."""
    if not capacity.has_devices:
        return
    counts = {one.key: launches(one.key, one.want) for one in asked}
    if sum(counts.values()) < 2:
        return
    found = capacity.places_together(counts)
    for one in asked:
        one.places = found[one.key]
        if len(one.places) < counts[one.key]:
            _make_do(one, len(one.places))


def _make_do(one: Asked, room: int) -> None:
    """Decide again, as if that were all the room there is."""
    less = one.want.launches_max - room
    one.steps = [
        decided(each.name, each.provisioned, replace(each.seen, capacity_limit=each.seen.capacity_limit - less))
        if each.seen.capacity_limit is not None
        else each
        for each in one.steps
    ]
    one.want = replace(one.want, provisioned=target(one.steps), launches_max=room)
