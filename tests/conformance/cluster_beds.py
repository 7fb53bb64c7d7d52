"""Kubernetes for tests: over an API server in this process whose kubelet starts processes, or over a real cluster.

`STOKE_TEST_KUBECONFIG` names a cluster whose Pods can be reached at their addresses from here; docs/kubernetes.md has
what else may be said of it.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final

import httpx

from control_plane.backends.kubernetes.access import Access, find_access
from control_plane.backends.kubernetes.backend import KubernetesBackend
from control_plane.backends.kubernetes.client import ApiAway, ApiError, KubernetesClient, Object, silently
from control_plane.backends.kubernetes.nodes import is_ready, quantity
from control_plane.backends.kubernetes.outputs import OutputFolder
from control_plane.backends.kubernetes.pods import pod_name
from control_plane.backends.kubernetes.settings import KubernetesSettings
from control_plane.clock import SystemClock
from control_plane.errors import Unavailable
from runtime.node import hooks
from runtime.node_contract import InstanceStatus, LaunchSpec
from tests.conformance.backend_beds import SERVER, Bed, Beds, named
from tests.support.kube_api import NAMESPACE, KubeApi
from tests.support.kube_kubelet import ProcessKubelet
from tests.support.kube_wire import served

KUBECONFIG: Final = os.environ.get("STOKE_TEST_KUBECONFIG", "")
IMAGE: Final = os.environ.get("STOKE_TEST_IMAGE", "python:3.11-slim")
GPU_RESOURCE: Final = os.environ.get("STOKE_TEST_GPU_RESOURCE", "nvidia.com/gpu")
CUT_NODE: Final = os.environ.get("STOKE_TEST_CUT_NODE", "")
HEAL_NODE: Final = os.environ.get("STOKE_TEST_HEAL_NODE", "")
# On as many nodes as there are, whatever else is on them.
APART: Final[Object] = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 100,
                "podAffinityTerm": {
                    "labelSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "stoke"}},
                    "topologyKey": "kubernetes.io/hostname",
                },
            }
        ]
    }
}
FAKE_GPUS: Final = 2  # on each node of the API server in this process


def free_cards(nodes: Iterable[Object], pods: Iterable[Object]) -> int:
    """How many cards nobody has, on nodes that take any Pod."""
    usable = {node["metadata"]["name"]: node for node in nodes if is_ready(node) and not node["spec"].get("taints")}
    has = sum(int(quantity(node["status"]["allocatable"].get(GPU_RESOURCE, 0))) for node in usable.values())
    there = (pod for pod in pods if pod["spec"].get("nodeName") in usable)
    return has - sum(_cards(pod) for pod in there if pod["status"].get("phase") not in ("Succeeded", "Failed"))


def _cards(pod: Object) -> int:
    asked = (container.get("resources", {}).get("requests", {}) for container in pod["spec"]["containers"])
    return sum(int(quantity(each.get(GPU_RESOURCE, 0))) for each in asked)


class ClusterBed(Bed):
    """A backend over some API server, which a restart replaces without a word to the old one's instances."""

    why_no_cut = ""  # why no node can be cut off, "" when one can

    def __init__(self, access: Access, folder: Path, settings: KubernetesSettings) -> None:
        self.access, self.folder, self.settings = access, folder, settings
        self._running: asyncio.Task[None] | None = None

    async def pods(self) -> dict[str, Object]:
        """As the API server has them, by name."""
        raise NotImplementedError

    async def everybodys_pods(self) -> list[Object]:
        """In all namespaces."""
        return [*(await self.pods()).values()]

    async def nodes(self) -> dict[str, Object]:
        raise NotImplementedError

    async def cut(self, node: str) -> None:
        """Nothing gets to it and nothing comes from it, while what is on it runs on."""
        raise NotImplementedError

    async def heal(self, node: str) -> None:
        raise NotImplementedError

    async def node_of(self, status: InstanceStatus) -> str:
        return str((await self.pods())[pod_name(status.instance_id)]["spec"]["nodeName"])

    async def until_pod_is_gone(self, instance_id: str) -> None:
        async with asyncio.timeout(self.deadline_s):
            while pod_name(instance_id) in await self.pods():
                await asyncio.sleep(0.05)

    async def begin(self) -> None:
        clock, chance = SystemClock(), Random(1)
        rate, way = self.settings.calls_per_s, self.transport()
        client = KubernetesClient(self.access, clock, chance, calls_per_s=rate, transport=way)
        namespace = self.settings.namespace or self.access.namespace
        self.backend = self.mine = KubernetesBackend(
            client, self.settings, namespace, clock, chance, hooks, OutputFolder(self.folder, 100), epoch=1
        )
        self._running = asyncio.create_task(self.mine.run())
        await self._until(reached=True)
        async with asyncio.timeout(30.0):
            while not await self._has_nodes():
                await asyncio.sleep(0.01)

    async def _has_nodes(self) -> bool:
        """Pods and nodes are listed side by side."""
        with suppress(Unavailable):
            return bool(await self.backend.info())
        return False

    def transport(self) -> httpx.AsyncBaseTransport | None:
        return None

    async def end(self) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.mine.close()

    async def _until(self, *, reached: bool) -> None:
        async with asyncio.timeout(30.0):
            while self.mine.is_reached is not reached:
                await asyncio.sleep(0.01)

    def server(self, *does: str, **fields: Any) -> LaunchSpec:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = ["python3", "-c", SERVER]
        given = {"runtime": "custom-container", "image": IMAGE, "command": command, "args": [*does], "ca_port": port}
        return LaunchSpec(**named(**{**given, **fields}))

    def refused(self) -> LaunchSpec:
        return LaunchSpec(**named(runtime="python3.11"))

    async def restart(self) -> None:
        await self.end()
        await self.begin()

    async def kill(self, status: InstanceStatus) -> None:
        raise NotImplementedError

    async def clear(self) -> None:
        await asyncio.gather(*(self._end_of(status.instance_id) for status in await self.backend.list()))

    async def _end_of(self, instance_id: str) -> None:
        await self.backend.stop(instance_id, 0.0)
        async with asyncio.timeout(self.deadline_s):
            async for now in self.backend.watch():
                if now.instance_id == instance_id and now.state.is_final:
                    break
        await self.backend.forget(instance_id)


class FakeClusterBed(ClusterBed):
    def __init__(
        self, access: Access, folder: Path, api: KubeApi, kubelet: ProcessKubelet, settings: KubernetesSettings
    ) -> None:
        quick = {"calls_per_s": 1000.0, "samples_every_s": 0.1, "image_failing_s_max": 0.5, "node_lost_s": 0.2}
        super().__init__(access, folder, settings.model_copy(update=quick))
        self.api, self.kubelet = api, kubelet

    async def pods(self) -> dict[str, Object]:
        return self.api.pods

    async def nodes(self) -> dict[str, Object]:
        return self.api.objects["nodes"]

    async def cut(self, node: str) -> None:
        self.kubelet.cut_off.add(node)
        self.api.add_node(node, ready=False, gpus=FAKE_GPUS)

    async def heal(self, node: str) -> None:
        self.kubelet.cut_off.discard(node)
        self.api.add_node(node, gpus=FAKE_GPUS)

    async def kill(self, status: InstanceStatus) -> None:
        self.kubelet.kill(pod_name(status.instance_id))

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self.api.go_down()
        await self._until(reached=False)
        yield
        self.api.is_down = False
        await self._until(reached=True)


class Way(httpx.AsyncBaseTransport):
    """To a real API server; while it is `closed`, nothing passes, and what was passing breaks off."""

    def __init__(self, access: Access) -> None:
        self.closed = asyncio.Event()
        self._inner = httpx.AsyncHTTPTransport(verify=access.tls(), limits=httpx.Limits(max_connections=None))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.closed.is_set():
            raise httpx.ConnectError("the way is closed")
        answer = await self._inner.handle_async_request(request)
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        answer.stream = Cuttable(answer.stream, self.closed)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class Heedless(httpx.AsyncBaseTransport):
    """Ends what it has begun though whoever asked has crashed, as packets do; then nothing is left half open."""

    def __init__(self, access: Access) -> None:
        verify = access.tls() if access.server.startswith("https") else False
        self._inner = httpx.AsyncHTTPTransport(verify=verify, limits=httpx.Limits(max_connections=None))
        self._begun: set[asyncio.Task[httpx.Response]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        task = asyncio.ensure_future(self._inner.handle_async_request(request))
        self._begun.add(task)
        answer = await asyncio.shield(task)
        self._begun.discard(task)
        return answer

    async def aclose(self) -> None:
        """Its clients come and go."""

    async def end(self) -> None:
        for answer in await asyncio.gather(*self._begun, return_exceptions=True):
            if isinstance(answer, httpx.Response):
                await answer.aclose()
        await self._inner.aclose()


class Cuttable(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, closed: asyncio.Event) -> None:
        self._inner, self._closed = inner, closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._inner)
        while True:
            more = asyncio.ensure_future(anext(chunks, None))
            cut = asyncio.ensure_future(self._closed.wait())
            try:
                await asyncio.wait((more, cut), return_when=asyncio.FIRST_COMPLETED)
                if cut.done():
                    raise httpx.ReadError("the way is closed")
                chunk = await more
            finally:
                cut.cancel()
                await silently(more)
            if chunk is None:
                return
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class RealClusterBed(ClusterBed):
    deadline_s = 180.0  # nodes may have to pull the image, and NotReady is said after a minute at the latest
    why_no_cut = "" if CUT_NODE and HEAL_NODE else "STOKE_TEST_CUT_NODE and STOKE_TEST_HEAL_NODE name no commands"

    def transport(self) -> httpx.AsyncBaseTransport | None:
        self.way = Way(self.access)
        return self.way

    async def begin(self) -> None:
        await super().begin()
        # A client of its own: what the tests look at is not what they test.
        self._looking = KubernetesClient(self.access, SystemClock(), Random(1), calls_per_s=1000.0)
        self.unmeasured = await self._why_unmeasured()

    async def _why_unmeasured(self) -> str:
        try:
            await self._looking.get("/apis/metrics.k8s.io/v1beta1")
        except (ApiError, ApiAway) as error:
            return f"the cluster has no metrics server: {error}"
        return ""

    async def end(self) -> None:
        await self._looking.close()
        await super().end()

    async def pods(self) -> dict[str, Object]:
        path = f"/api/v1/namespaces/{self.settings.namespace or self.access.namespace}/pods"
        return {item["metadata"]["name"]: item for item in (await self._looking.get(path))["items"]}

    async def everybodys_pods(self) -> list[Object]:
        items: list[Object] = (await self._looking.get("/api/v1/pods"))["items"]
        return items

    async def nodes(self) -> dict[str, Object]:
        return {item["metadata"]["name"]: item for item in (await self._looking.get("/api/v1/nodes"))["items"]}

    async def kill(self, status: InstanceStatus) -> None:
        with suppress(httpx.HTTPError):
            await self.ask(status, "/exit")

    async def cut(self, node: str) -> None:
        await _told(CUT_NODE, node)

    async def heal(self, node: str) -> None:
        await _told(HEAL_NODE, node)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """The cluster stays; the way to it does not."""
        self.way.closed.set()
        await self._until(reached=False)
        yield
        self.way.closed.clear()
        await self._until(reached=True)


async def _told(command: str, node: str) -> None:
    """A command of whoever runs the tests, with a node's name after it."""
    process = await asyncio.create_subprocess_shell(f"{command} {shlex.quote(node)}")
    assert await process.wait() == 0, f"{command} {node}"


class KubernetesBeds(Beds):
    """Of one class of tests. On a cluster, what they made carries an owner of its own."""

    settings: ClassVar[KubernetesSettings] = KubernetesSettings()

    def __enter__(self) -> Beds:
        self._folder = tempfile.TemporaryDirectory(prefix="stoke-")
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @asynccontextmanager
    async def bed(self) -> AsyncIterator[Bed]:
        folder = Path(self._folder.name)
        if KUBECONFIG:
            owned = self.settings.model_copy(update={"owner": f"tests-{uuid.uuid4().hex[:8]}"})
            async with self._with(RealClusterBed(find_access(KUBECONFIG, {}), folder, owned)) as bed:
                yield bed
            return
        api = KubeApi()
        for name in ("node-1", "node-2"):
            api.add_node(name, gpus=FAKE_GPUS)
        kubelet = ProcessKubelet(api)
        async with served(api) as url:
            try:
                bed = FakeClusterBed(Access(url, NAMESPACE), folder, api, kubelet, self.settings)
                async with self._with(bed):
                    yield bed
                async with asyncio.timeout(10.0):
                    while api.pods:
                        await asyncio.sleep(0.02)
            finally:
                await kubelet.close()

    @asynccontextmanager
    async def _with(self, bed: ClusterBed) -> AsyncIterator[ClusterBed]:
        await bed.begin()
        try:
            yield bed
            await bed.clear()
        finally:
            await bed.end()
