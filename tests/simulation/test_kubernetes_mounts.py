"""What a function wants mounted reaches its Pod, or is the reason why there is none."""

from __future__ import annotations

from dataclasses import replace

from control_plane.backends.kubernetes.settings import KubernetesSettings
from runtime.mounts import at, read_source, to_dicts
from runtime.node_contract import LaunchSpec
from tests.support.kube_plane import KEY, Cluster, spec, until
from tests.support.virtual_time import in_virtual_time

MODELS = at(read_source("pvc://models/llm"), "/mnt/models", read_only=True)


def mounting(instance_id: str) -> LaunchSpec:
    return replace(spec(instance_id), mounts=to_dicts([MODELS]), user_id=10003, group_id=10004)


@in_virtual_time
async def test_a_claim_that_is_allowed_is_mounted_into_every_pod() -> None:
    cluster = Cluster(settings=KubernetesSettings(owner="tests", allowed_mounts=("pvc://models",)))
    cluster.spec = mounting
    plane = await cluster.begin()
    await plane.until(2)
    for pod in cluster.api.pods.values():
        claim = {"claimName": "models", "readOnly": True}
        assert {"name": "nas-0", "persistentVolumeClaim": claim} in pod["spec"]["volumes"]
        assert pod["spec"]["securityContext"]["runAsUser"] == 10003
    await plane.crash()
    plane = await cluster.begin()
    await plane.until(2)
    assert cluster.launched == 2, "those that were launched are known again"
    await plane.crash()


@in_virtual_time
async def test_one_that_is_not_allowed_is_the_reason_and_makes_no_pod() -> None:
    cluster = Cluster()
    cluster.spec = mounting
    plane = await cluster.begin()
    await until(plane.keeper.connected.is_set)
    await plane.settle(1)
    await until(lambda: "'pvc://models/llm': must be at or below" in plane.keeper.current_error(KEY))
    assert cluster.api.pods == {}
    await plane.crash()
