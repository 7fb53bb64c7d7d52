"""What instances print can be read from a real node: the end of it, as it comes, and after they are forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from runtime.contract import InstanceState
from runtime.node import output
from runtime.node.client import NodeError
from tests.support.node import NodeProcess, http

FAILED, READY, STOPPED = InstanceState.FAILED, InstanceState.READY, InstanceState.STOPPED

TALKER = """
    import sys
    print("loaded")
    def handler(event, context):
        sys.stdout.buffer.write(event)
        sys.stdout.flush()
        return "ok"
"""


async def test_the_tail_is_the_end_of_the_output(node: NodeProcess) -> None:
    status = await node.launched(node.python("print('a' * 100)\nprint('the end')\nraise ValueError"), FAILED)
    chunks = [chunk async for chunk in node.client.logs(status.instance_id, tail_bytes=11, follow=False)]
    assert b"".join(chunks) == b"ValueError\n"


async def test_following_gives_what_is_printed_until_the_instance_ends(node: NodeProcess) -> None:
    status = await node.launched(node.python(TALKER))
    logs = node.client.logs(status.instance_id, tail_bytes=1000, follow=True)
    seen = await anext(logs)
    assert seen == b"loaded\n"
    async with http(status.address) as client:
        await client.post("/invoke", content=b"caf\xc3\xa9 \xff\n", headers={"x-fc-request-id": "one"})
    async with asyncio.timeout(10):
        while b"FC Invoke End RequestId: one\n" not in seen:
            seen += await anext(logs)
    assert b"FC Invoke Start RequestId: one\ncaf\xc3\xa9 \xff\n" in seen
    await node.client.stop(status.instance_id, 5.0)
    async with asyncio.timeout(10):
        assert [chunk async for chunk in logs] == []


async def test_the_output_of_a_forgotten_instance_can_still_be_read(node: NodeProcess) -> None:
    status = await node.launched(node.python("raise ValueError('remembered')"), FAILED)
    await node.client.forget(status.instance_id)
    assert await node.status(status.instance_id) is None
    assert "remembered" in await node.output(status.instance_id)


async def test_an_instance_that_lives_is_not_forgotten(node: NodeProcess) -> None:
    status = await node.launched(node.python(TALKER))
    await node.client.forget(status.instance_id)
    await node.client.forget("never-seen")
    assert await node.client.list() == [status]


async def test_the_output_of_an_instance_that_never_was_is_not_found(node: NodeProcess) -> None:
    for instance_id, code in (("never-seen", "NotFound"), ("../../etc", "InvalidArgument")):
        with pytest.raises(NodeError) as refused:
            await node.output(instance_id)
        assert refused.value.code == code


async def test_a_watch_gives_every_known_instance_first_and_then_each_change(node: NodeProcess) -> None:
    known = await node.launched(node.python(TALKER))
    watch = node.client.watch()
    assert await anext(watch) == known
    function = node.python(TALKER)
    await node.client.launch(function)
    states = []
    async with asyncio.timeout(10):
        while READY not in states:
            status = await anext(watch)
            assert status.instance_id == function.instance_id
            states.append(status.state)
    assert states == [InstanceState.LAUNCHING, READY]
    await watch.aclose()  # type: ignore[attr-defined]


async def test_following_goes_on_after_a_cut(tmp_path: Path) -> None:
    (tmp_path / output.NAME).write_bytes(b"before")
    seen: list[bytes] = []
    steps = iter([True, True, False])

    def goes_on() -> bool:
        if len(seen) == 1:
            output.cut(tmp_path, 1)
            (tmp_path / output.NAME).write_bytes(b"new")
        return next(steps)

    async for chunk in output.read(tmp_path, tail_bytes=100, follow=goes_on):
        seen.append(chunk)  # noqa: PERF401 - goes_on looks at it meanwhile
    assert seen == [b"before", b"new"]
