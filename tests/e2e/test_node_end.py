"""How instances end on a real node: stopped, dead by themselves, over their memory; and that nobody is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from runtime.contract import InstanceState
from runtime.node import cgroups, processes
from tests.support.node import DEADLINE_S, NodeProcess, eventually, http

FAILED, READY, STOPPED = InstanceState.FAILED, InstanceState.READY, InstanceState.STOPPED

ECHO = "def handler(event, context): return event"

# Starts a child of its own, and a grandchild that has left the session; prints all pids; "stubborn" ignores SIGTERM.
FAMILY = """
    import http.server, os, signal, subprocess, sys

    if sys.argv[1] == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"])
    runaway = subprocess.Popen(["sleep", "600"], start_new_session=True)
    print("pids", os.getpid(), child.pid, runaway.pid, flush=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            print("GET", self.path, self.headers["x-fc-control-path"], flush=True)
            self.send_response(500 if self.path == "/ill" else 200)
            self.end_headers()

    http.server.HTTPServer(("127.0.0.1", int(os.environ["FC_SERVER_PORT"])), Handler).serve_forever()
"""

EATER = """
    held = []
    def handler(event, context):
        held.append(bytearray(b"x") * (int(event) * 2**20))
        return "full"
"""


def alive(pid: int) -> bool:
    stat = processes.read_stat(pid)
    return stat is not None and not stat.is_dead


async def pids_of_family(node: NodeProcess, instance_id: str) -> list[int]:
    line = next(line for line in (await node.output(instance_id)).splitlines() if line.startswith("pids"))
    return [int(text) for text in line.split()[1:]]


async def test_stop_ends_a_python_instance_and_leaves_nothing(node: NodeProcess) -> None:
    status = await node.launched(node.python(ECHO))
    await node.client.stop(status.instance_id, 5.0)
    await node.until(status.instance_id, STOPPED)
    assert not alive(status.pid)
    folder = node.data / "instances" / status.instance_id
    assert not (folder / "instance.sock").exists()


async def test_stop_ends_the_whole_family_of_a_server(node: NodeProcess) -> None:
    status = await node.launched(node.custom(FAMILY, "polite"))
    pids = await pids_of_family(node, status.instance_id)
    assert all(map(alive, pids))
    await node.client.stop(status.instance_id, 5.0)
    await node.until(status.instance_id, STOPPED)
    assert [pid for pid in pids if alive(pid)] == []


async def test_a_server_that_ignores_sigterm_is_killed_when_its_grace_is_over(node: NodeProcess) -> None:
    status = await node.launched(node.custom(FAMILY, "stubborn"))
    pids = await pids_of_family(node, status.instance_id)
    began_s = time.monotonic()
    await node.client.stop(status.instance_id, 0.3)
    await node.until(status.instance_id, STOPPED)
    assert time.monotonic() - began_s >= 0.3
    assert [pid for pid in pids if alive(pid)] == []


async def test_a_second_stop_can_shorten_the_grace(node: NodeProcess) -> None:
    status = await node.launched(node.custom(FAMILY, "stubborn"))
    await node.client.stop(status.instance_id, 600.0)
    await node.client.stop(status.instance_id, 0.0)
    await node.until(status.instance_id, STOPPED)


async def test_a_stop_of_what_is_unknown_or_ended_does_nothing(node: NodeProcess) -> None:
    await node.client.stop("never-seen", 1.0)
    status = await node.launched(node.python("raise ValueError()"), FAILED)
    await node.client.stop(status.instance_id, 1.0)
    assert await node.status(status.instance_id) == status


async def test_a_stop_while_launching_ends_it_as_stopped(node: NodeProcess) -> None:
    function = node.custom("import time; time.sleep(600)")
    await node.client.launch(function)
    await node.client.stop(function.instance_id, 5.0)
    stopped = await node.until(function.instance_id, STOPPED)
    assert not alive(stopped.pid)


async def test_the_pre_stop_hook_is_called_before_the_end(node: NodeProcess) -> None:
    status = await node.launched(node.custom(FAMILY, "polite", pre_stop="/pre-stop"))
    await node.client.stop(status.instance_id, 5.0)
    await node.until(status.instance_id, STOPPED)
    assert "GET /pre-stop /pre-stop" in await node.output(status.instance_id)


async def test_a_pre_stop_hook_that_hangs_does_not_hold_up_the_end(node: NodeProcess) -> None:
    source = """
        import time
        def handler(event, context): return event
        def pre_stop(context): time.sleep(600)
    """
    function = node.python(source, pre_stop="app.pre_stop", pre_stop_timeout_s=0.2)
    status = await node.launched(function)
    await node.client.stop(status.instance_id, 1.0)
    await node.until(status.instance_id, STOPPED)


async def test_requests_inside_run_to_their_end_after_sigterm(node: NodeProcess) -> None:
    source = """
        import time
        def handler(event, context):
            print("inside", flush=True)
            time.sleep(0.5)
            return "done"
    """
    status = await node.launched(node.python(source))
    async with http(status.address) as client:
        answer = asyncio.create_task(client.post("/invoke"))
        log = node.data / "instances" / status.instance_id / "output.log"
        await eventually(lambda: "inside" in log.read_text(), "the request is inside")
        await node.client.stop(status.instance_id, 10.0)
        assert (await answer).text == "done"
    await node.until(status.instance_id, STOPPED)


@pytest.mark.parametrize("kind", ["python", "custom"])
async def test_an_instance_that_is_killed_is_noticed_at_once(node: NodeProcess, kind: str) -> None:
    function = node.python(ECHO) if kind == "python" else node.custom(FAMILY, "polite")
    status = await node.launched(function)
    killed_s = time.monotonic()
    os.kill(status.pid, signal.SIGKILL)
    failed = await node.until(status.instance_id, FAILED)
    assert time.monotonic() - killed_s < 2.0
    assert "exited unexpectedly(code 137, message:killed by SIGKILL)" in failed.reason


async def test_the_family_of_a_server_that_died_is_ended_too(node: NodeProcess) -> None:
    if cgroups.find() is None:
        pytest.skip("only a control group finds a child that has left the session of a parent that is dead")
    status = await node.launched(node.custom(FAMILY, "polite"))
    pids = await pids_of_family(node, status.instance_id)
    os.kill(status.pid, signal.SIGKILL)
    await node.until(status.instance_id, FAILED)
    assert [pid for pid in pids if alive(pid)] == []


async def test_a_function_that_exits_the_interpreter_fails_with_its_code(node: NodeProcess) -> None:
    source = """
        import os
        def handler(event, context):
            print("giving up", flush=True)
            os._exit(3)
    """
    status = await node.launched(node.python(source))
    async with http(status.address) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/invoke")
    failed = await node.until(status.instance_id, FAILED)
    assert "exited unexpectedly(code 3, message:exit status 3)" in failed.reason
    assert "giving up" in failed.reason


async def test_an_instance_over_its_memory_limit_fails_saying_so(node: NodeProcess) -> None:
    if cgroups.find() is None:
        pytest.skip("no control group with a memory limit can be made here")
    status = await node.launched(node.python(EATER, memory_mib=128))
    async with http(status.address) as client:
        assert (await client.post("/invoke", content=b"10")).text == "full"
        with pytest.raises(httpx.TransportError):
            await client.post("/invoke", content=b"500")
    failed = await node.until(status.instance_id, FAILED)
    assert "ran out of memory: it is over its limit of 128 MiB" in failed.reason


async def test_memory_is_watched_where_no_control_group_can_be_made() -> None:
    node = NodeProcess("--memory-limits", "watch")
    try:
        await node.start()
        status = await node.launched(node.python(EATER, memory_mib=128))
        async with http(status.address) as client:
            with contextlib.suppress(httpx.RemoteProtocolError):  # it may be ended before it has answered
                await client.post("/invoke", content=b"300")
        failed = await node.until(status.instance_id, FAILED)
        assert "ran out of memory: it is over its limit of 128 MiB" in failed.reason
        assert not alive(status.pid)
    finally:
        await node.close()


async def test_a_health_check_that_fails_too_often_ends_the_instance(node: NodeProcess) -> None:
    source = FAMILY.replace('"/ill"', '"/health" and os.path.exists(os.environ["TMPDIR"] + "/ill")')
    function = node.custom(source, "polite", health_path="/health", health_period_s=0.05, health_failure_threshold=2)
    status = await node.launched(function)
    (node.data / "instances" / status.instance_id / "tmp" / "ill").touch()
    failed = await node.until(status.instance_id, FAILED)
    assert "failed its health check GET /health 2 times in a row (status 500)" in failed.reason


async def test_control_groups_of_ended_instances_are_removed(node: NodeProcess) -> None:
    groups = cgroups.find()
    if groups is None:
        pytest.skip("no control group with a memory limit can be made here")
    function = node.python(ECHO, function="grouped")
    first = await node.launched(function)
    async with asyncio.timeout(DEADLINE_S):
        while "grouped" not in str(await node.client.zygotes()):  # its children are born in groups that it has left
            await asyncio.sleep(0.01)
    later = await node.launched(replace(function, instance_id="c-grouped-later"))
    for status in (first, later):
        record = (node.data / "instances" / status.instance_id / "record.json").read_text()
        group = Path(json.loads(record.splitlines()[-1])["group"])
        assert cgroups.members(group) >= {status.pid}
        assert int((group / groups.limit_file).read_text()) == function.memory_mib * 2**20
        await node.client.stop(status.instance_id, 5.0)
        await node.until(status.instance_id, STOPPED)
        assert group.name not in os.listdir(groups.parent)
