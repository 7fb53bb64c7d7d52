"""A zygote for each function: what it saves, and what it must not be made of."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import InstanceState
from runtime.node import processes
from runtime.node.forks import ForkError, Forks
from runtime.node_contract import InstanceStatus, LaunchSpec
from tests.support.node import DEADLINE_S, NodeProcess, eventually, http

STOPPED, FAILED = InstanceState.STOPPED, InstanceState.FAILED

# Says which process has imported it, and what is its own.
WHO = """
    import os, random, sys, threading
    IMPORTED_BY = os.getpid()
    def handler(event, context):
        import numpy
        return {"imported_by": IMPORTED_BY, "pid": os.getpid(), "parent": os.getppid(),
                "id": os.environ["FC_INSTANCE_ID"], "home": os.environ["HOME"], "cwd": os.getcwd(),
                "random": random.random(), "numpy": numpy.random.random(), "threads": threading.active_count(),
                "main": sys.modules["__main__"].__dict__.get("__file__"), "argv": sys.argv, "word": os.environ.get("W")}
"""


def again(one: LaunchSpec, **changes: Any) -> LaunchSpec:
    """Another instance of the same function version."""
    return replace(one, **changes, instance_id=f"c-{uuid.uuid4().hex[:12]}")


async def asked(status: InstanceStatus) -> Any:
    async with http(status.address) as client:
        return (await client.post("/invoke", content=b"")).json()


def running(*command: str) -> bool:
    wanted = "".join(f"{word}\0" for word in command).encode()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if file.read_bytes() == wanted:
                return True
    return False


async def zygote(node: NodeProcess, function: LaunchSpec) -> dict[str, Any]:
    """What became of the wish for one: made, or refused with a reason."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for one in await node.client.zygotes():
                if one["function"] == [function.service, function.version, function.function]:
                    return dict(one)
            await asyncio.sleep(0.01)


def named(node: NodeProcess, source: str, **more: Any) -> LaunchSpec:
    """A function with a name of its own, which tells its zygote from others."""
    function = node.python(source, **more)
    return again(function, function=f"f-{function.code_sha256[:8]}{len(more)}")


async def test_later_instances_are_forked_from_a_process_that_has_imported_the_function(node: NodeProcess) -> None:
    function = named(node, WHO, environment={"W": "word"})
    first = await asked(await node.launched(function))
    assert first["imported_by"] == first["pid"]
    made = await zygote(node, function)
    second, third = [await asked(await node.launched(again(function))) for _ in range(2)]
    assert second["imported_by"] == third["imported_by"] == second["parent"] == made["pid"]
    # All else is each instance's own.
    for name in ("pid", "id", "home", "random", "numpy"):
        assert len({one[name] for one in (first, second, third)}) == 3, name
    assert (second["cwd"], second["word"], second["threads"]) == (first["cwd"], "word", first["threads"])
    assert (second["main"], second["argv"]) == (first["main"], first["argv"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
            "started 1 thread",
        ),
        ("import socket\nKEPT = socket.socket()", "opened a connection"),
        ("import subprocess\nKEPT = subprocess.Popen(['sleep', '99.75'])", "started a process"),
        ("import os\nWHO = os.environ['FC_INSTANCE_ID']", "read FC_INSTANCE_ID"),
    ],
)
async def test_what_cannot_be_forked_is_imported_by_each_instance_and_the_output_says_why(
    node: NodeProcess, source: str, reason: str, tmp_path: Any
) -> None:
    lines = "\n".join("    " + line for line in source.splitlines())
    function = named(
        node, f"\n{lines}\n    def handler(event, context): return 'fine'\n", environment={"W": str(tmp_path)}
    )
    await node.launched(function)
    refused = await zygote(node, function)
    assert reason in refused["refused"]
    await node.client.stop(function.instance_id, 0.0)
    await node.until(function.instance_id, STOPPED)
    await eventually(lambda: not running("sleep", "99.75"), "what the import started is gone with its process")
    second = again(function)
    status = await node.launched(second)
    async with http(status.address) as client:
        assert (await client.post("/invoke", content=b"")).text == "fine"
    assert f"stoke: each instance imports this function anew: {refused['refused']}" in await node.output(
        second.instance_id
    )


async def test_a_function_may_say_that_it_is_imported_by_each_instance(node: NodeProcess) -> None:
    function = named(node, WHO + "\n    # on its own\n", import_before_fork=False)
    other = named(node, WHO + "\n    # another\n")
    for one in (function, other):
        await node.launched(one)
    await zygote(node, other)
    second = await asked(await node.launched(again(function)))
    assert second["imported_by"] == second["pid"]
    assert [one["function"][2] for one in await node.client.zygotes()].count(function.function) == 0


async def test_a_zygote_that_was_killed_costs_no_launch_and_its_children_live(node: NodeProcess) -> None:
    function = named(node, WHO + "\n    # killed\n")
    await node.launched(function)
    made = await zygote(node, function)
    child = again(function)
    status = await node.launched(child)
    os.kill(made["pid"], signal.SIGKILL)
    answers = [await asked(await node.launched(again(function))) for _ in range(2)]
    assert all(one["imported_by"] != made["pid"] for one in answers[1:])
    assert (await asked(status))["imported_by"] == made["pid"]
    await node.client.stop(child.instance_id, 1.0)
    await node.until(child.instance_id, STOPPED)


async def test_a_zygote_that_hangs_is_given_up_by_all_who_wait_for_it() -> None:
    forks = Forks(start_timeout_s=DEADLINE_S, fork_timeout_s=0.2)
    await forks.prepare()
    hangs = forks.pid
    os.kill(hangs, signal.SIGSTOP)
    waiting = (forks.fork({"instance_id": "i"}, 1, 1) for _ in range(3))
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ForkError] * 3
    assert forks.pid == 0  # the next launch has another
    os.kill(hangs, signal.SIGKILL)
    await eventually(lambda: processes.read_stat(hangs) is None, "it is waited for")


async def test_the_exit_code_of_an_instance_that_dies_is_told_by_the_functions_zygote(node: NodeProcess) -> None:
    function = named(node, "import os\ndef handler(event, context): os._exit(7)\n")
    await node.launched(function)
    await zygote(node, function)
    second = again(function)
    status = await node.launched(second)
    async with http(status.address) as client:
        with pytest.raises(Exception, match=r"disconnected|closed"):
            await client.post("/invoke", content=b"")
    assert "code 7" in (await node.until(second.instance_id, FAILED)).reason


async def test_an_instance_that_is_stopped_at_once_takes_nothing_of_its_zygote_with_it(node: NodeProcess) -> None:
    function = named(node, WHO + "\n    # stopped at once\n")
    await node.launched(function)
    made = await zygote(node, function)
    other = await node.launched(again(function))
    for _ in range(5):
        one = again(function)
        await node.launched(one)
        await node.client.stop(one.instance_id, 0.0)
        await node.until(one.instance_id, STOPPED)
    answer = await asked(await node.launched(again(function)))
    assert (answer["imported_by"], (await asked(other))["imported_by"]) == (made["pid"], made["pid"])


async def test_an_import_that_does_not_come_to_an_end_does_not_outlive_its_node(tmp_path: Path) -> None:
    source = """
        import os, pathlib, time
        W = pathlib.Path(os.environ["W"])
        if (W / "imported").exists():
            (W / "pid").write_text(str(os.getpid()))
            time.sleep(600)
        (W / "imported").touch()
        def handler(event, context): return "fine"
    """
    node = await NodeProcess().start()
    try:
        function = node.python(source, environment={"W": str(tmp_path)})
        await node.launched(function)
        await eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "it is imported again")
        pid = int((tmp_path / "pid").read_text())
        await node.client.shutdown(0.0)
        await eventually(lambda: processes.read_stat(pid) is None, "the process that imports it has ended")
    finally:
        await node.close()
