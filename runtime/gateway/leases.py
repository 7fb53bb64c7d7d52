"""The slots that this gateway may use where it shares instances with others: grants obeyed, and a report of them. Pure.

A grant counts from the moment it is read. One that became smaller while requests are inside takes effect as they end;
until then they are told as being inside, and nobody else is given their slots.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from runtime.contract import VersionKey
from runtime.gateway.gate import Gate
from runtime.leasing import Asked, Grants, Holder, LeaseReport


class Leases:
    """What was granted to one gateway."""

    def __init__(self, gateway_id: str) -> None:
        self.gateway_id = gateway_id
        self.epoch = 0  # everything up to it has been read
        self._granted: dict[str, tuple[int, int]] = {}  # by instance: epoch, slots
        self.is_over = False  # nothing is granted any more

    def read(self, instance_id: str, grants: Grants | None) -> bool:
        """Obey what is said of one instance; whether anything changed. What is older than what is known does nothing;
        None: there is no such instance any more."""
        before = self.slots(instance_id)
        if grants is None:
            self._granted.pop(instance_id, None)
        elif grants.epoch > self._granted.get(instance_id, (0, 0))[0]:
            self._granted[instance_id] = grants.epoch, grants.slots.get(self.gateway_id, 0)
            self.epoch = max(self.epoch, grants.epoch)
        return self.slots(instance_id) != before

    def slots(self, instance_id: str) -> int:
        """How many slots of this instance are ours. Of one that nothing was said of: none."""
        return 0 if self.is_over else self._granted.get(instance_id, (0, 0))[1]

    def known(self) -> Iterable[str]:
        return list(self._granted)


def requests_at(gate: Gate) -> int:
    """Inside instances and waiting; asynchronous runs are not among them."""
    return gate.usage.in_flight - gate.background_inside + gate.usage.queued


def make_lease_report(leases: Leases, holder: Holder, sequence: int, gates: Mapping[VersionKey, Gate]) -> LeaseReport:
    """What is inside and what is asked for at this instant."""
    inside: dict[str, int] = {}
    asked = []
    for (service, version, function), gate in gates.items():
        usage = gate.usage
        for instance in gate.instances():
            if instance.in_flight:
                inside[instance.instance_id] = instance.in_flight
        requests = requests_at(gate)
        if requests or usage.background:
            asked.append(
                dataclasses.asdict(Asked(service, version, function, requests, usage.queued, usage.background))
            )
    return LeaseReport(
        gateway=leases.gateway_id,
        pid=holder.pid,
        start_time=holder.start_time,
        sequence=sequence,
        epoch=leases.epoch,
        inside=inside,
        asked=asked,
        host=holder.host,
        lease_s=holder.lease_s,
        away_s=holder.away_s,
    )
