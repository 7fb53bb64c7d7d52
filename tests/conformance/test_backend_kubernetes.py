"""The one suite of backends over Kubernetes: a fake API server whose kubelet starts processes, or a real cluster.

`STOKE_TEST_KUBECONFIG` names a cluster that Pods' addresses can be reached in, `STOKE_TEST_IMAGE` an image there that
has `python3`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import httpx

from control_plane.backends.kubernetes.access import Access, find_access
from control_plane.backends.kubernetes.backend import KubernetesBackend
from control_plane.backends.kubernetes.client import KubernetesClient, silently
from control_plane.backends.kubernetes.outputs import OutputFolder
from control_plane.backends.kubernetes.pods import pod_name
from control_plane.backends.kubernetes.settings import KubernetesSettings
from control_plane.clock import SystemClock
from runtime.contract import InstanceStatus, LaunchSpec
from runtime.node import hooks
from tests.conformance.backend_beds import SERVER, Bed, Beds, named
from tests.conformance.backend_suite import RunningBackendSuite
from tests.support.kube_api import NAMESPACE, KubeApi
from tests.support.kube_kubelet import ProcessKubelet
from tests.support.kube_wire import served

KUBECONFIG = os.environ.get("STOKE_TEST_KUBECONFIG", "")
IMAGE = os.environ.get("STOKE_TEST_IMAGE", "tests/server:1")


class ClusterBed(Bed):
    """A backend over some API server, which a restart replaces without a word to the old one's instances."""

    def __init__(self, access: Access, folder: Path, settings: KubernetesSettings) -> None:
        self.access, self.folder, self.settings = access, folder, settings
        self._running: asyncio.Task[None] | None = None

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
        return LaunchSpec(**named(**given, **fields))

    def refused(self) -> LaunchSpec:
        return LaunchSpec(**named(runtime="python3.11"))

    async def restart(self) -> None:
        await self.end()
        await self.begin()

    async def kill(self, status: InstanceStatus) -> None:
        raise NotImplementedError

    async def clear(self) -> None:
        for status in await self.backend.list():
            await self.backend.stop(status.instance_id, 0.0)
        for status in await self.backend.list():
            async with asyncio.timeout(30.0):
                async for now in self.backend.watch():
                    if now.instance_id == status.instance_id and now.state.is_final:
                        break
            await self.backend.forget(status.instance_id)


class FakeClusterBed(ClusterBed):
    def __init__(self, access: Access, folder: Path, api: KubeApi, kubelet: ProcessKubelet) -> None:
        super().__init__(access, folder, KubernetesSettings(calls_per_s=1000.0, samples_every_s=0.1))
        self.api, self.kubelet = api, kubelet

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


class Cuttable(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, closed: asyncio.Event) -> None:
        self._inner, self._closed = inner, closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._inner)
        while True:
            more = asyncio.ensure_future(anext(chunks, None))
            cut = asyncio.ensure_future(self._closed.wait())
            await asyncio.wait((more, cut), return_when=asyncio.FIRST_COMPLETED)
            was_cut = cut.done()
            cut.cancel()
            if was_cut:
                await silently(more)
                raise httpx.ReadError("the way is closed")
            if (chunk := await more) is None:
                return
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class RealClusterBed(ClusterBed):
    def transport(self) -> httpx.AsyncBaseTransport | None:
        self.way = Way(self.access)
        return self.way

    async def kill(self, status: InstanceStatus) -> None:
        with suppress(httpx.HTTPError):
            await self.ask(status, "/exit")

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """The cluster stays; the way to it does not."""
        self.way.closed.set()
        await self._until(reached=False)
        yield
        self.way.closed.clear()
        await self._until(reached=True)


class KubernetesBeds(Beds):
    def __enter__(self) -> Beds:
        self._folder = tempfile.TemporaryDirectory(prefix="stoke-")
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @asynccontextmanager
    async def bed(self) -> AsyncIterator[Bed]:
        folder = Path(self._folder.name)
        if KUBECONFIG:
            bed: ClusterBed = RealClusterBed(find_access(KUBECONFIG, {}), folder, KubernetesSettings(owner="tests"))
            async with self._with(bed):
                yield bed
            return
        api = KubeApi()
        api.add_node("node-1")
        kubelet = ProcessKubelet(api)
        async with served(api) as url:
            bed = FakeClusterBed(Access(url, NAMESPACE), folder, api, kubelet)
            async with self._with(bed):
                yield bed
            async with asyncio.timeout(10.0):
                while api.pods:
                    await asyncio.sleep(0.02)
            await kubelet.close()

    @asynccontextmanager
    async def _with(self, bed: ClusterBed) -> AsyncIterator[None]:
        await bed.begin()
        try:
            yield
            await bed.clear()
        finally:
            await bed.end()


class TestKubernetes(RunningBackendSuite):
    beds_class = KubernetesBeds
