"""What the API may show of the running side: decisions, instances, logs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from control_plane.autoscale import Autoscaler
from control_plane.explain import Explained
from control_plane.explanations import Explanations
from control_plane.fleet.families import capability, family
from control_plane.fleet.keeper import FleetKeeper
from control_plane.fleet.usage import UsageBook
from control_plane.fleet_views import DeviceView, InstanceView, NodeView, PoolView, ProvisionStatus
from control_plane.model import QualifiedFunction
from control_plane.ports import Backend
from provision.config import ProvisionConfig
from runtime.contract import InstanceRecord, InstanceState, Kind
from runtime.node_contract import NodeInfo


class FleetView:
    """Fills `ports.Fleet` from the autoscaler, the keeper and the backend."""

    def __init__(
        self,
        autoscaler: Autoscaler,
        keeper: FleetKeeper,
        usage: UsageBook,
        backend: Backend,
        explanations: Explanations | None = None,
    ) -> None:
        """Without `explanations`, no decision outlives the autoscaler."""
        self._autoscaler = autoscaler
        self._keeper = keeper
        self._usage = usage
        self._backend = backend
        self._explanations = explanations

    def provision_status(self, target: QualifiedFunction, config: ProvisionConfig | None) -> ProvisionStatus:
        key = self._autoscaler.key_of(target)
        provisioned = [r for r in self._keeper.records(key) if r.kind is Kind.PROVISIONED]
        ready = sum(r.state is InstanceState.READY for r in provisioned)
        starting = sum(r.state.is_starting for r in provisioned)
        error = self._keeper.current_error(key)
        launching = (r for r in provisioned if r.state is InstanceState.LAUNCHING and r.reason)
        progress = tuple(sorted({r.reason for r in launching}))
        if config is None:
            return ProvisionStatus(target=0, current=ready, starting=starting, current_error=error, progress=progress)
        decision = self._autoscaler.decision(target, config)
        # Not what fits, which `decision.target` is: who asked for more than the machine holds is to be told so.
        wanted = (
            max((say.wanted for say in decision.says), default=config.static_target)
            if decision
            else config.static_target
        )
        reading_error = self._autoscaler.reading_error(config)
        return ProvisionStatus(
            target=wanted,
            current=ready,
            starting=starting,
            current_error=error or self._autoscaler.capacity.error(key, wanted) or reading_error,
            in_force=decision.in_force if decision else (),
            reasons=decision.reasons if decision else ("not decided yet",),
            utilization=decision.utilization if decision else None,
            progress=progress,
            reading_error=reading_error,
        )

    async def explained(self, target: QualifiedFunction) -> Sequence[Explained]:
        known = self._autoscaler.explained(target)
        return known if self._explanations is None or not known else await self._explanations.before(target, known)

    def instances(self, service: str, function: str, version: str | None = None) -> Sequence[InstanceView]:
        return [
            self._view(record)
            for record in self._keeper.records()
            if (record.service, record.function) == (service, function) and version in (None, record.version)
        ]

    def all_instances(self) -> Sequence[InstanceView]:
        return [self._view(record) for record in self._keeper.records()]

    def node(self) -> NodeInfo | None:
        return self._autoscaler.capacity.info

    def nodes(self) -> Sequence[NodeView]:
        info = self._autoscaler.capacity.info
        if info is None:
            return ()
        records = self._keeper.records()
        promised = self._autoscaler.capacity.taken()
        on_device: defaultdict[str, list[str]] = defaultdict(list)
        for record in records:
            on_device[record.device].append(record.instance_id)
        devices = tuple(
            DeviceView(
                gpu=gpu,
                family=family(capability(gpu.get("compute_capability", ""))),
                promised_mib=promised.gpu_mib.get(gpu.get("uuid", ""), 0),
                instances=tuple(on_device.get(gpu.get("uuid", ""), ())),
            )
            for gpu in info.gpus
        )
        return (NodeView(info, promised.memory_mib, promised.cpu, promised.disk_mib, len(records), devices),)

    def pools(self) -> Sequence[PoolView]:
        return self._keeper.pools()

    def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]:
        """The output of a running or ended instance. Raises NotFound when reading begins, if no log is kept."""
        return self._backend.logs(instance_id, tail_bytes=tail_bytes, follow=follow)

    def _view(self, record: InstanceRecord) -> InstanceView:
        return InstanceView(
            instance_id=record.instance_id,
            service=record.service,
            function=record.function,
            version=record.version,
            kind=record.kind.value,
            state=record.state.value,
            pid=record.pid,
            in_flight=self._usage.in_flight(record.instance_id),
            launched_at_s=record.launched_at_s,
            ready_at_s=record.ready_at_s,
            reason=record.reason,
            sample=self._autoscaler.samples.get(record.instance_id),
            device=record.device,
            gpu_memory_mib=record.gpu_memory_mib,
        )
