"""The backend that is our own node: its JSON-lines client behind the port, its errors turned into ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import TypeVar

from control_plane.backends.pools import Pools
from control_plane.errors import (
    InvalidArgument,
    LaunchRefused,
    NoRoom,
    NotFound,
    PlatformError,
    RequestError,
    StokeError,
    Unavailable,
)
from control_plane.ports import Shell
from runtime.node.client import NodeClient, NodeError, NodeUnavailable
from runtime.node_contract import CodeEnvironment, InstanceSample, InstanceStatus, LaunchSpec, NodeInfo
from runtime.shell import ShellOrder

T = TypeVar("T")


class NodeBackend:
    """Fills `ports.Backend` with one node, reached over its unix socket."""

    def __init__(self, client: NodeClient, pools: Pools | None = None) -> None:
        """With pools: the node belongs to those whose labels it has, and is asked for nothing else."""
        self._client = client
        self._pools = pools
        self._labels: dict[str, str] | None = None

    async def info(self) -> NodeInfo:
        info = await _call(self._client.hello)
        self._labels = info.labels
        return info

    async def prepare(self, runtime: str) -> None:
        await _call(lambda: self._client.prepare(runtime))

    async def launch(self, spec: LaunchSpec) -> None:
        if self._pools is not None and spec.pool:
            await self._check_pool(self._pools, spec.pool)
        await _call(lambda: self._client.launch(spec))

    async def _check_pool(self, pools: Pools, name: str) -> None:
        pool = pools.get(name)
        has = self._labels if self._labels is not None else (await self.info()).labels
        lacking = [f"{key}={value}" for key, value in (pool.labels if pool else {}).items() if has.get(key) != value]
        if pool is None or lacking:
            raise NoRoom(f"the node is not of pool '{name}': it has no label {', '.join(lacking)}")

    async def stop(self, instance_id: str, grace_s: float) -> None:
        await _call(lambda: self._client.stop(instance_id, grace_s))

    async def forget(self, instance_id: str) -> None:
        await _call(lambda: self._client.forget(instance_id))

    async def list(self) -> Sequence[InstanceStatus]:
        return await _call(self._client.list)

    async def watch(self) -> AsyncIterator[InstanceStatus]:
        try:
            async for status in self._client.watch():
                yield status
        except NodeUnavailable as error:
            raise Unavailable(f"the node cannot be reached: {error}") from error
        raise Unavailable("the node closed the connection")

    async def samples(self) -> Sequence[InstanceSample]:
        return await _call(self._client.samples)

    async def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._client.logs(instance_id, tail_bytes=tail_bytes, follow=follow):
                yield chunk
        except NodeUnavailable as error:
            raise Unavailable(f"the node cannot be reached: {error}") from error
        except NodeError as error:
            raise _translated(error) from error


class NodeEnvironments:
    """Fills `ports.CodeEnvironments` with one node."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client

    async def look(self, code_sha256: str, *, build: bool, wait_s: float) -> CodeEnvironment:
        return await _call(lambda: self._client.environment(code_sha256, build=build, wait_s=wait_s))

    async def sweep(self, code_in_use: Collection[str]) -> Sequence[str]:
        return await _call(lambda: self._client.sweep_environments(code_in_use))

    async def code(self) -> Collection[str]:
        """Of each instance that the node knows. Raises Unavailable."""
        return await _call(self._client.code_in_use)


class NodeShells:
    """Fills `ports.Shells` with one node."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client

    async def open(self, order: ShellOrder) -> Shell:
        return await _call(lambda: self._client.exec(order))


async def _call(work: Callable[[], Awaitable[T]]) -> T:
    try:
        return await work()
    except NodeUnavailable as error:
        raise Unavailable(f"the node cannot be reached: {error}") from error
    except NodeError as error:
        raise _translated(error) from error


def _translated(error: NodeError) -> StokeError:
    if error.code == "LaunchRefused":
        return LaunchRefused(error.message)
    if error.code == "NotFound":
        return NotFound("Instance", error.message)
    if error.code == "InvalidArgument":
        return InvalidArgument(error.message)
    if error.code == "ResourceExhausted":
        return RequestError(error.message, code="ResourceExhausted", status=429)
    return PlatformError(f"the node answered {error.code}: {error.message}")
