"""The one suite of backends, over the fake, a node with processes, and a node with containers on real engines."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any, ClassVar

import pytest

from control_plane.backends.fake import FakeBackend
from control_plane.backends.node import NodeBackend
from loadtests import engine
from loadtests.engine import PrivateEngine
from loadtests.podman import PodmanEngine, why_not_podman
from runtime.contract import InstanceState
from runtime.node_contract import InstanceStatus, LaunchSpec
from tests.conformance.backend_beds import SERVER, Bed, Beds, named
from tests.conformance.backend_suite import BackendSuite, RunningBackendSuite
from tests.support.node import NodeProcess, running_node


class FakeBed(Bed):
    runs = False

    def __init__(self) -> None:
        self.backend = self.fake = FakeBackend()

    def server(self, *does: str, **fields: Any) -> LaunchSpec:
        return LaunchSpec(**named(runtime="custom", command=["server", *does], **fields))

    def refused(self) -> LaunchSpec:
        return LaunchSpec(**named(runtime="cobol"))

    async def restart(self) -> None:
        self.fake.go_away()
        self.fake.come_back()

    async def kill(self, status: InstanceStatus) -> None:
        self.fake.become(status.instance_id, InstanceState.FAILED, "it died")

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self.fake.go_away()
        yield
        self.fake.come_back()


class FakeBeds(Beds):
    def __exit__(self, *_: object) -> None: ...

    @asynccontextmanager
    async def bed(self) -> AsyncIterator[Bed]:
        yield FakeBed()


class NodeBed(Bed):
    """A node's client as the control plane uses it. `launches` are fields that say what a server runs as."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self.backend = NodeBackend(node.client)

    def server(self, *does: str, **fields: Any) -> LaunchSpec:
        return LaunchSpec(**named(runtime="custom", command=[sys.executable, "-c", SERVER, *does], **fields))

    def refused(self) -> LaunchSpec:
        return LaunchSpec(**named(runtime="custom", command=[]))

    async def restart(self) -> None:
        async with self.away():
            pass

    async def kill(self, status: InstanceStatus) -> None:
        os.kill(status.pid, signal.SIGKILL)

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self.node.end(signal.SIGKILL)
        yield
        await self.node.start()


class ProcessBeds(Beds):
    def __enter__(self) -> Beds:
        self._entered = ExitStack()
        self.node = self._entered.enter_context(running_node("--backend", "process"))
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    @asynccontextmanager
    async def bed(self) -> AsyncIterator[Bed]:
        async with self.node.session() as node:
            yield NodeBed(node)


class ContainerBed(NodeBed):
    def server(self, *does: str, **fields: Any) -> LaunchSpec:
        command = ["python3", "-c", SERVER]
        return LaunchSpec(
            **named(runtime="custom-container", image=engine.IMAGE, command=command, args=[*does], **fields)
        )

    def refused(self) -> LaunchSpec:
        return LaunchSpec(**named(runtime="custom-container", image="file:../../etc/passwd"))


class DockerBeds(Beds):
    kind: ClassVar[type[PrivateEngine]] = PrivateEngine

    @staticmethod
    def why_not() -> str:
        return engine.why_not()

    def __enter__(self) -> Beds:
        self._entered = ExitStack()
        self.engine = engine.shared_engine(self.kind)
        self._entered.enter_context(self.engine.network())
        self.node = self._entered.enter_context(running_node("--engine", f"unix://{self.engine.socket}"))
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    @asynccontextmanager
    async def bed(self) -> AsyncIterator[Bed]:
        async with self.node.session() as node:
            yield ContainerBed(node)
        async with asyncio.timeout(20.0):
            while self.engine.containers():
                await asyncio.sleep(0.02)


class PodmanBeds(DockerBeds):
    kind = PodmanEngine

    @staticmethod
    def why_not() -> str:
        return why_not_podman()


class TestFake(BackendSuite):
    beds_class = FakeBeds


class TestProcesses(RunningBackendSuite):
    beds_class = ProcessBeds


class TestDocker(RunningBackendSuite):
    beds_class = DockerBeds


@pytest.mark.long
class TestPodman(RunningBackendSuite):
    beds_class = PodmanBeds
