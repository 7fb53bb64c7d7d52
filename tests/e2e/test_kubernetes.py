"""The main job on Kubernetes: provision, serve, scale, survive a kill, and end. Over an API server in this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.cluster_beds import APART, GPU_RESOURCE, KUBECONFIG
from tests.support.kube_stoke import running, server
from tests.support.stoke import Load, Stoke, eventually

# Over the API server in this process, the conformance tests show the same sooner.
LONG = pytest.mark.long if not KUBECONFIG else pytest.mark.filterwarnings("error")


def test_no_request_fails_from_one_to_four_and_back_and_through_a_control_plane_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as (stoke, cluster):
        slow = cluster.patience
        stoke.deploy("main", **server(cluster), instanceConcurrency=4, initializer="x")
        stoke.provision("main", 1)
        stoke.await_current("main", 1, 60.0 * slow)
        with Load(stoke.trigger_url("main"), users=2).running() as load:
            load.await_more(10)
            stoke.provision("main", 4)
            stoke.await_current("main", 4, 60.0 * slow)
            before = {row["instance_id"] for row in stoke.ready("main")}
            assert {f"stoke-{name}" for name in before} == set(cluster.pods())
            killed = stoke.kill("control-plane")
            load.await_more(10)
            stoke.await_restart("control-plane", killed)
            eventually(lambda: stoke.client.get(f"{stoke.endpoint}/stoke/v1/status").status_code == 200, "it answers")
            eventually(lambda: {row["instance_id"] for row in stoke.ready("main")} == before, "all four are known")
            stoke.provision("main", 1)
            eventually(lambda: len(stoke.instances("main")) == 1, "one is left", 60.0 * slow)
            load.await_more(10)
        assert load.failures == {}
        node = eventually(lambda: stoke.call("GET", "/stoke/v1/status")["node"], "the cluster's capacity")
        assert node["runtimes"] == ["custom-container"]
        stoke.deploy("python", {"app.py": "def handler(event, context): ..."})
        stoke.provision("python", 1)
        error = eventually(lambda: stoke.status("python")["currentError"], "a currentError")
        assert error == "runtime is 'python3.11': on Kubernetes only custom-container runs, from an image"
    logs = "".join(path.read_text() for path in (tmp_path / "data" / "logs").iterdir())
    assert "a-secret-token" not in logs


def test_what_stoke_up_is_told_of_a_cluster_is_checked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "control_plane.supervisor", "--data", str(tmp_path / "data")]
    for given, said in (
        (["--kubeconfig", "x"], "allowed is it with --backend kubernetes alone"),
        (["--backend", "kubernetes", "--kubeconfig", str(tmp_path / "none")], "allowed is a file that is there"),
        (["--backend", "kubernetes", "--namespace", "A_b"], "--namespace is 'A_b'"),
    ):
        done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr


@LONG
def test_more_cards_than_there_are_is_the_current_error_until_it_is_no_more(tmp_path: Path) -> None:
    settings = {"gpus": [{"upToMib": 1024, "resource": GPU_RESOURCE}], "cpuRequestShare": 0.02}
    with running(tmp_path, **settings) as (stoke, cluster):
        free = cluster.free_cards()
        if not free:
            pytest.skip(f"no node of the cluster has a free {GPU_RESOURCE}")
        stoke.deploy("main", **server(cluster) | {"gpuMemorySize": 1024, "cpu": 0.5})
        stoke.provision("main", free + 1)
        stoke.await_current("main", free, 60.0 * cluster.patience)
        said = eventually(lambda: stoke.status("main")["currentError"], "a currentError")
        assert said.startswith("Unschedulable: 0/")
        assert f"Insufficient {GPU_RESOURCE}" in said
        assert said in stoke.status("main")["progress"]
        assert len(stoke.ready("main")) == free
        stoke.provision("main", free)
        eventually(lambda: stoke.status("main")["currentError"] == "", "no error is left")
        assert len(stoke.ready("main")) == free


def is_elsewhere(stoke: Stoke, lost: set[str], count: int) -> bool:
    ready = {row["instance_id"] for row in stoke.ready("main")}
    return len(ready) == count and not ready & lost


@LONG
def test_a_node_that_is_cut_off_under_load_costs_no_request_that_may_be_sent_again(tmp_path: Path) -> None:
    with running(tmp_path, affinity=APART, cpuRequestShare=0.02) as (stoke, cluster):
        if cluster.why_no_cut:
            pytest.skip(cluster.why_no_cut)
        slow = cluster.patience
        stoke.deploy("main", **server(cluster), instanceConcurrency=4, retryable=True, timeout=150, cpu=0.5)
        stoke.provision("main", 6)
        stoke.await_current("main", 6, 60.0 * slow)
        nodes = cluster.nodes()
        if len(set(nodes.values())) < 2:
            pytest.skip(f"a cut needs instances on two nodes; all six are on {set(nodes.values())}")
        node = min(nodes.values())
        lost = {instance for instance, on in nodes.items() if on == node}
        with Load(stoke.trigger_url("main"), users=2, timeout_s=150.0).running() as load:
            load.await_more(10)
            cluster.cut(node)
            try:
                eventually(lambda: is_elsewhere(stoke, lost, 6), "all six are elsewhere", 60.0 * slow)
                load.await_more(10, 30.0 * slow)
            finally:
                cluster.heal(node)
            eventually(lambda: not {f"stoke-{name}" for name in lost} & set(cluster.pods()), "they end", 60.0 * slow)
            load.await_more(10)
        assert load.failures == {}
