"""The secrets that pull images: there before a Pod names them, one for a version, gone with the last of its Pods."""

from __future__ import annotations

from dataclasses import replace

from control_plane.backends.kubernetes.pull_secrets import names_in, secret_data
from runtime.node_contract import LaunchSpec
from tests.support.kube_api import Answer, Object, status_answer
from tests.support.kube_plane import KEY, Cluster, spec, until
from tests.support.virtual_time import in_virtual_time


def private(instance_id: str, password: str = "let-me-in") -> LaunchSpec:
    return replace(spec(instance_id), image="reg.example/a:1", registry_user="puller", registry_password=password)


class Watched(Cluster):
    """Notes Pods that came before their secret."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = private
        self.too_early: list[str] = []
        kubelet = self.api.changed

        def changed(type_: str, pod: Object) -> None:
            if type_ == "ADDED" and not names_in(pod) <= set(self.api.secrets):
                self.too_early.append(pod["metadata"]["name"])
            kubelet(type_, pod)

        self.api.changed = changed


@in_virtual_time
async def test_there_is_one_secret_for_a_version_as_long_as_it_has_pods() -> None:
    cluster = Watched()
    plane = await cluster.begin()
    await plane.until(5)
    ((name, secret),) = cluster.api.secrets.items()
    assert {name} == set().union(*map(names_in, cluster.api.pods.values()))
    assert (secret["type"], secret["data"]) == ("kubernetes.io/dockerconfigjson", secret_data(private("c")))
    assert len([call for call in cluster.api.asked if call[1:] == ("POST", "/api/v1/namespaces/tests/secrets")]) == 1
    await plane.until(1)
    assert list(cluster.api.secrets) == [name]
    await plane.until(0)
    assert cluster.api.secrets == {}
    assert cluster.too_early == []
    await plane.crash()


@in_virtual_time
async def test_no_secret_is_left_after_crashes_of_the_control_plane_at_any_point() -> None:
    cluster = Watched()
    for _ in range(60):
        await cluster.crash_soon(3.0, 3)
    plane = await cluster.begin()
    await plane.until(1)
    assert len(cluster.api.secrets) == 1
    await plane.until(0)
    await until(lambda: not cluster.api.pods)
    assert cluster.api.secrets == {}
    assert cluster.too_early == []
    await plane.crash()


@in_virtual_time
async def test_a_password_that_has_changed_is_in_the_secret_of_the_next_instance() -> None:
    cluster = Watched()
    plane = await cluster.begin()
    await plane.until(1)
    await plane.crash()
    cluster.spec = lambda instance_id: private(instance_id, "new")
    plane = await cluster.begin()
    await plane.until(2)
    (secret,) = cluster.api.secrets.values()
    assert secret["data"] == secret_data(private("c", "new"))
    cluster.spec = lambda instance_id: private(instance_id, "newer")
    await plane.until(3)
    (secret,) = cluster.api.secrets.values()
    assert secret["data"] == secret_data(private("c", "newer"))
    await plane.crash()


@in_virtual_time
async def test_a_secret_that_the_cluster_refuses_is_the_reason_and_makes_no_pod() -> None:
    cluster = Watched()
    said = "secrets is forbidden"

    def refuse(_method: str, path: str) -> Answer | None:
        return status_answer(403, "Forbidden", said) if path.endswith("/secrets") else None

    cluster.api.refuse = refuse
    plane = await cluster.begin()
    await until(plane.keeper.connected.is_set)
    await plane.settle(1)
    await until(lambda: said in plane.keeper.current_error(KEY))
    assert cluster.api.pods == {}
    await plane.crash()
