"""What Pod is asked for, and how one is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from control_plane.backends.kubernetes import pods
from control_plane.backends.kubernetes.settings import GpuRule, KubernetesSettings, Volume
from control_plane.backends.kubernetes.states import Phase, Trouble, is_fenced, is_ours, look
from control_plane.errors import LaunchRefused
from runtime.node_contract import LaunchSpec

SPEC = LaunchSpec(
    "c-1", "svc", "f", "3", "r7", "custom-container", image="shop/model:1", memory_mib=512, cpu=0.5, ca_port=8080
)
SETTINGS = KubernetesSettings(
    owner="shop",
    gpus=(
        GpuRule(up_to_mib=81920, resource="nvidia.com/gpu"),
        GpuRule(up_to_mib=10240, resource="nvidia.com/mig-1g.10gb", node_selector={"mig": "on"}),
    ),
)


def pod(spec: LaunchSpec = SPEC, settings: KubernetesSettings = SETTINGS, **more: Any) -> dict[str, Any]:
    return pods.pod_of(spec, settings, epoch=4, **more)


def container(spec: LaunchSpec = SPEC, settings: KubernetesSettings = SETTINGS) -> dict[str, Any]:
    body: dict[str, Any] = pod(spec, settings)["spec"]["containers"][0]
    return body


def test_a_pod_says_whose_it_is_and_gives_its_spec_back_without_the_variables() -> None:
    spec = replace(SPEC, environment={"SECRET": "x"})
    made = pod(spec)
    assert made["metadata"]["name"] == "stoke-c-1"
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "stoke",
        "stoke.dev/owner": "shop",
        "stoke.dev/instance": "c-1",
        "stoke.dev/service": "svc",
        "stoke.dev/function": "f",
        "stoke.dev/version": "3",
    }
    assert made["metadata"]["annotations"]["stoke.dev/epoch"] == "4"
    assert made["metadata"]["annotations"]["stoke.dev/revision"] == "r7"
    assert pods.spec_of(made) == SPEC
    assert {"name": "SECRET", "value": "x"} in made["spec"]["containers"][0]["env"]


def test_a_name_longer_than_a_label_is_cut_in_the_label_alone() -> None:
    made = pod(replace(SPEC, function="f" * 62 + "-x"))
    assert made["metadata"]["labels"]["stoke.dev/function"] == "f" * 62
    assert pods.spec_of(made).function == "f" * 62 + "-x"


@pytest.mark.parametrize(
    ("gpu_memory_mib", "resource"),
    [(8192, "nvidia.com/mig-1g.10gb"), (10240, "nvidia.com/mig-1g.10gb"), (10241, "nvidia.com/gpu")],
)
def test_gpu_memory_chooses_the_smallest_resource_that_is_enough(gpu_memory_mib: int, resource: str) -> None:
    resources = container(replace(SPEC, gpu_memory_mib=gpu_memory_mib))["resources"]
    assert resources["limits"][resource] == resources["requests"][resource] == "1"


def test_a_function_without_a_gpu_asks_for_none() -> None:
    assert container()["resources"] == {
        "limits": {"memory": "512Mi", "cpu": "500m"},
        "requests": {"memory": "512Mi", "cpu": "500m"},
    }


@dataclass(frozen=True)
class SpotPool:
    name: str = "spot"
    node_selector: dict[str, str] = field(default_factory=lambda: {"pool": "spot"})
    tolerations: tuple[dict[str, str], ...] = ({"key": "spot", "operator": "Exists"},)
    labels: dict[str, str] = field(default_factory=lambda: {"stoke.dev/kind": "spot"})


def test_a_pool_adds_where_to_run() -> None:
    settings = SETTINGS.model_copy(update={"node_selector": {"zone": "a"}, "tolerations": ({"key": "gpu"},)})
    made = pod(replace(SPEC, gpu_memory_mib=1024), settings, pool=SpotPool())
    assert made["spec"]["nodeSelector"] == {"zone": "a", "mig": "on", "pool": "spot"}
    assert made["spec"]["tolerations"] == [{"key": "gpu"}, {"key": "spot", "operator": "Exists"}]
    assert made["metadata"]["labels"]["stoke.dev/pool"] == "spot"
    assert made["metadata"]["labels"]["stoke.dev/kind"] == "spot"


def test_a_pod_is_shut_in_and_lives_once() -> None:
    made = pod(settings=SETTINGS.model_copy(update={"run_as_user": 65534}))["spec"]
    assert made["restartPolicy"] == "Never"
    assert made["automountServiceAccountToken"] is False
    security = made["containers"][0]["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert made["securityContext"]["runAsNonRoot"] is True
    assert made["securityContext"]["runAsUser"] == 65534


def test_volumes_are_those_of_the_function_and_shared_memory_as_asked() -> None:
    volumes = (
        Volume(name="models", mount_path="/models", claim="models", functions=("svc/*",)),
        Volume(name="data", mount_path="/data", nfs_server="nas", nfs_path="/x", read_only=False),
        Volume(name="other", mount_path="/other", host_path="/x", functions=("other/*",)),
        Volume(name="scratch", mount_path="/scratch", empty_dir_mib=64),
    )
    settings = SETTINGS.model_copy(update={"volumes": volumes})
    made = pod(replace(SPEC, environment={"FCGPU_RUNTIME_SHMSIZE": "2097152"}), settings)["spec"]
    sources = {volume["name"]: volume for volume in made["volumes"]}
    assert sources["models"]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    assert sources["data"]["nfs"] == {"server": "nas", "path": "/x", "readOnly": False}
    assert sources["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2097152"}
    assert "other" not in sources
    mounts = {mount["name"]: mount for mount in made["containers"][0]["volumeMounts"]}
    assert mounts["models"] == {"name": "models", "mountPath": "/models", "readOnly": True}
    assert mounts["scratch"] == {"name": "scratch", "mountPath": "/scratch"}
    assert mounts["shm"]["mountPath"] == "/dev/shm"


def test_the_health_check_and_the_hook_are_the_kubelets() -> None:
    spec = replace(
        SPEC, health_path="/health", health_period_s=0.2, health_failure_threshold=2, pre_stop="x",
        headers={"x-fc-region": "r"},
    )  # fmt: skip
    made = container(spec)
    probe = made["readinessProbe"]
    assert (probe["httpGet"]["path"], probe["httpGet"]["port"]) == ("/health", 8080)
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (1, 2)
    hook = made["lifecycle"]["preStop"]["httpGet"]
    assert hook["path"] == "/pre-stop"
    assert {"name": "x-fc-region", "value": "r"} in hook["httpHeaders"]
    assert container()["readinessProbe"]["tcpSocket"] == {"port": 8080}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"runtime": "python3.11"}, "runtime is 'python3.11'"),
        ({"image": ""}, "customContainerConfig.image is ''"),
        ({"image": "file:x.tar"}, "customContainerConfig.image is 'file:x.tar'"),
        ({"gpu_memory_mib": 90000}, "gpuMemorySize is 90000"),
        ({"environment": {"FCGPU_RUNTIME_SHMSIZE": "much"}}, "FCGPU_RUNTIME_SHMSIZE is 'much'"),
    ],
)
def test_what_can_never_run_is_refused_naming_the_field(change: dict[str, Any], names: str) -> None:
    with pytest.raises(LaunchRefused, match=names):
        pods.check(replace(SPEC, **change), SETTINGS)


# -- reading one ------------------------------------------------------------------------------------------------------


def seen(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "stoke-c-1", **metadata}, "spec": {"nodeName": "n1"}, "status": status}


def state(phase: str, **state: Any) -> dict[str, Any]:
    return {"phase": phase, "podIP": "10.0.0.7", "containerStatuses": [{"name": "instance", "state": state}]}


def test_a_pod_without_room_says_what_is_missing() -> None:
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    found = look({"metadata": {}, "spec": {}, "status": {"phase": "Pending", "conditions": [condition]}})
    assert (found.phase, found.trouble) == (Phase.WAITING, Trouble.NO_PLACE)
    assert found.reason == f"Unschedulable: {message}"


@pytest.mark.parametrize(
    ("reason", "trouble"),
    [
        ("ContainerCreating", Trouble.NONE),
        ("ErrImagePull", Trouble.IMAGE),
        ("ImagePullBackOff", Trouble.IMAGE),
        ("InvalidImageName", Trouble.HOPELESS),
        ("CreateContainerConfigError", Trouble.HOPELESS),
        ("CrashLoopBackOff", Trouble.HOPELESS),
    ],
)
def test_what_a_container_waits_for_is_told(reason: str, trouble: Trouble) -> None:
    found = look(seen(state("Pending", waiting={"reason": reason, "message": "as it says"})))
    assert (found.phase, found.reason, found.trouble) == (Phase.WAITING, f"{reason}: as it says", trouble)


def test_a_running_one_has_its_address_and_the_kubelets_view_of_its_health() -> None:
    running = state("Running", running={})
    assert look(seen(running)).phase is Phase.RUNNING
    assert look(seen(running)).ip == "10.0.0.7"
    ill = {**running, "conditions": [{"type": "Ready", "status": "False"}]}
    assert look(seen(running)).is_healthy
    assert not look(seen(ill)).is_healthy


def test_one_killed_for_want_of_memory_says_so() -> None:
    found = look(seen(state("Failed", terminated={"exitCode": 137, "reason": "OOMKilled"})))
    assert (found.phase, found.exit_code, found.is_out_of_memory) == (Phase.DIED, 137, True)


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
        {"phase": "Failed", "reason": "NodeLost", "message": "gone"},
        {
            "phase": "Failed",
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "m"}],
        },
    ],
)
def test_one_taken_away_by_the_cluster_says_so(status: dict[str, Any]) -> None:
    found = look(seen(status))
    assert found.phase is Phase.DIED
    assert found.is_evicted
    assert "taken away by the cluster" in found.reason


def test_a_deleted_one_is_ending_until_nothing_of_it_runs() -> None:
    running = state("Running", running={})
    gone = state("Failed", terminated={"exitCode": 143})
    deleted = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert look(seen(running, **deleted, deletionGracePeriodSeconds=10)).phase is Phase.ENDING
    assert look(seen(gone, **deleted, deletionGracePeriodSeconds=10)).phase is Phase.ENDED
    assert look(seen(running, **deleted, deletionGracePeriodSeconds=0)).phase is Phase.ENDED
    waiting = {"metadata": deleted, "spec": {}, "status": {"phase": "Pending"}}
    assert look(waiting).phase is Phase.ENDED


@pytest.mark.parametrize(("fenced", "expected"), [(None, False), ("3", False), ("4", True), ("5", True), ("x", False)])
def test_an_epoch_that_was_given_up_is_fenced(fenced: str | None, expected: bool) -> None:
    annotations = {"stoke.dev/epoch": "4", **({"stoke.dev/fenced": fenced} if fenced else {})}
    assert is_fenced({"metadata": {"annotations": annotations}}) is expected


def test_what_was_let_go_of_is_not_ours() -> None:
    assert is_ours(pod())
    assert not is_ours({"metadata": {"finalizers": ["foregroundDeletion"]}})
