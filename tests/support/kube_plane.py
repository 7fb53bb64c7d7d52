"""A control plane's fleet over a fake cluster, in virtual time: begun, crashed at any point, and begun anew."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from random import Random

from control_plane.backends.kubernetes.access import Access
from control_plane.backends.kubernetes.backend import KubernetesBackend
from control_plane.backends.kubernetes.client import KubernetesClient
from control_plane.backends.kubernetes.life import Hooks
from control_plane.backends.kubernetes.outputs import OutputFolder
from control_plane.backends.kubernetes.pool import pool_of
from control_plane.backends.kubernetes.reclaims import Reclaims
from control_plane.backends.kubernetes.settings import KubernetesSettings
from control_plane.backends.pools import Pools
from control_plane.errors import Unavailable
from control_plane.fleet.keeper import FleetKeeper, Limits
from control_plane.fleet.plan import Want
from control_plane.fleet.pooling import Pooling
from control_plane.fleet.records import MemoryRecordStore
from control_plane.fleet.usage import UsageBook
from control_plane.ports import Clock
from runtime.contract import InstanceRecord, InstanceState
from runtime.node.hooks import Answer
from runtime.node_contract import LaunchSpec
from tests.support.kube_api import NAMESPACE, KubeApi
from tests.support.kube_kubelet import PretendKubelet
from tests.support.kube_wire import Transport
from tests.support.virtual_time import VirtualClock

KEY = ("svc", "LATEST", "f")


def spec(instance_id: str) -> LaunchSpec:
    return LaunchSpec(
        instance_id, "svc", "f", "LATEST", "r1", "custom-container", image="i:1", initializer="x", memory_mib=256
    )


class SlowStore(MemoryRecordStore):
    """A crash may come before a write, or after it and before its answer."""

    async def put(self, records: Iterable[InstanceRecord]) -> None:
        await asyncio.sleep(0.002)
        await super().put(records)
        await asyncio.sleep(0.002)

    async def remove(self, instance_ids: Iterable[str]) -> None:
        await asyncio.sleep(0.002)
        await super().remove(instance_ids)
        await asyncio.sleep(0.002)


class MemoryOutputs(OutputFolder):
    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}

    async def keep(self, instance_id: str, said: bytes) -> None:
        self.said[instance_id] = said

    async def read(self, instance_id: str) -> bytes | None:
        return self.said.get(instance_id)


class Servers:
    """`life.Hooks` for the servers of a pretended kubelet; those on a node that is cut off answer nobody."""

    def __init__(self, kubelet: PretendKubelet) -> None:
        self._kubelet = kubelet
        self.initialized: list[str] = []

    async def connect(self, address: str) -> None:
        await asyncio.sleep(0.001)
        ip = address.split(":")[1]
        name = next((name for name, at in self._kubelet.running.items() if at == ip), "")
        pod = self._kubelet.api.pods.get(name)
        if pod is None:
            raise ConnectionRefusedError(f"nobody listens at {address}")
        if pod["spec"].get("nodeName") in self._kubelet.cut_off:
            await asyncio.Event().wait()

    async def request(self, address: str, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        await self.connect(address)
        if path == "/initialize":
            self.initialized.append(address)
            await asyncio.sleep(0.05)
        return Answer(200, "")


class Stays(ABC):
    """What stays when control planes come and go."""

    pools: Pools | None = None
    namespace: str
    settings: KubernetesSettings
    store: MemoryRecordStore
    chance: Random
    clock: Clock
    hooks: Hooks
    spec: Callable[[str], LaunchSpec]
    planes = 0
    launched = 0

    @abstractmethod
    def client(self) -> KubernetesClient: ...

    def new_id(self) -> str:
        self.launched += 1
        return f"i{self.launched}"

    async def begin(self, limits: Limits | None = None) -> Plane:
        self.planes += 1
        plane = Plane(self, limits or Limits(2.0, 1.0, 16))
        await plane.keeper.adopt()
        return plane

    async def crash_soon(self, life_s_max: float, instances_max: int, limits: Limits | None = None) -> None:
        """A control plane wants now so many instances and now so many, and crashes at any point."""
        plane = await self.begin(limits)
        until_s = asyncio.get_running_loop().time() + self.chance.uniform(0.0, life_s_max)
        while (left_s := until_s - asyncio.get_running_loop().time()) > 0:
            await plane.settle(self.chance.randrange(instances_max + 1))
            await asyncio.sleep(min(left_s, self.chance.uniform(0.0, 1.0)))
        await plane.crash()


class Cluster(Stays):
    """In virtual time, over an API server in this process."""

    namespace = NAMESPACE

    def __init__(self, nodes: int = 3, seed: int = 1, settings: KubernetesSettings | None = None) -> None:
        self.api = KubeApi()
        for number in range(nodes):
            self.api.add_node(f"node-{number}")
        self.kubelet = PretendKubelet(self.api)
        self.hooks = self.servers = Servers(self.kubelet)
        self.store = SlowStore()
        self.chance = Random(seed)
        self.clock = VirtualClock()
        self.settings = settings or KubernetesSettings(owner="tests")
        self.spec: Callable[[str], LaunchSpec] = spec

    def client(self) -> KubernetesClient:
        return KubernetesClient(
            Access("http://cluster", NAMESPACE), self.clock, self.chance,
            calls_per_s=self.settings.calls_per_s, transport=Transport(self.api),
        )  # fmt: skip

    def alive(self) -> set[str]:
        """The instances whose Pods nobody has told to end."""
        return {
            name.removeprefix("stoke-")
            for name, pod in self.api.pods.items()
            if "deletionTimestamp" not in pod["metadata"]
        }


class Plane:
    def __init__(self, cluster: Stays, limits: Limits) -> None:
        self.cluster = cluster
        self.backend = KubernetesBackend(
            cluster.client(), cluster.settings, cluster.namespace, cluster.clock, cluster.chance, cluster.hooks,
            MemoryOutputs(), epoch=cluster.planes, pool_of=lambda spec: pool_of(cluster.pools, spec),
            reclaims=Reclaims(cluster.pools.reclaim_taints, cluster.pools.reclaim_notice_s) if cluster.pools else None,
        )  # fmt: skip
        self.keeper = FleetKeeper(
            self.backend, cluster.store, UsageBook(), cluster.clock, cluster.new_id, limits,
            pooling=Pooling(cluster.pools, limits.drain_timeout_s, limits.stop_grace_s),
        )  # fmt: skip
        self._tasks = [asyncio.create_task(self.backend.run()), asyncio.create_task(self.keeper.follow())]

    async def settle(self, provisioned: int) -> None:
        want = Want(now=self.cluster.clock.utc_s(), revision="r1", provisioned=provisioned)
        with suppress(Unavailable):
            await self.keeper.settle(KEY, want, self.cluster.spec)

    async def until(self, provisioned: int, timeout_s: float = 600.0) -> None:
        """So many are READY, and nothing else is there."""
        async with asyncio.timeout(timeout_s):
            while self.ready() != provisioned or len(self.keeper.records()) != provisioned:
                await self.settle(provisioned)
                await asyncio.sleep(0.3)

    def ready(self) -> int:
        return sum(record.state is InstanceState.READY for record in self.keeper.records())

    async def crash(self) -> None:
        """Whatever was under way is not finished, and nobody is told."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.keeper.close()
        await self.backend.close()


async def begun(cluster: Cluster | None = None, *, ready: int = 0) -> tuple[Cluster, Plane]:
    """A control plane that follows its cluster, with so many instances."""
    cluster = cluster or Cluster()
    plane = await cluster.begin()
    await until(plane.keeper.connected.is_set)
    await plane.until(ready)
    return cluster, plane


async def until(condition: Callable[[], bool], timeout_s: float = 600.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.05)
