"""Pools on a cluster, in virtual time: where Pods may run, nodes that are taken away, and pools without room."""

from __future__ import annotations

import asyncio

from control_plane.backends.kubernetes.reclaims import Reclaims
from control_plane.backends.pools import Pools, parse_pools
from tests.support.kube_api import Object
from tests.support.kube_plane import Cluster, Plane, begun, until
from tests.support.virtual_time import in_virtual_time

TAINT = "aws-node-termination-handler/spot-itn"


def both_kinds() -> Pools:
    tolerated = [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}]
    return parse_pools(
        {
            "pools": [
                {"name": "steady", "kind": "on-demand", "price": 3.0, "labels": {"pool": "steady"}},
                {"name": "cheap", "kind": "spot", "price": 1.0, "labels": {"pool": "cheap"}, "tolerations": tolerated},
            ],
            "onDemandPercentageAboveBaseCapacity": 30,
            "placeTimeoutS": 60.0,
        }
    )


def in_pool(cluster: Cluster, name: str) -> list[str]:
    return [pod for pod, item in cluster.api.pods.items() if item["metadata"]["labels"]["stoke.dev/pool"] == name]


async def with_pools(ready: int) -> tuple[Cluster, Plane]:
    cluster = Cluster()
    cluster.pools = both_kinds()
    return await begun(cluster, ready=ready)


@in_virtual_time
async def test_a_pod_is_asked_for_on_the_nodes_of_its_pool() -> None:
    cluster, plane = await with_pools(10)
    assert (len(in_pool(cluster, "steady")), len(in_pool(cluster, "cheap"))) == (3, 7)
    steady, cheap = (cluster.api.pods[in_pool(cluster, name)[0]]["spec"] for name in ("steady", "cheap"))
    assert steady["nodeSelector"] == {"pool": "steady"}
    assert cheap["nodeSelector"] == {"pool": "cheap"}
    assert cheap["tolerations"] == [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}]
    await plane.crash()


@in_virtual_time
async def test_what_runs_on_a_node_that_will_be_taken_away_is_replaced_elsewhere() -> None:
    cluster, plane = await with_pools(6)
    node = cluster.api.objects["nodes"]["node-1"]
    there = {name for name, pod in cluster.api.pods.items() if pod["spec"]["nodeName"] == "node-1"}
    assert there
    node["spec"]["taints"] = [{"key": TAINT, "effect": "NoSchedule"}]
    cluster.api.put("nodes", node, "MODIFIED")
    await until(lambda: sum(r.reclaim_at_s > 0.0 for r in plane.keeper.records()) == len(there))
    began_s = asyncio.get_running_loop().time()
    while any(record.reclaim_at_s for record in plane.keeper.records()):
        await plane.settle(6)
        await asyncio.sleep(0.3)
        assert plane.ready() >= 6
    assert asyncio.get_running_loop().time() - began_s < 30.0
    assert all(pod["spec"]["nodeName"] != "node-1" for pod in cluster.api.pods.values())
    assert len(in_pool(cluster, "steady")) == 2
    await plane.crash()


@in_virtual_time
async def test_a_pod_that_no_node_of_its_pool_has_room_for_goes_to_another_pool() -> None:
    cluster, plane = await with_pools(3)
    live = cluster.kubelet.live

    async def no_room(pod: Object) -> None:
        if pod["metadata"]["labels"]["stoke.dev/pool"] != "cheap":
            return await live(pod)
        message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
        waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        cluster.api.set_status(pod["metadata"]["name"], conditions=[waits])
        await cluster.kubelet.told_to_end(pod).wait()
        return cluster.api.confirm_deleted(pod["metadata"]["name"])

    cluster.kubelet.live = no_room  # type: ignore[method-assign]
    began_s = asyncio.get_running_loop().time()
    before = len(in_pool(cluster, "cheap"))
    await plane.until(6)
    assert 60.0 <= asyncio.get_running_loop().time() - began_s < 90.0
    assert len(in_pool(cluster, "cheap")) == before
    await plane.crash()


def test_a_notice_is_reckoned_from_when_the_taint_was_set_or_first_seen() -> None:
    reclaims = Reclaims([TAINT], 120.0)
    first = {"metadata": {"name": "a"}, "spec": {"taints": [{"key": TAINT, "timeAdded": "1970-01-01T00:10:00Z"}]}}
    second = {"metadata": {"name": "b"}, "spec": {"taints": [{"key": TAINT}, {"key": "other"}]}}
    assert reclaims.look([first, second, {"metadata": {"name": "c"}, "spec": {}}], 700.0) == {"a", "b"}
    assert [reclaims.at_s(name) for name in "abc"] == [720.0, 820.0, 0.0]
    assert reclaims.look([first, second], 750.0) == frozenset(), "told once"
    assert reclaims.at_s("b") == 820.0
    assert reclaims.look([first], 760.0) == frozenset()
    assert reclaims.at_s("b") == 0.0
