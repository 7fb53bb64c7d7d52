"""The main job on Kubernetes: provision, serve, scale, survive a kill, and end. Over an API server in this process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.backend_beds import SERVER
from tests.support.kube_api import NAMESPACE, KubeApi
from tests.support.kube_kubelet import ProcessKubelet
from tests.support.kube_wire import served
from tests.support.stoke import Load, Stoke, eventually

# Pods of a cluster have a network of their own each; here they are loopback addresses, of which one is to be taken.
SERVER_AT_ITS_ADDRESS = SERVER.replace('"0.0.0.0"', 'os.environ["FAKE_POD_IP"]')


class ClusterThread:
    def __init__(self) -> None:
        self.api = KubeApi()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    async def _run(self) -> None:
        self.api.add_node("node-1")
        kubelet = ProcessKubelet(self.api)
        async with served(self.api) as self.url:
            self._ready.set()
            await self._end.wait()
            await kubelet.close()

    def __enter__(self) -> ClusterThread:
        self._thread.start()
        assert self._ready.wait(10.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30.0)
        self._loop.close()


def write_kubeconfig(folder: Path, url: str) -> Path:
    file = folder / "kubeconfig"
    config: dict[str, Any] = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": NAMESPACE}}],
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {"token": "a-secret-token"}}],
    }
    file.write_text(yaml.safe_dump(config))
    return file


@contextmanager
def running(folder: Path) -> Iterator[tuple[Stoke, KubeApi]]:
    with ClusterThread() as cluster:
        kubeconfig = write_kubeconfig(folder, cluster.url)
        options = ("--listen", "127.0.0.1:0", "--backend", "kubernetes", "--kubeconfig", str(kubeconfig))
        stoke = Stoke(folder / "data", *options).up()
        try:
            yield stoke, cluster.api
        finally:
            stoke.down()
        eventually(lambda: not cluster.api.pods, "no Pod is left", 15.0)


def test_no_request_fails_from_one_to_four_and_back_and_through_a_control_plane_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path) as (stoke, api):
        command = json.dumps(["python3", "-c", SERVER_AT_ITS_ADDRESS])
        container = {"image": "shop/server:1", "command": command}
        fields: dict[str, Any] = {"memorySize": 128, "instanceConcurrency": 4, "initializer": "x", "caPort": 9000}
        stoke.deploy("main", runtime="custom-container", handler="x", customContainerConfig=container, **fields)
        stoke.provision("main", 1)
        stoke.await_current("main", 1, 60.0)
        with Load(stoke.trigger_url("main"), users=2).running() as load:
            load.await_more(10)
            stoke.provision("main", 4)
            stoke.await_current("main", 4, 60.0)
            before = {row["instance_id"] for row in stoke.ready("main")}
            assert {f"stoke-{name}" for name in before} == set(api.pods)
            killed = stoke.kill("control-plane")
            load.await_more(10)
            stoke.await_restart("control-plane", killed)
            eventually(lambda: stoke.client.get(f"{stoke.endpoint}/stoke/v1/status").status_code == 200, "it answers")
            eventually(lambda: {row["instance_id"] for row in stoke.ready("main")} == before, "all four are known")
            stoke.provision("main", 1)
            eventually(lambda: len(stoke.instances("main")) == 1, "one is left", 60.0)
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
