"""Written stand-ins for the control plane's seams, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from control_plane.errors import NotFound
from control_plane.explain import Explained
from control_plane.fleet_views import InstanceView, NodeView, PoolView, ProvisionStatus
from control_plane.model import QualifiedFunction
from provision.config import ProvisionConfig
from runtime.node_contract import NodeInfo


@dataclass
class FakeFleet:
    """Fills `ports.Fleet` from what a test puts in; a provisioned function stands at its static target."""

    views: list[InstanceView] = field(default_factory=list)
    statuses: dict[str, ProvisionStatus] = field(default_factory=dict)  # by str(QualifiedFunction)
    outputs: dict[str, list[bytes]] = field(default_factory=dict)  # by instance id
    followed: asyncio.Event = field(default_factory=asyncio.Event)  # set by a test to end the logs that are followed
    followers: int = 0
    machine: NodeInfo | None = None
    machines: list[NodeView] = field(default_factory=list)
    node_pools: list[PoolView] = field(default_factory=list)
    explanations: dict[str, tuple[Explained, ...]] = field(default_factory=dict)  # by str(QualifiedFunction)

    def provision_status(self, target: QualifiedFunction, config: ProvisionConfig | None) -> ProvisionStatus:
        said = self.statuses.get(str(target))
        if said is not None:
            return said
        wanted = config.static_target if config is not None else 0
        return ProvisionStatus(target=wanted, current=wanted, starting=0, current_error="")

    async def explained(self, target: QualifiedFunction) -> Sequence[Explained]:
        return self.explanations.get(str(target), ())

    def instances(self, service: str, function: str, version: str | None = None) -> Sequence[InstanceView]:
        return [
            view
            for view in self.views
            if (view.service, view.function) == (service, function) and version in (None, view.version)
        ]

    def all_instances(self) -> Sequence[InstanceView]:
        return list(self.views)

    def node(self) -> NodeInfo | None:
        return self.machine

    def nodes(self) -> Sequence[NodeView]:
        return list(self.machines)

    def pools(self) -> Sequence[PoolView]:
        return list(self.node_pools)

    async def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]:
        """What the test put in, cut to `tail_bytes`; with `follow`, then nothing until `followed` is set."""
        if instance_id not in self.outputs:
            raise NotFound("Instance", f"instance '{instance_id}' does not exist")
        output = b"".join(self.outputs[instance_id])
        if tail_bytes:
            yield output[-tail_bytes:]
        if not follow:
            return
        self.followers += 1
        try:
            await self.followed.wait()
        finally:
            self.followers -= 1


def instance_view(instance_id: str, service: str = "s", function: str = "f", version: str = "LATEST") -> InstanceView:
    """A ready, provisioned instance."""
    return InstanceView(
        instance_id=instance_id,
        service=service,
        function=function,
        version=version,
        kind="provisioned",
        state="READY",
        pid=100,
        in_flight=0,
        launched_at_s=1_700_000_000.0,
        ready_at_s=1_700_000_001.0,
        reason="",
    )
