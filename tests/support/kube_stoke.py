"""A cluster for a whole Stoke: an API server in a thread of this process, or that of `STOKE_TEST_KUBECONFIG`."""

from __future__ import annotations

import asyncio
import json
import shlex
import subprocess
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from control_plane.backends.kubernetes.access import find_access
from control_plane.backends.kubernetes.client import Object, pods_path
from control_plane.backends.kubernetes.pods import selector
from tests.conformance.backend_beds import SERVER
from tests.conformance.cluster_beds import CUT_NODE, HEAL_NODE, IMAGE, KUBECONFIG, free_cards
from tests.support.kube_api import NAMESPACE, KubeApi
from tests.support.kube_kubelet import ProcessKubelet
from tests.support.kube_wire import served
from tests.support.stoke import Stoke, eventually

# Answers in one packet each: what is cut between an answer's head and its body cannot be asked for again.
_BUFFERED: Final = 'protocol_version = "HTTP/1.1"; wbufsize = -1'
PROGRAM: Final = SERVER.replace('"seen": seen', '"seen": len(seen)').replace('protocol_version = "HTTP/1.1"', _BUFFERED)
GPUS_EACH: Final = 2  # of a node of the API server in this process


class Cluster(ABC):
    """`program` is the SERVER that its Pods run, `kubeconfig` the way to it, `patience` how much longer all takes."""

    kubeconfig: Path
    program: str
    patience: float
    why_no_cut = ""

    def __init__(self) -> None:
        self.owner = f"tests-{uuid.uuid4().hex[:8]}"

    @abstractmethod
    def pods(self) -> dict[str, Object]:
        """Those of this Stoke, by name."""

    @abstractmethod
    def cut(self, node: str) -> None: ...

    @abstractmethod
    def heal(self, node: str) -> None: ...

    @abstractmethod
    def free_cards(self) -> int: ...

    def nodes(self) -> dict[str, str]:
        """Of each instance."""
        return {name.removeprefix("stoke-"): pod["spec"].get("nodeName", "") for name, pod in self.pods().items()}


class FakeCluster(Cluster):
    # Pods of a cluster have a network of their own each; here they are loopback addresses, of which one is to be taken.
    program = PROGRAM.replace('"0.0.0.0"', 'os.environ["FAKE_POD_IP"]')
    patience = 1.0

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.api = KubeApi()
        self.kubeconfig = folder / "kubeconfig"
        self._url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    async def _run(self) -> None:
        for name in ("node-1", "node-2"):
            self.api.add_node(name, gpus=GPUS_EACH)
        self._kubelet = ProcessKubelet(self.api)
        async with served(self.api) as self._url:
            self._ready.set()
            await self._end.wait()
            await self._kubelet.close()

    def __enter__(self) -> FakeCluster:
        self._thread.start()
        assert self._ready.wait(10.0)
        config: dict[str, Any] = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": NAMESPACE}}],
            "clusters": [{"name": "here", "cluster": {"server": self._url}}],
            "users": [{"name": "me", "user": {"token": "a-secret-token"}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30.0)
        self._loop.close()

    def pods(self) -> dict[str, Object]:
        return dict(self.api.pods)

    def free_cards(self) -> int:
        return GPUS_EACH * len(self.api.objects["nodes"])

    def cut(self, node: str) -> None:
        self._do(self._set(node, is_cut=True))

    def heal(self, node: str) -> None:
        self._do(self._set(node, is_cut=False))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    async def _set(self, node: str, *, is_cut: bool) -> None:
        (self._kubelet.cut_off.add if is_cut else self._kubelet.cut_off.discard)(node)
        self.api.add_node(node, ready=not is_cut, gpus=GPUS_EACH)


class RealCluster(Cluster):
    kubeconfig = Path(KUBECONFIG)
    program = PROGRAM
    patience = 4.0
    why_no_cut = "" if CUT_NODE and HEAL_NODE else "STOKE_TEST_CUT_NODE and STOKE_TEST_HEAL_NODE name no commands"

    def __init__(self) -> None:
        super().__init__()
        access = find_access(KUBECONFIG, {})
        headers = {"authorization": f"Bearer {token}"} if (token := access.read_token()) else {}
        self._http = httpx.Client(base_url=access.server, verify=access.tls(), headers=headers, timeout=30.0)
        self._path = pods_path(access.namespace)

    def __enter__(self) -> RealCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def pods(self) -> dict[str, Object]:
        ours = self._items(self._path, labelSelector=selector(self.owner))
        return {item["metadata"]["name"]: item for item in ours}

    def _items(self, path: str, **query: str) -> list[Object]:
        items: list[Object] = self._http.get(path, params=query).raise_for_status().json()["items"]
        return items

    def free_cards(self) -> int:
        return free_cards(self._items("/api/v1/nodes"), self._items("/api/v1/pods"))

    def cut(self, node: str) -> None:
        _told(CUT_NODE, node)

    def heal(self, node: str) -> None:
        _told(HEAL_NODE, node)


def _told(command: str, node: str) -> None:
    subprocess.run(f"{command} {shlex.quote(node)}", shell=True, check=True)


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[tuple[Stoke, Cluster]]:
    """A Stoke on a cluster, which leaves nothing behind there."""
    with RealCluster() if KUBECONFIG else FakeCluster(folder) as cluster:
        file = folder / "kubernetes.yaml"
        file.write_text(yaml.safe_dump({"owner": cluster.owner, **settings}))
        options = ("--listen", "127.0.0.1:0", "--backend", "kubernetes", "--kubeconfig", str(cluster.kubeconfig))
        stoke = Stoke(folder / "data", *options, "--kubernetes-settings", str(file)).up()
        try:
            yield stoke, cluster
        finally:
            stoke.down()
        eventually(lambda: not cluster.pods(), "no Pod is left", 15.0 * cluster.patience)


def server(cluster: Cluster) -> dict[str, Any]:
    """The fields of a function that runs SERVER."""
    return {
        "runtime": "custom-container", "handler": "x", "caPort": 9000, "memorySize": 128,
        "customContainerConfig": {"image": IMAGE, "command": json.dumps(["python3", "-c", cluster.program])},
    }  # fmt: skip
