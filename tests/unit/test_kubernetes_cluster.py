"""How the cluster is found and asked, and what its nodes and exporters say."""

from __future__ import annotations

import base64
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from control_plane.backends.kubernetes.access import find_access, from_kubeconfig
from control_plane.backends.kubernetes.figures import (
    query,
    read_exporter,
    read_pod_metrics,
    read_prometheus,
    sample,
)
from control_plane.backends.kubernetes.limits import BACKOFF_S_MAX, CallRate, backoff_s
from control_plane.backends.kubernetes.nodes import Attendance, capacity, quantity
from control_plane.backends.kubernetes.settings import GpuRule, KubernetesSettings, read_settings
from control_plane.errors import InvalidArgument
from control_plane.options import Options

# -- settings ---------------------------------------------------------------------------------------------------------


def test_settings_are_read_from_a_file_and_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("namespace: a\ngpus:\n- {upToMib: 16384, resource: nvidia.com/gpu}\nvolumes:\n"
                    "- {name: m, mountPath: /m, claim: models}\n")  # fmt: skip
    settings = read_settings(file, namespace="b")
    assert settings.namespace == "b"
    assert settings.gpu_rule(16_000) == GpuRule(up_to_mib=16_384, resource="nvidia.com/gpu")
    assert settings.gpu_rule(17_000) is None
    assert settings.volumes[0].claim == "models"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("callsPerS: 0", "callsPerS is 0"),
        ("colour: red", "colour is 'red'"),
        ("gpus: [{upToMib: 1, resource: gpu}]", r"gpus.0.resource is 'gpu'"),
        ("volumes: [{name: m, mountPath: /m}]", "has 0 of claim, hostPath, nfsServer, emptyDirMib"),
        ("volumes: [{name: tmp, mountPath: /m, claim: c}]", "the name 'tmp' twice"),
        ("- a", "no mapping"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path: Path, text: str, names: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    with pytest.raises(InvalidArgument, match=names):
        read_settings(file)


def test_every_setting_is_in_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    names = {str(field.alias) for field in KubernetesSettings.model_fields.values()}
    assert [name for name in names if f"`{name}`" not in page] == []


# -- access -----------------------------------------------------------------------------------------------------------


def kubeconfig(folder: Path, user: dict[str, Any], **cluster: Any) -> Path:
    file = folder / "config"
    file.write_text(
        yaml.safe_dump(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443", **cluster}}],
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    return file


def test_a_kubeconfig_gives_server_namespace_and_token(tmp_path: Path) -> None:
    access = find_access(str(kubeconfig(tmp_path, {"token": "secret"})), {})
    assert (access.server, access.namespace, access.read_token()) == ("https://10.0.0.1:6443", "shop", "secret")
    assert "secret" not in repr(access)


def test_files_beside_a_kubeconfig_and_data_in_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("fresh\n")
    (tmp_path / "ca.pem").write_text("the CA")
    given = {"tokenFile": "token", "client-certificate-data": base64.b64encode(b"who").decode(), "client-key": "ca.pem"}
    access = from_kubeconfig(kubeconfig(tmp_path, given, **{"certificate-authority": "ca.pem"}))
    assert (access.read_token(), access.ca, access.certificate, access.key) == ("fresh", "the CA", "who", "the CA")


@pytest.mark.parametrize(
    ("user", "cluster", "names"),
    [
        ({"exec": {"command": "aws"}}, {}, "'exec' for its user"),
        ({}, {"server": "10.0.0.1"}, "the server '10.0.0.1'"),
        ({"client-key": "missing.pem"}, {}, "client-key that cannot be read"),
    ],
)
def test_what_a_kubeconfig_has_that_cannot_be_used_is_named(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], names: str
) -> None:
    with pytest.raises(InvalidArgument, match=names):
        from_kubeconfig(kubeconfig(tmp_path, user, **cluster))


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    for name, text in (("token", "t1"), ("ca.crt", "the CA"), ("namespace", "stoke\n")):
        (tmp_path / name).write_text(text)
    access = find_access("", {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)
    assert (access.server, access.namespace, access.ca) == ("https://[fd00::1]:443", "stoke", "the CA")
    (tmp_path / "token").write_text("t2")
    assert access.read_token() == "t2"


def test_without_any_cluster_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no Kubernetes cluster is known"):
        find_access("", {"KUBECONFIG": str(tmp_path / "none")}, tmp_path)


# -- how often --------------------------------------------------------------------------------------------------------


def test_calls_are_spread_so_that_no_second_has_more_than_allowed() -> None:
    rate = CallRate(20.0)
    at = [100.0 + rate.wait_s(100.0) for _ in range(60)]
    assert at[0] == 100.0
    assert max(sum(first <= when < first + 1.0 - 1e-9 for when in at) for first in at) == 20
    assert rate.wait_s(200.0) == 0.0


def test_pauses_grow_to_a_bound_and_are_not_all_alike() -> None:
    chance = Random(1)
    pauses = [backoff_s(failures, chance) for failures in range(1, 30)]
    assert 0.2 <= pauses[0] <= 0.4
    assert max(pauses) <= BACKOFF_S_MAX
    assert len(set(pauses)) == len(pauses)


# -- nodes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"), [("250m", 0.25), ("1Gi", 2.0**30), ("12345n", 1.2345e-5), ("2k", 2000.0), ("3", 3.0), ("x", 0.0)]
)
def test_quantities_have_their_units(text: str, value: float) -> None:
    assert quantity(text) == pytest.approx(value)


def node(name: str, labels: dict[str, str] | None = None, *, ready: bool = True) -> dict[str, Any]:
    allocatable = {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"}
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": allocatable, "conditions": conditions},
    }


def test_capacity_is_what_usable_nodes_have_less_what_others_asked_for() -> None:
    settings = KubernetesSettings(
        node_selector={"gpu": "yes"}, gpus=(GpuRule(up_to_mib=16_384, resource="nvidia.com/gpu"),)
    )
    nodes = [node("a", {"gpu": "yes"}), node("b", {"gpu": "yes"}), node("c"), node("d", {"gpu": "yes"}, ready=False)]
    requests = {"memory": "2Gi", "cpu": "500m", "nvidia.com/gpu": "1"}
    others = [{"spec": {"nodeName": on, "containers": [{"resources": {"requests": requests}}]}} for on in ("a", "c")]
    info = capacity(nodes, others, settings, "here")
    assert (info.memory_mib, info.cpu) == (62 * 1024, 15.5)
    assert info.labels == {"free nvidia.com/gpu": "3"}
    assert info.runtimes == ["custom-container"]
    assert capacity(nodes, [], KubernetesSettings(memory_mib_max=5), "here").memory_mib == 5


def test_a_node_is_lost_after_a_while_and_none_while_all_are_away() -> None:
    attendance = Attendance()
    assert attendance.look([node("a", ready=False), node("b")], 10.0)
    assert attendance.lost(14.0, 5.0) == frozenset()
    assert attendance.lost(15.0, 5.0) == {"a"}
    attendance.look([node("a", ready=False), node("b", ready=False)], 16.0)
    assert attendance.lost(100.0, 5.0) == frozenset()
    assert not attendance.look([node("a"), node("b")], 101.0)
    attendance.look([node("a", ready=False), node("b")], 102.0)
    assert attendance.lost(103.0, 5.0) == frozenset()


# -- figures ----------------------------------------------------------------------------------------------------------

EXPORTED = """
# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="g0",namespace="shop",pod="stoke-c-1",container="instance"} 40
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="g1",namespace="shop",pod="stoke-c-1",container="instance"} 75
DCGM_FI_DEV_FB_USED{gpu="0",UUID="g0",namespace="shop",pod="stoke-c-1"} 3000
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="g0",namespace="shop",pod="stoke-c-1"} 9000
DCGM_FI_DEV_ENC_UTIL{gpu="0",UUID="g0",namespace="shop",pod="stoke-c-1"} 5
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="2",UUID="g2",GPU_I_ID="1",namespace="shop",pod="stoke-c-2"} 0.25
DCGM_FI_DEV_GPU_UTIL{gpu="3",UUID="g3",namespace="other",pod="stoke-c-1"} 99
DCGM_FI_DEV_GPU_UTIL{gpu="4",UUID="g4"} 12
"""


def test_figures_of_cards_are_those_of_the_pods_own_namespace_and_the_busiest_counts() -> None:
    usages = read_pod_metrics(
        {"items": [{"metadata": {"name": "stoke-c-1"}, "containers": [{"usage": {"cpu": "500m", "memory": "64Mi"}}]}]}
    )
    read_exporter(EXPORTED, "shop", usages)
    first = sample("c-1", 1.0, usages["stoke-c-1"], 2.0)
    assert (first.cpu_utilization, first.memory_mib) == (0.25, 64.0)
    assert (first.gpu_sm_utilization, first.gpu_memory_utilization) == (0.75, 0.25)
    assert (first.gpu_encoder_utilization, first.gpu_decoder_utilization) == (0.05, None)
    assert sample("c-2", 1.0, usages["stoke-c-2"], 0.0).gpu_sm_utilization == 0.25
    nothing = sample("c-3", 1.0, None, 0.0)
    assert (nothing.cpu_utilization, nothing.memory_mib, nothing.gpu_sm_utilization) == (None, None, None)


def test_prometheus_says_the_same_with_or_without_its_own_labels() -> None:
    series = [
        {"metric": {"__name__": "DCGM_FI_DEV_GPU_UTIL", "exported_namespace": "shop", "exported_pod": "stoke-c-1",
                    "namespace": "monitoring", "pod": "dcgm-1", "gpu": "0"}, "value": [1, "50"]},
        {"metric": {"__name__": "DCGM_FI_DEV_GPU_UTIL", "namespace": "shop", "pod": "stoke-c-2"}, "value": [1, "60"]},
    ]  # fmt: skip
    usages: dict[str, Any] = {}
    read_prometheus({"data": {"result": series}}, "shop", usages)
    assert sample("c-1", 1.0, usages["stoke-c-1"], 0.0).gpu_sm_utilization == 0.5
    assert sample("c-2", 1.0, usages["stoke-c-2"], 0.0).gpu_sm_utilization == 0.6
    assert 'exported_namespace="shop"' in query("shop")


def test_what_the_cluster_is_asked_with_is_passed_on() -> None:
    options = Options(Path("/d"), "h", 1, backend="kubernetes", kubeconfig="/k", namespace="shop")
    assert options.cluster_arguments() == ["--backend", "kubernetes", "--kubeconfig", "/k", "--namespace", "shop"]
    assert Options(Path("/d"), "h", 1).cluster_arguments() == []
