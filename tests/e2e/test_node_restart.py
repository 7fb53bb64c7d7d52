"""A node that ends or is killed leaves its instances running, and the next one finds them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from runtime.contract import InstanceState
from runtime.node import processes
from runtime.node.client import NodeError, NodeUnavailable
from tests.support.node import NodeProcess, eventually, http

FAILED, READY, STOPPED = InstanceState.FAILED, InstanceState.READY, InstanceState.STOPPED
LAUNCHING, INITIALIZING = InstanceState.LAUNCHING, InstanceState.INITIALIZING

ECHO = "def handler(event, context): return event"
SLOW_SERVER = """
    import http.server, os, time
    print("starting", flush=True)
    while not os.path.exists(os.environ["TMPDIR"] + "/go"):
        time.sleep(0.01)
    http.server.HTTPServer(
        ("127.0.0.1", int(os.environ["FC_SERVER_PORT"])), http.server.SimpleHTTPRequestHandler
    ).serve_forever()
"""


@pytest.fixture
async def node() -> AsyncIterator[NodeProcess]:
    process = NodeProcess()
    try:
        await process.start()
        yield process
    finally:
        await process.close()


def alive(pid: int) -> bool:
    stat = processes.read_stat(pid)
    return stat is not None and not stat.is_dead


async def answers(address: str) -> bool:
    async with http(address) as client:
        return (await client.post("/invoke", content=b"x")).content == b"x"


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder of nodes that are started from here on."""
    with tempfile.TemporaryDirectory(prefix="stoke-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def in_folder(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_node_with_a_long_name_keeps_a_short_folder_for_sockets_as_long_as_an_instance_lives(
    temporary: Path,
) -> None:
    node = NodeProcess(data="long-" * 20)
    try:
        await node.start()
        python = await node.launched(node.python(ECHO))
        assert Path(python.address.removeprefix("unix:")).is_relative_to(temporary)
        assert node.end(signal.SIGTERM) == 0
        assert await answers(python.address)
        await node.start()
        assert await answers(python.address)
    finally:
        await node.close()
    assert in_folder(temporary) == []


async def test_a_node_whose_sockets_fit_makes_no_other_folder_for_them(node: NodeProcess, temporary: Path) -> None:
    node.end(signal.SIGTERM)
    await node.start()
    await node.launched(node.python(ECHO))
    assert in_folder(temporary) == []


async def test_instances_outlive_a_killed_node_and_are_found_again(node: NodeProcess) -> None:
    python = await node.launched(node.python(ECHO))
    custom = await node.launched(node.custom(SLOW_SERVER.replace("not os", "False and not os")))
    node.end(signal.SIGKILL)
    assert await answers(python.address)
    await node.start()
    assert {status.instance_id: status for status in await node.client.list()} == {
        python.instance_id: python,
        custom.instance_id: custom,
    }
    assert await answers(python.address)


async def test_what_was_found_again_is_watched_and_stopped_like_any_other(node: NodeProcess) -> None:
    first, second = await node.launched(node.python(ECHO)), await node.launched(node.python(ECHO))
    node.end(signal.SIGKILL)
    await node.start()
    await node.client.stop(first.instance_id, 5.0)
    await node.until(first.instance_id, STOPPED)
    os.kill(second.pid, signal.SIGKILL)
    failed = await node.until(second.instance_id, FAILED)
    assert "exited unexpectedly(code unknown" in failed.reason
    assert not alive(first.pid)


async def test_an_instance_that_died_meanwhile_is_failed_saying_so(node: NodeProcess) -> None:
    status = await node.launched(node.python(ECHO))
    node.end(signal.SIGKILL)
    os.kill(status.pid, signal.SIGKILL)
    await node.start()
    assert (await node.until(status.instance_id, FAILED)).reason == "Function instance exited while the node was away"


async def test_a_launch_that_was_under_way_goes_on(node: NodeProcess) -> None:
    function = node.custom(SLOW_SERVER)
    await node.client.launch(function)
    log = node.data / "instances" / function.instance_id / "output.log"
    await eventually(lambda: "starting" in log.read_text(), "the server runs")
    node.end(signal.SIGKILL)
    await node.start()
    status = await node.until(function.instance_id, LAUNCHING)
    (log.parent / "tmp" / "go").touch()
    assert (await node.until(function.instance_id, READY)).pid == status.pid
    assert log.read_text().count("starting") == 1


async def test_a_process_whose_pid_was_not_yet_recorded_is_found_by_its_own_note(node: NodeProcess) -> None:
    function = node.custom(SLOW_SERVER)
    await node.client.launch(function)
    folder = node.data / "instances" / function.instance_id
    await eventually(lambda: "starting" in (folder / "output.log").read_text(), "the server runs")
    pid = (await node.until(function.instance_id, LAUNCHING)).pid
    node.end(signal.SIGKILL)
    record = json.loads((folder / "record.json").read_text().splitlines()[-1])
    (folder / "record.json").write_text(json.dumps({**record, "pid": 0, "start_ticks": 0}))
    await node.start()
    (folder / "tmp" / "go").touch()
    assert (await node.until(function.instance_id, READY)).pid in (pid, int((folder / "pid").read_text()))
    assert (folder / "output.log").read_text().count("starting") == 1


async def test_an_initializer_is_never_run_twice(node: NodeProcess) -> None:
    source = """
        import time
        def handler(event, context): return event
        def initialize(context):
            print("initializing", flush=True)
            time.sleep(600)
    """
    function = node.python(source, initializer="app.initialize", initialization_timeout_s=300.0)
    status = await node.launched(function, INITIALIZING)
    log = node.data / "instances" / function.instance_id / "output.log"
    await eventually(lambda: "initializing" in log.read_text(), "the initializer runs")
    node.end(signal.SIGKILL)
    await node.start()
    failed = await node.until(function.instance_id, FAILED)
    assert failed.reason == "the node was restarted while the instance was initializing"
    assert not alive(status.pid)


async def test_ended_instances_are_known_until_they_are_forgotten(node: NodeProcess) -> None:
    failed = await node.launched(node.python("raise ValueError('no')"), FAILED)
    node.end(signal.SIGKILL)
    await node.start()
    assert await node.client.list() == [failed]
    await node.client.forget(failed.instance_id)
    node.end(signal.SIGKILL)
    await node.start()
    assert await node.client.list() == []
    assert "ValueError: no" in await node.output(failed.instance_id)


async def test_sigterm_ends_the_node_and_leaves_its_instances(node: NodeProcess) -> None:
    status = await node.launched(node.python(ECHO))
    assert node.end(signal.SIGTERM) == 0
    assert await answers(status.address)
    await node.start()
    assert await node.client.list() == [status]


async def test_the_zygote_ends_with_its_node_and_its_children_live_on(node: NodeProcess) -> None:
    status = await node.launched(node.python(ECHO))
    zygote = (processes.read_stat(status.pid) or pytest.fail("gone")).ppid
    assert zygote != node.pid
    node.end(signal.SIGKILL)
    await eventually(lambda: not alive(zygote), "the zygote ends")
    assert alive(status.pid)


async def test_a_zygote_that_was_killed_is_replaced_at_the_next_launch(node: NodeProcess) -> None:
    before = await node.launched(node.python(ECHO))
    os.kill((processes.read_stat(before.pid) or pytest.fail("gone")).ppid, signal.SIGKILL)
    after = await node.launched(node.python(ECHO))
    assert await answers(before.address)
    assert await answers(after.address)


async def test_the_zygote_has_one_thread_and_no_open_files_but_its_own(node: NodeProcess) -> None:
    status = await node.launched(node.python(ECHO))
    zygote = (processes.read_stat(status.pid) or pytest.fail("gone")).ppid
    assert len(os.listdir(f"/proc/{zygote}/task")) == 1
    files = {os.readlink(f"/proc/{status.pid}/fd/{name}") for name in os.listdir(f"/proc/{status.pid}/fd")}
    folder = str(node.data / "instances" / status.instance_id)
    assert {file for file in files if file.startswith("/") and not file.startswith(folder)} == {"/dev/null"}


async def test_no_zygote_runs_before_a_python_function_is_prepared(node: NodeProcess) -> None:
    def children() -> int:
        return sum(stat.ppid == node.pid and not stat.is_dead for stat in processes.all_stats())

    await node.client.prepare("custom")
    assert children() == 0
    await node.client.prepare("python3.11")
    await node.client.prepare("python3.11")
    assert children() == 1
    with pytest.raises(NodeError, match="not known here"):
        await node.client.prepare("java8")


async def test_shutdown_stops_every_instance_before_it_answers(node: NodeProcess) -> None:
    statuses = [await node.launched(node.python(ECHO)) for _ in range(3)]
    await node.client.shutdown(5.0)
    assert [status.state for status in await node.client.list()] == [STOPPED] * 3
    assert not any(alive(status.pid) for status in statuses)
    with pytest.raises(NodeError, match="the node is shutting down"):
        await node.client.launch(node.python(ECHO))


async def test_a_second_node_on_the_same_folder_or_socket_does_not_start(node: NodeProcess) -> None:
    command = [sys.executable, "-m", "runtime.node", "--data", str(node.data), "--socket", str(node.data / "2.sock")]
    second = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=20, check=False)
    assert second.returncode == 1
    assert b"another node owns the instances" in second.stderr
    command[4] = str(node.data / "other")
    command[6] = str(node.socket)
    third = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=20, check=False)
    assert third.returncode == 1
    assert b"another node listens on it" in third.stderr


async def test_calls_and_watches_say_that_a_node_is_away_and_work_again_after_its_return(node: NodeProcess) -> None:
    watch = node.client.watch()
    function = node.python(ECHO)
    await node.launched(function)
    assert (await anext(watch)).instance_id == function.instance_id
    node.end(signal.SIGKILL)
    with pytest.raises(NodeUnavailable):
        async for _ in watch:
            pass
    with pytest.raises(NodeUnavailable):
        await node.client.hello()
    await node.start()
    assert (await node.client.hello()).pid == node.pid
