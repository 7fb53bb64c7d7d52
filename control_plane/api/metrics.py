"""The control plane's metrics, as Prometheus reads them. Imported when first asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from control_plane.fleet_views import InstanceView, PoolView, ProvisionStatus
from control_plane.listing import all_items
from control_plane.model import QualifiedFunction
from control_plane.ports import Fleet, Registry
from runtime.node_contract import NodeInfo

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_PAGE: Final = 1000
_PROVISION_LABELS: Final = ("service", "qualifier", "function")
_INSTANCE_LABELS: Final = ("service", "function", "version", "kind", "state")

Provisioned = Sequence[tuple[QualifiedFunction, ProvisionStatus]]


async def render(registry: Registry, fleet: Fleet) -> bytes:
    statuses = [
        (target, fleet.provision_status(target, config))
        async for target, config in all_items(registry.list_provision, _PAGE)
    ]
    collectors = CollectorRegistry(auto_describe=False)
    collectors.register(_Snapshot(statuses, fleet.all_instances(), fleet.node()))
    collectors.register(_PoolsSnapshot(fleet.pools()))
    return generate_latest(collectors)


class _Snapshot(Collector):
    """The figures of one moment."""

    def __init__(self, provisioned: Provisioned, instances: Sequence[InstanceView], node: NodeInfo | None) -> None:
        self._provisioned = provisioned
        self._instances = instances
        self._node = node

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._gauge(
            "target", "Instances that should be ready.", [(t, float(s.target)) for t, s in self._provisioned]
        )
        yield self._gauge("current", "Instances that are ready.", [(t, float(s.current)) for t, s in self._provisioned])
        yield self._gauge(
            "starting", "Instances on their way to ready.", [(t, float(s.starting)) for t, s in self._provisioned]
        )
        yield self._gauge(
            "utilization_ratio",
            "Requests served by provisioned instances by their slots.",
            [(t, s.utilization) for t, s in self._provisioned if s.utilization is not None],
        )
        yield self._instances_gauge()
        if self._node is not None and self._node.forks:
            yield self._forks_gauge(self._node)

    def _gauge(self, name: str, about: str, values: list[tuple[QualifiedFunction, float]]) -> GaugeMetricFamily:
        gauge = GaugeMetricFamily(f"stoke_provision_{name}", about, labels=_PROVISION_LABELS)
        for target, value in values:
            gauge.add_metric([target.service_name, target.qualifier, target.function_name], value)
        return gauge

    def _forks_gauge(self, node: NodeInfo) -> GaugeMetricFamily:
        about = "Processes that are no instances: zygotes of functions, and forks that wait for their orders."
        gauge = GaugeMetricFamily("stoke_node_forks", about, labels=("node", "kind"))
        for kind, count in sorted(node.forks.items()):
            gauge.add_metric([node.node, kind], count)
        return gauge

    def _instances_gauge(self) -> GaugeMetricFamily:
        gauge = GaugeMetricFamily("stoke_instances", "Instances by state.", labels=_INSTANCE_LABELS)
        counts = Counter((v.service, v.function, v.version, v.kind, v.state) for v in self._instances)
        for labels, count in sorted(counts.items()):
            gauge.add_metric(list(labels), count)
        return gauge


class _PoolsSnapshot(Collector):
    """Nothing where there are no pools."""

    def __init__(self, pools: Sequence[PoolView]) -> None:
        self._pools = pools

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        if not self._pools:
            return
        labels = ("pool", "kind")
        instances = GaugeMetricFamily(
            "stoke_pool_instances", "Instances in a pool of nodes, ready or not.", labels=(*labels, "ready")
        )
        for pool in self._pools:
            instances.add_metric([pool.name, pool.kind, "true"], pool.ready)
            instances.add_metric([pool.name, pool.kind, "false"], pool.instances - pool.ready)
        yield instances
        out = GaugeMetricFamily("stoke_pool_out_of_stock", "Whether nothing is launched into it now.", labels=labels)
        reclaims = CounterMetricFamily(
            "stoke_pool_reclaims", "Instances whose machine was to be taken away.", labels=labels
        )
        compensations = CounterMetricFamily(
            "stoke_pool_compensations", "Launches into it because no spot pool had room.", labels=labels
        )
        for pool in self._pools:
            out.add_metric([pool.name, pool.kind], float(pool.is_out))
            reclaims.add_metric([pool.name, pool.kind], pool.reclaims)
            compensations.add_metric([pool.name, pool.kind], pool.compensations)
        yield from (out, reclaims, compensations)
