"""What shuts processes in, seen from inside."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from runtime.contract import InstanceState
from tests.support.node import NodeProcess, http, spec

# sh, as its interpreter lies where every sandbox shows it.
SHOWS = "grep NoNewPrivs /proc/self/status; exit 3"
WRITES = "echo mine > /tmp/$FC_INSTANCE_ID; cat /tmp/$FC_INSTANCE_ID; exit 3"


@asynccontextmanager
async def a_node(*options: str) -> AsyncIterator[NodeProcess]:
    node = NodeProcess(*options)
    try:
        yield await node.start()
    finally:
        await node.close()


async def shown(node: NodeProcess, script: str = SHOWS, **more: Any) -> str:
    function = spec(runtime="custom", command=["/bin/sh", "-c", script], **more)
    return (await node.launched(function, InstanceState.FAILED)).reason


async def test_neither_a_command_nor_a_handler_can_gain_privileges() -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not on PATH")
    async with a_node() as node:
        assert "NoNewPrivs:\t1" in await shown(node)
        source = "def handler(event, context): return open('/proc/self/status').read()"
        status = await node.launched(node.python(source))
        async with http(status.address) as client:
            assert "NoNewPrivs:\t1" in (await client.post("/invoke")).text
        assert "no new privileges" in (await node.client.hello()).isolation["process"]


async def test_bubblewrap_gives_a_command_a_tmp_of_its_own() -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bwrap is not on PATH")
    async with a_node("--sandbox", "bubblewrap") as node:
        assert "NoNewPrivs:\t1" in await shown(node)
        assert "mine" in await shown(node, WRITES, instance_id="c-has-its-own-tmp")
        assert "a /tmp of its own" in (await node.client.hello()).isolation["process"]
        assert "c-has-its-own-tmp" not in os.listdir("/tmp")


async def test_without_a_sandbox_everything_is_as_it_was() -> None:
    async with a_node("--sandbox", "none") as node:
        assert "NoNewPrivs:\t0" in await shown(node)
