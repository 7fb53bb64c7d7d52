"""A node that has no file descriptor free, and watchers that do not read: nobody waits for an answer in vain."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runtime.contract import InstanceState
from runtime.node.client import NodeClient, NodeError, NodeUnavailable
from runtime.node.instances import Instances
from runtime.node.server import Server
from runtime.node_contract import InstanceStatus, NodeInfo
from tests.support.node import DEADLINE_S, NodeProcess, running_node

ECHO = "def handler(event, context): return event"


@pytest.fixture(scope="module")
def process() -> Iterator[NodeProcess]:
    with running_node("--backend", "process") as node:
        yield node


@pytest.fixture
async def node(process: NodeProcess) -> AsyncIterator[NodeProcess]:
    async with process.session() as node:
        yield node


@contextlib.contextmanager
def no_descriptor_free(pid: int) -> Iterator[None]:
    """Those that are open stay open."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


async def test_without_a_descriptor_each_call_is_answered_and_with_one_all_goes_on(node: NodeProcess) -> None:
    ended = await node.launched(node.python(ECHO))
    await node.client.stop(ended.instance_id, 0.0)
    await node.until(ended.instance_id, InstanceState.STOPPED)
    async with asyncio.timeout(DEADLINE_S):
        with no_descriptor_free(node.pid):
            with pytest.raises(NodeError, match="Too many open files"):
                await node.client.launch(node.python(ECHO))
            await node.client.forget(ended.instance_id)
            assert await node.status(ended.instance_id) is None
    await node.launched(node.python(ECHO))


async def test_a_watcher_that_is_too_far_behind_is_told_by_the_end_of_its_connection(tmp_path: Path) -> None:
    async def watch() -> AsyncIterator[InstanceStatus]:
        """As that of a node ends for one that has not read ten thousand changes."""
        yield InstanceStatus("i", InstanceState.READY, "", 1, 0.0)

    server = Server(cast(Instances, SimpleNamespace(find=None, watch=watch)), cast(NodeInfo, None), settings())
    listening = await server.listen(tmp_path / "s")
    client = NodeClient(tmp_path / "s")
    heard = client.watch()
    async with asyncio.timeout(DEADLINE_S):
        assert (await anext(heard)).instance_id == "i"
        with pytest.raises(NodeUnavailable):
            await anext(heard)
    await client.close()
    listening.close()
    await server.close()


def settings() -> Any:
    return SimpleNamespace(request_bytes_max=1 << 16)
