"""What a cluster does to instances: images that cannot be had, cards that are taken, nodes that are cut off.

Over the API server in this process, and over the cluster of `STOKE_TEST_KUBECONFIG` where one is named.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from random import Random
from typing import Any, ClassVar, Final

import pytest

from control_plane.backends.kubernetes.client import KubernetesClient
from control_plane.backends.kubernetes.pods import FENCED, LABEL_INSTANCE, LABEL_OWNER, pod_name
from control_plane.backends.kubernetes.settings import GpuRule, KubernetesSettings
from control_plane.clock import SystemClock
from control_plane.fleet.keeper import Limits
from runtime.contract import InstanceState
from runtime.node import hooks
from runtime.node_contract import InstanceStatus, LaunchSpec
from tests.conformance.cluster_beds import (
    APART,
    GPU_RESOURCE,
    KUBECONFIG,
    ClusterBed,
    Heedless,
    KubernetesBeds,
    free_cards,
)
from tests.support.kube_kubelet import NO_REGISTRY
from tests.support.kube_plane import SlowStore, Stays

GPU_MEMORY_MIB: Final = 1024
CARDS_MAX: Final = 64
SMALL: Final[dict[str, Any]] = {"memory_mib": 48, "cpu": 0.5}
FAILED, LAUNCHING, READY = InstanceState.FAILED, InstanceState.LAUNCHING, InstanceState.READY


class ClusterBeds(KubernetesBeds):
    # Requests are small, as many are to fit; limits are not, as a Python that may use little starts slowly.
    settings: ClassVar = KubernetesSettings(
        gpus=(GpuRule(up_to_mib=GPU_MEMORY_MIB, resource=GPU_RESOURCE),), cpu_request_share=0.02, affinity=APART,
        image_failing_s_max=15.0, node_lost_s=1.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def beds() -> Iterator[KubernetesBeds]:
    with ClusterBeds() as beds:
        assert isinstance(beds, KubernetesBeds)
        yield beds


@pytest.fixture
async def bed(beds: KubernetesBeds) -> AsyncIterator[ClusterBed]:
    async with beds.bed() as bed:
        assert isinstance(bed, ClusterBed)
        yield bed


async def heard(bed: ClusterBed, instance_id: str, is_it: Callable[[InstanceStatus], bool]) -> InstanceStatus:
    async with asyncio.timeout(bed.deadline_s):
        async for status in bed.backend.watch():
            if status.instance_id == instance_id and is_it(status):
                return status
    raise AssertionError(f"nothing of the kind was said of {instance_id}")


async def test_an_image_that_cannot_be_had_is_named_while_it_is_tried_and_ends_the_launch(bed: ClusterBed) -> None:
    image = f"{NO_REGISTRY}/nobody/nothing:1"
    spec = bed.server(image=image)
    await bed.backend.launch(spec)
    said = await heard(bed, spec.instance_id, lambda status: "ImagePull" in status.reason)  # now Err…, now …BackOff
    assert said.state is LAUNCHING
    assert said.is_hindered
    assert not said.is_unplaced
    ended = await bed.until(spec.instance_id, FAILED)
    assert ended.reason.startswith("Function instance could not be started: ")
    assert image in ended.reason or NO_REGISTRY in ended.reason
    await bed.launched(bed.server())


async def test_a_program_that_its_image_does_not_have_is_named(bed: ClusterBed) -> None:
    status = await bed.launched(bed.server(command=["/no-such-program"], args=[]), FAILED)
    assert status.reason.startswith("StartError: ")
    assert '"/no-such-program"' in status.reason
    assert "no such file or directory" in status.reason


async def test_more_instances_than_cards_wait_saying_so_and_take_what_is_given_back(bed: ClusterBed) -> None:
    cards = free_cards((await bed.nodes()).values(), await bed.everybodys_pods())
    if not cards:
        pytest.skip(f"no node of the cluster has a free {GPU_RESOURCE}")
    if cards > CARDS_MAX:
        pytest.skip(f"the cluster has {cards} free {GPU_RESOURCE}, and each would get an instance: {CARDS_MAX} at most")
    specs = [bed.server(gpu_memory_mib=GPU_MEMORY_MIB, **SMALL) for _ in range(cards + 2)]
    await asyncio.gather(*(bed.backend.launch(spec) for spec in specs))
    ready: set[str] = set()
    waiting: set[str] = set()
    async with asyncio.timeout(bed.deadline_s):
        async for status in bed.backend.watch():
            if status.state is READY:
                ready.add(status.instance_id)
            elif f"Insufficient {GPU_RESOURCE}" in status.reason:
                assert status.is_hindered
                assert status.is_unplaced
                waiting.add(status.instance_id)
            if len(ready) == cards and len(waiting - ready) >= 2:
                break
    waiting -= ready
    assert len(waiting) == 2
    await bed.backend.stop(min(ready), 0.0)
    async with asyncio.timeout(bed.deadline_s):
        async for status in bed.backend.watch():
            if status.instance_id in waiting and status.state is READY:
                break
    assert not status.is_hindered


async def test_instances_on_a_node_that_is_cut_off_are_given_up_and_end_when_it_is_back(bed: ClusterBed) -> None:
    if bed.why_no_cut:
        pytest.skip(bed.why_no_cut)
    there = [await bed.launched(bed.server(**SMALL)) for _ in range(6)]
    nodes = {status.instance_id: await bed.node_of(status) for status in there}
    if len(set(nodes.values())) < 2:
        pytest.skip(f"a cut needs instances on two nodes; all six are on {set(nodes.values())}")
    node = nodes[there[0].instance_id]
    lost = [status for status in there if nodes[status.instance_id] == node]
    stay = [status for status in there if nodes[status.instance_id] != node]
    await bed.cut(node)
    try:
        for status in lost:
            ended = await bed.until(status.instance_id, FAILED)
            assert ended.reason == f"Function instance was given up: its node {node} does not answer"
            await bed.backend.forget(status.instance_id)
        assert {s.instance_id for s in await bed.backend.list() if s.state is READY} == {s.instance_id for s in stay}
        replacement = await bed.launched(bed.server(**SMALL))
        assert await bed.node_of(replacement) != node
        fenced = [pod_name(status.instance_id) for status in lost]
        pods = await bed.pods()
        assert all(FENCED in pods[name]["metadata"]["annotations"] for name in fenced if name in pods)
        await bed.restart()
        assert not await bed.ids() & {status.instance_id for status in lost}
    finally:
        await bed.heal(node)
    for status in lost:
        await bed.until_pod_is_gone(status.instance_id)
    assert not await bed.ids() & {status.instance_id for status in lost}
    assert {s.instance_id for s in await bed.backend.list() if s.state is READY} >= {s.instance_id for s in stay}


class Crashing(Stays):
    """A fleet over whatever cluster the bed has, in real time."""

    def __init__(self, bed: ClusterBed) -> None:
        self.bed = bed
        self.access, self.settings = bed.access, bed.settings.model_copy(update={"calls_per_s": 100.0})
        self.namespace = bed.settings.namespace or bed.access.namespace
        self.store = SlowStore()
        self.chance, self.clock, self.hooks = Random(1), SystemClock(), hooks
        self.way, self.spec = Heedless(bed.access), self._spec
        self._run = uuid.uuid4().hex[:6]

    def client(self) -> KubernetesClient:
        rate = self.settings.calls_per_s
        return KubernetesClient(self.access, self.clock, self.chance, calls_per_s=rate, transport=self.way)

    def _spec(self, instance_id: str) -> LaunchSpec:
        return self.bed.server(instance_id=instance_id, initializer="x", **SMALL)

    def new_id(self) -> str:
        return f"{self._run}-{super().new_id()}"

    async def alive(self) -> set[str]:
        pods = (await self.bed.pods()).values()
        ours = [pod for pod in pods if pod["metadata"]["labels"].get(LABEL_OWNER) == self.settings.owner]
        return {p["metadata"]["labels"][LABEL_INSTANCE] for p in ours if "deletionTimestamp" not in p["metadata"]}


async def test_crashes_of_the_control_plane_at_any_point_leave_no_pod_without_a_record(bed: ClusterBed) -> None:
    cluster = Crashing(bed)
    for _ in range(20 if KUBECONFIG else 2):
        await cluster.crash_soon(3.0 if KUBECONFIG else 0.5, 4, Limits(0.2, 1.0, 16))
    plane = await cluster.begin(Limits(0.2, 1.0, 16))
    await plane.until(2, bed.deadline_s)
    assert await cluster.alive() == set(cluster.store.records)
    await plane.until(0, bed.deadline_s)
    assert cluster.store.records == {}
    async with asyncio.timeout(bed.deadline_s):
        while await cluster.alive():
            await asyncio.sleep(0.05)
    await plane.crash()
    await cluster.way.end()
