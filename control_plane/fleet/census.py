"""How many instances of one function version there are, of which kind and how far. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runtime.contract import InstanceRecord, InstanceState, Kind


@dataclass(frozen=True, slots=True)
class Census:
    """Live instances: DRAINING and ended ones count nowhere."""

    ready: int = 0  # provisioned, as is the next
    starting: int = 0
    on_demand: int = 0
    on_demand_starting: int = 0
    newest_ready_at: float | None = None  # when the last of the `ready` became so, UTC seconds
    revisions: frozenset[str] = frozenset()
    starting_at: tuple[float, ...] = ()  # when each of the `starting` was launched, UTC seconds

    @property
    def provisioned(self) -> int:
        return self.ready + self.starting

    @property
    def live(self) -> int:
        return self.provisioned + self.on_demand


EMPTY = Census()
LEAVING = ""  # in the place of a revision: its machine will be taken away, so it is to be replaced


def census(records: Iterable[InstanceRecord]) -> Census:
    """Count them."""
    ready = starting = on_demand = on_demand_starting = 0
    newest: float | None = None
    revisions = set()
    launched = []
    for record in records:
        is_ready = record.state is InstanceState.READY
        if not record.state.is_live:
            continue
        revisions.add(LEAVING if record.reclaim_at_s else record.revision)
        if record.kind is Kind.ON_DEMAND:
            on_demand += 1
            on_demand_starting += not is_ready
        elif is_ready:
            ready += 1
            newest = record.ready_at_s if newest is None else max(newest, record.ready_at_s)
        else:
            starting += 1
            launched.append(record.launched_at_s)
    return Census(ready, starting, on_demand, on_demand_starting, newest, frozenset(revisions), tuple(launched))


def hindrance(records: Iterable[InstanceRecord]) -> str:
    """What is in the way of a launch, "" when nothing is; of several the first by the alphabet."""
    words = (r.reason for r in records if r.is_hindered and r.state is InstanceState.LAUNCHING)
    return min(words, default="")
