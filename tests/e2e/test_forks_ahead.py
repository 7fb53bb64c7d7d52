"""Forks that are made ahead of their orders: what becomes of them when they are wanted, and when they are not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import InstanceState
from runtime.node import cgroups, processes
from runtime.node_contract import InstanceStatus, LaunchSpec
from tests.support import models
from tests.support.node import DEADLINE_S, NodeProcess, eventually, http, spec

WHO = """
    import os
    def handler(event, context):
        print("asked")
        return {"pid": os.getpid(), "parent": os.getppid(), "id": os.environ["FC_INSTANCE_ID"],
                "home": os.environ["HOME"], "word": os.environ["W"]}
"""
ASGI = """
    import os
    STARTED = []
    async def handler(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            STARTED.append(os.getpid())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": repr([STARTED, os.getpid()]).encode()})
"""


@pytest.fixture
async def node(request: pytest.FixtureRequest) -> AsyncIterator[NodeProcess]:
    node = await NodeProcess(*getattr(request, "param", ())).start()
    try:
        yield node
    finally:
        await node.close()


def again(one: LaunchSpec, **changes: Any) -> LaunchSpec:
    """Another instance of the same function version."""
    return replace(one, **changes, instance_id=f"c-{uuid.uuid4().hex[:12]}")


async def until_waiting(node: NodeProcess, count: int = 1) -> list[int]:
    """The pids of all forks that wait, once there are so many, oldest first."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            listed = await node.client.zygotes()
            if sum(one["waiting"] for one in listed) == count and listed:
                instances = {status.pid for status in await node.client.list() if not status.state.is_final}
                parents = {one["pid"] for one in listed}
                children = [s.pid for s in processes.all_stats() if s.ppid in parents and not s.is_dead]
                found = sorted(set(children) - instances - parents)
                if len(found) == count:
                    return found
            await asyncio.sleep(0.01)


async def asked(status: InstanceStatus) -> Any:
    async with http(status.address) as client:
        return (await client.post("/invoke", content=b"")).json()


def spares(groups: cgroups.MemoryGroups) -> set[str]:
    return {path.name for path in groups.parent.glob("stoke-spare-*")}


def gone(pid: int) -> bool:
    stat = processes.read_stat(pid)
    return stat is None or stat.is_dead


async def test_the_next_instance_is_the_fork_that_waited_and_all_that_is_its_own_it_has_from_its_order(
    node: NodeProcess,
) -> None:
    function = node.python(WHO, environment={"W": "word"})
    await node.launched(function)
    seen = set()
    for _ in range(3):
        [waiting] = await until_waiting(node)
        assert (await node.client.hello()).forks == {"zygotes": 1, "waiting": 1}
        one = again(function)
        status = await node.launched(one)
        answer = await asked(status)
        assert answer["pid"] == status.pid == waiting
        assert (answer["id"], answer["word"]) == (one.instance_id, "word")
        assert answer["home"] == str(node.data / "instances" / one.instance_id / "tmp")
        assert (await node.output(one.instance_id)).count("asked") == 1
        assert "Initialize" not in await node.output(one.instance_id), "what it rehearsed is nobody's output"
        seen.add(waiting)
    assert len(seen) == 3
    assert (await node.client.zygotes())[0]["children"] == 3, "one that waits is no instance"


async def test_an_app_is_started_once_in_the_process_that_serves_it(node: NodeProcess) -> None:
    function = node.python(ASGI)
    await node.launched(function)
    [waiting] = await until_waiting(node)
    status = await node.launched(again(function))
    async with http(status.address) as client:
        assert (await client.get("/")).text == repr([[waiting], waiting])


async def test_instances_that_start_at_once_are_more_than_wait_and_all_of_them_start(node: NodeProcess) -> None:
    function = node.python(WHO, environment={"W": "word"})
    await node.launched(function)
    await until_waiting(node)
    many = [again(function) for _ in range(4)]
    statuses = await asyncio.gather(*(node.launched(one) for one in many))
    assert {(await asked(status))["id"] for status in statuses} == {one.instance_id for one in many}
    await until_waiting(node)


async def test_one_that_was_killed_while_it_waited_costs_no_launch(node: NodeProcess) -> None:
    function = node.python(WHO, environment={"W": "word"})
    await node.launched(function)
    [waiting] = await until_waiting(node)
    os.kill(waiting, signal.SIGKILL)
    status = await node.launched(again(function))  # the node may or may not have heard of it
    assert (await asked(status))["parent"] == (await node.client.zygotes())[0]["pid"]
    await until_waiting(node)


async def test_one_that_waits_outlives_neither_its_zygote_nor_its_node(node: NodeProcess) -> None:
    function = node.python(WHO, environment={"W": "word"})
    await node.launched(function)
    [waiting] = await until_waiting(node)
    os.kill((await node.client.zygotes())[0]["pid"], signal.SIGKILL)
    await eventually(lambda: gone(waiting), "it has ended with its zygote")
    await node.launched(again(function))
    [waiting] = await until_waiting(node)
    node.end(signal.SIGKILL)
    await eventually(lambda: gone(waiting), "it has ended with its node")
    await node.start()


@pytest.mark.parametrize("node", [["--forks-ahead", "0"], ["--forks-ahead", "2"]], indirect=True)
async def test_how_many_wait_is_a_setting(node: NodeProcess, request: pytest.FixtureRequest) -> None:
    wanted = int(request.node.callspec.params["node"][1])
    function = node.python(WHO, environment={"W": "word"})
    await node.launched(function)
    first = await until_waiting(node, wanted)
    status = await node.launched(again(function))
    assert (status.pid in first) == (wanted > 0)
    await until_waiting(node, wanted)


async def test_models_share_one_zygote_and_each_has_the_limit_of_its_own_function(node: NodeProcess) -> None:
    digest = node.put_code({"which.txt": "models"})
    models.picks(node.data / "code" / digest / "model.onnx")
    small = spec(runtime="python3.11", handler="model.onnx", code_sha256=digest, memory_mib=256)
    large = again(small, function="another", memory_mib=512)
    await node.launched(small)
    for function in (large, again(small), again(large)):
        [waiting] = await until_waiting(node)
        status = await node.launched(function)
        assert status.pid == waiting
        async with http(status.address) as client:
            assert (await client.get("/v2/health/ready")).status_code == 200
        if (groups := cgroups.find()) is not None:
            record = (node.data / "instances" / function.instance_id / "record.json").read_text()
            group = Path(json.loads(record.splitlines()[-1])["group"])
            assert cgroups.members(group) >= {status.pid}
            assert int((group / groups.limit_file).read_text()) == function.memory_mib * 2**20
    assert [one["function"] for one in await node.client.zygotes()] == [["", "", "models"]]


async def test_groups_of_those_that_waited_are_gone_when_the_node_has_ended(node: NodeProcess) -> None:
    groups = cgroups.find()
    if groups is None:
        pytest.skip("no control group with a memory limit can be made here")
    before = spares(groups)
    function = node.python(WHO, environment={"W": "word"})
    await node.launched(function)
    [waiting] = await until_waiting(node)
    os.kill(waiting, signal.SIGKILL)
    status = await node.launched(again(function))
    await until_waiting(node)
    await node.client.shutdown(0.0)
    assert gone(status.pid)
    await eventually(lambda: not spares(groups) - before, "no group is left")
    assert InstanceState.STOPPED in {one.state for one in await node.client.list()}
