"""The fleet on Kubernetes in virtual time: many at once, crashes at any point, outages, and a node that is cut off."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import Any

import pytest

from control_plane.backends.kubernetes.access import Access
from control_plane.backends.kubernetes.assemble import Found
from control_plane.backends.kubernetes.sweep import sweep
from control_plane.fleet.keeper import Limits
from runtime.contract import InstanceState
from tests.support.kube_api import NAMESPACE, KubeApi, status_answer
from tests.support.kube_plane import KEY, Cluster, begun, until
from tests.support.virtual_time import VirtualTimeLoop, in_virtual_time

CRASHES = 500


def calls_per_s_max(api: KubeApi) -> int:
    """The most calls in any one second."""
    at = sorted(when for when, _, _ in api.asked)
    return max(bisect_left(at, when + 1.0 - 1e-9) - first for first, when in enumerate(at))


@in_virtual_time
async def test_two_hundred_at_once_are_all_ready_by_at_most_twenty_calls_a_second() -> None:
    cluster = Cluster(nodes=8)
    plane = await cluster.begin(Limits(2.0, 1.0, 200))
    await plane.until(200)
    assert cluster.alive() == set(cluster.store.records)
    assert {record.state for record in cluster.store.records.values()} == {InstanceState.READY}
    assert len({record.address for record in cluster.store.records.values()}) == 200
    await plane.until(0)
    await until(lambda: not cluster.api.pods)
    assert calls_per_s_max(cluster.api) <= 20
    assert len([call for call in cluster.api.asked if call[1] == "POST"]) == 200
    await plane.crash()


@pytest.mark.parametrize("seed", [1, 2])
def test_no_pod_is_left_after_crashes_of_the_control_plane_at_any_point(seed: int) -> None:
    async def story() -> None:
        cluster = Cluster(seed=seed)
        for number in range(1, CRASHES // 2 + 1):
            await cluster.crash_soon(3.0, 5)
            if number % 50 == 0:  # one that is left alone makes everything true
                plane = await cluster.begin()
                await plane.until(3)
                await until(lambda: cluster.alive() == set(cluster.store.records))
                await plane.crash()
        plane = await cluster.begin()
        await plane.until(0)
        await until(lambda: not cluster.api.pods)
        assert cluster.store.records == {}
        assert cluster.kubelet.running == {}
        assert cluster.launched > CRASHES // 4
        await plane.crash()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(story())


@in_virtual_time
async def test_calls_that_are_lost_or_refused_leave_nothing_behind() -> None:
    cluster = Cluster(seed=7)
    chance = cluster.chance
    cluster.api.sever = lambda method, path: chance.choices(["", "before", "after"], [90, 5, 5])[0]
    cluster.api.refuse = lambda method, path: (
        status_answer(429, "TooManyRequests", "later", retry_after="1") if chance.random() < 0.05 else None
    )
    plane = await cluster.begin()
    for target in (5, 1, 8, 0, 4):
        await plane.until(target)
        cluster.api.forget_history()
        cluster.api.end_watches()
    await plane.until(0)
    await until(lambda: not cluster.api.pods)
    assert cluster.store.records == {}
    await plane.crash()


@in_virtual_time
async def test_a_pod_that_could_not_be_let_go_of_is_let_go_of_soon() -> None:
    cluster, plane = await begun(ready=1)
    (name,) = cluster.api.pods
    lost = iter(["before"])
    cluster.kubelet.end_s = 0.5
    cluster.api.set_status(name, phase="Failed", reason="Evicted", message="low on memory")
    cluster.api.sever = lambda method, path: next(lost, "") if method == "PATCH" else ""
    await until(lambda: name not in cluster.api.pods, 10.0)
    await plane.crash()


@in_virtual_time
async def test_an_api_server_that_is_away_costs_no_instance() -> None:
    cluster, plane = await begun(ready=3)
    before = set(cluster.store.records)
    cluster.api.go_down()
    await asyncio.sleep(300.0)
    assert plane.ready() == 3
    cluster.api.forget_history()
    cluster.api.is_down = False
    await until(plane.keeper.connected.is_set)
    await plane.until(3)
    assert set(cluster.store.records) == before
    await plane.crash()


@in_virtual_time
async def test_an_api_server_that_has_just_begun_and_knows_no_rights_yet_costs_no_instance() -> None:
    """As a real one does for a second or two: what is allowed is forbidden until it has read the roles."""
    cluster, plane = await begun()
    await plane.settle(2)
    before = set(cluster.store.records)
    cluster.api.sever = lambda method, _path: "before" if method == "PATCH" else ""
    await asyncio.sleep(5.0)  # both run, and what is to be noted on them is tried again and again
    forbidden = status_answer(403, "Forbidden", 'pods "p" is forbidden: User "u" cannot patch resource "pods"')
    cluster.api.refuse = lambda _method, _path: forbidden
    cluster.api.sever = lambda _method, _path: ""
    cluster.api.end_watches()
    await asyncio.sleep(3.0)
    cluster.api.refuse = lambda _method, _path: None
    await plane.until(2)
    assert set(cluster.store.records) == before
    await plane.crash()


@in_virtual_time
async def test_rights_that_are_not_there_end_a_launch_with_the_api_servers_words() -> None:
    cluster, plane = await begun()
    forbidden = status_answer(403, "Forbidden", 'User "u" cannot patch resource "pods"')
    cluster.api.refuse = lambda method, _path: forbidden if method == "PATCH" else None
    await plane.settle(1)
    await until(lambda: plane.keeper.current_error(KEY) != "", 60.0)
    assert plane.keeper.current_error(KEY).startswith("the cluster refused to note the instance's state: User ")
    await plane.crash()


@in_virtual_time
async def test_an_instance_on_a_node_that_is_cut_off_is_replaced_and_never_adopted_again() -> None:
    cluster, plane = await begun(Cluster(nodes=2), ready=4)
    cut = {name for name, pod in cluster.api.pods.items() if pod["spec"]["nodeName"] == "node-0"}
    assert len(cut) == 2
    cluster.kubelet.cut_off = {"node-0"}
    cluster.api.add_node("node-0", ready=False)
    await until(lambda: not cut & {f"stoke-{i}" for i in cluster.store.records})
    await plane.until(4)
    served = {f"stoke-{record.instance_id}" for record in plane.keeper.records(KEY)}
    assert not served & cut
    assert cut <= set(cluster.kubelet.running)  # there they go on, and nobody can stop them yet
    await plane.crash()
    plane = await cluster.begin()
    cluster.kubelet.cut_off = set()
    cluster.api.add_node("node-0", ready=True)
    await until(lambda: not cut & set(cluster.kubelet.running))
    await until(lambda: not cut & set(cluster.api.pods))
    await plane.until(4)
    assert {f"stoke-{record.instance_id}" for record in plane.keeper.records(KEY)} == served
    await plane.crash()


@in_virtual_time
async def test_while_no_node_answers_nothing_is_given_up() -> None:
    cluster, plane = await begun(Cluster(nodes=2), ready=2)
    before = set(cluster.store.records)
    for name in ("node-0", "node-1"):
        cluster.api.add_node(name, ready=False)
        await asyncio.sleep(1.0)
    await asyncio.sleep(60.0)
    assert plane.ready() == 2
    assert set(cluster.store.records) == before
    await plane.crash()


@in_virtual_time
async def test_the_initializer_runs_once_however_often_the_control_plane_dies() -> None:
    cluster, plane = await begun(ready=3)
    for _ in range(5):
        await plane.crash()
        plane = await cluster.begin()
        await until(plane.keeper.connected.is_set)
        await plane.until(3)
    assert len(cluster.servers.initialized) == 3
    await plane.crash()


@in_virtual_time
async def test_an_instance_that_others_delete_takes_nothing_new_and_is_replaced() -> None:
    cluster, plane = await begun(ready=2)
    cluster.kubelet.end_s = 20.0
    name, pod = next(iter(cluster.api.pods.items()))
    cluster.api.delete(name, pod["metadata"]["uid"])
    record = name.removeprefix("stoke-")
    await until(lambda: cluster.store.records[record].state is InstanceState.DRAINING)
    assert cluster.store.records[record].reason == "its Pod is being deleted"
    await plane.settle(2)
    await until(lambda: plane.ready() == 2)
    assert record in cluster.store.records  # its replacement did not wait for its end
    await plane.until(2)
    await plane.crash()


def unschedulable(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"conditions": [condition]}


def waiting(reason: str, message: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "instance", "state": state}]}


@pytest.mark.parametrize(
    ("status", "said", "borne_s"),
    [
        (unschedulable("3 Insufficient nvidia.com/gpu."), "Unschedulable: 3 Insufficient nvidia.com/gpu.", 600.0),
        (waiting("ImagePullBackOff", "no such tag"), "ImagePullBackOff: no such tag", 60.0),
        (waiting("CreateContainerConfigError", 'secret "s" not found'), "CreateContainerConfigError: secret", 60.0),
    ],
)
def test_what_a_pod_waits_for_in_vain_is_the_error_at_once_and_its_end_when_it_lasts(
    status: dict[str, Any], said: str, borne_s: float
) -> None:
    async def story() -> None:
        cluster = Cluster()
        cluster.kubelet.stuck = status
        plane = await cluster.begin()
        await until(plane.keeper.connected.is_set)
        await plane.settle(1)
        (record,) = cluster.store.records
        await until(lambda: plane.keeper.records()[0].reason.startswith(said))
        assert plane.keeper.records()[0].state is InstanceState.LAUNCHING
        assert plane.keeper.current_error(KEY).startswith(said)
        began_s = asyncio.get_running_loop().time()
        await until(lambda: record not in cluster.store.records, 2.0 * borne_s)
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(borne_s, abs=2.0)
        assert f"could not be started: {said}" in plane.keeper.current_error(KEY)
        await until(lambda: not cluster.api.pods)
        await plane.crash()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(story())


@in_virtual_time
async def test_an_evicted_instance_fails_with_the_clusters_words() -> None:
    cluster, plane = await begun(ready=1)
    (name,) = cluster.api.pods
    cluster.api.set_status(name, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    await until(lambda: name.removeprefix("stoke-") not in cluster.store.records)
    assert "(Evicted: The node was low on resource: memory.)" in plane.keeper.current_error(KEY)
    await plane.crash()


@in_virtual_time
async def test_a_sweep_passes_over_a_pod_whose_name_another_has_by_now() -> None:
    cluster, plane = await begun(ready=2)
    await plane.crash()
    first, second = sorted(cluster.api.pods)

    def replaced(method: str, path: str) -> None:
        if method == "PATCH" and path.endswith(first):
            cluster.api.pods[first]["metadata"]["uid"] = "of-another"

    cluster.api.refuse = replaced
    client = cluster.client()
    assert await sweep(client, Found(Access("http://cluster", NAMESPACE), cluster.settings, NAMESPACE)) == 2
    await client.close()
    assert "deletionTimestamp" not in cluster.api.pods[first]["metadata"]
    await until(lambda: second not in cluster.api.pods)
