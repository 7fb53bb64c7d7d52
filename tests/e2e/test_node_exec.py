"""Processes beside an instance, as the node starts and ends them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from runtime.node.client import NodeError, Shell
from runtime.node.processes import read_stat
from runtime.node_contract import InstanceStatus
from runtime.shell import ShellOrder, Stream
from tests.support.node import DEADLINE_S, NodeProcess, eventually

HANDLER = "def handler(event, context): return b'ok'"


@pytest.fixture
async def instance(node: NodeProcess) -> InstanceStatus:
    return await node.launched(node.python(HANDLER, environment={"OWN": "yes"}, memory_mib=256))


@asynccontextmanager
async def shell(node: NodeProcess, instance_id: str, *command: str, **more: Any) -> AsyncIterator[Shell]:
    opened = await node.client.exec(ShellOrder(instance_id, list(command), **more))
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield opened
    finally:
        await opened.close()


async def said(opened: Shell) -> dict[Stream, bytes]:
    """All that a process says until it is over."""
    found: dict[Stream, bytes] = {}
    while (came := await opened.receive()) is not None:
        found[came[0]] = found.get(came[0], b"") + came[1]
    return found


async def until_said(opened: Shell, text: bytes) -> bytes:
    heard = b""
    while text not in heard:
        came = await opened.receive()
        assert came is not None, heard
        heard += came[1]
    return heard


async def run(node: NodeProcess, instance_id: str, *command: str, **more: Any) -> dict[Stream, bytes]:
    async with shell(node, instance_id, *command, **more) as opened:
        return await said(opened)


def pid_in(text: bytes) -> int:
    return int(text.split()[0])


async def is_gone(pid: int) -> None:
    def gone() -> bool:
        stat = read_stat(pid)
        return stat is None or stat.is_dead

    await eventually(gone, f"process {pid} has ended")


# -- surroundings and streams ------------------------------------------------------------------------------------------


async def test_a_process_runs_in_the_instances_surroundings(node: NodeProcess, instance: InstanceStatus) -> None:
    told = await run(node, instance.instance_id, "sh", "-c", "pwd; id -u; ls; echo $OWN $FC_INSTANCE_ID; cd; pwd; env")
    assert told[Stream.EXIT] == b"0"
    code, user, files, names, home, *variables = told[Stream.STDOUT].decode().splitlines()
    assert Path(code).parent == node.data / "code"
    assert (user, files, names) == (str(os.getuid()), "app.py", f"yes {instance.instance_id}")
    assert home == str(node.data / "instances" / instance.instance_id / "tmp")
    assert not [line for line in variables if line.startswith(("PYTEST", "PYTHONPATH"))]


async def test_it_lives_in_the_instances_memory_group(node: NodeProcess, instance: InstanceStatus) -> None:
    mine = await run(node, instance.instance_id, "cat", "/proc/self/cgroup")
    of_instance = await run(node, instance.instance_id, "cat", f"/proc/{instance.pid}/cgroup")
    assert mine == of_instance


async def test_both_outputs_and_the_status_come_back(node: NodeProcess, instance: InstanceStatus) -> None:
    told = await run(node, instance.instance_id, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert told == {Stream.STDOUT: b"out\n", Stream.STDERR: b"err\n", Stream.EXIT: b"3"}
    told = await run(node, instance.instance_id, "sh", "-c", "kill -9 $$")
    assert told == {Stream.EXIT: b"137"}
    told = await run(node, instance.instance_id, "sh", "-c", "echo out; echo err >&2", stdout=False)
    assert told == {Stream.STDERR: b"err\n", Stream.EXIT: b"0"}


async def test_input_of_any_length_and_its_end_reach_the_process(node: NodeProcess, instance: InstanceStatus) -> None:
    data = os.urandom(1 << 20)
    async with shell(node, instance.instance_id, "cat") as opened:

        async def put() -> None:
            await opened.send(Stream.STDIN, data)
            await opened.send(Stream.STDIN_END)

        putting = asyncio.create_task(put())
        told = await said(opened)
        await putting
    assert told[Stream.STDOUT] == data
    assert told[Stream.EXIT] == b"0"


async def test_what_a_process_said_last_is_not_lost(node: NodeProcess, instance: InstanceStatus) -> None:
    command = ("sh", "-c", "head -c 300000 /dev/zero")
    for tty in (False, True):
        told = await run(node, instance.instance_id, *command, tty=tty)
        assert len(told[Stream.STDOUT]) == 300_000
        assert told[Stream.EXIT] == b"0"


# -- a terminal --------------------------------------------------------------------------------------------------------


async def test_a_terminal_has_a_size_that_changes_and_keys_that_interrupt(
    node: NodeProcess, instance: InstanceStatus
) -> None:
    async with shell(node, instance.instance_id, "/bin/sh", tty=True, columns=100, rows=30) as opened:
        await opened.send(Stream.STDIN, b"tty; stty size\n")
        assert b"/dev/pts/" in await until_said(opened, b"30 100")
        await opened.send(Stream.RESIZE, b"120 40")
        await opened.send(Stream.STDIN, b"stty size\n")
        await until_said(opened, b"40 120")
        await opened.send(Stream.STDIN, b"sh -c \"echo be''gan; exec sleep 1000\"\n")
        await until_said(opened, b"began")
        await opened.send(Stream.STDIN, b"\x03")
        await opened.send(Stream.STDIN, b"echo st''ill here\n")
        await until_said(opened, b"still here")
        await opened.send(Stream.STDIN_END)
        assert (await said(opened))[Stream.EXIT] in (b"0", b"130")


async def test_no_command_is_a_shell(node: NodeProcess, instance: InstanceStatus) -> None:
    async with shell(node, instance.instance_id) as opened:
        await opened.send(Stream.STDIN, b"echo $((6 * 7))\nexit 5\n")
        told = await said(opened)
    assert (told[Stream.STDOUT], told[Stream.EXIT]) == (b"42\n", b"5")


# -- its end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tty", [False, True])
async def test_it_ends_with_all_its_children_when_the_client_leaves(
    node: NodeProcess, instance: InstanceStatus, tty: bool
) -> None:
    command = "trap '' HUP; sleep 1000 & echo $!; echo $$; wait"
    async with shell(node, instance.instance_id, "sh", "-c", command, tty=tty) as opened:
        heard = await until_said(opened, b"\n")
        while heard.count(b"\n") < 2:
            heard += await until_said(opened, b"\n")
    child, leader = (int(line) for line in heard.split())
    await is_gone(leader)
    await is_gone(child)


async def test_a_client_that_leaves_while_nobody_reads_what_it_wrote_is_noticed(
    node: NodeProcess, instance: InstanceStatus
) -> None:
    async with shell(node, instance.instance_id, "sh", "-c", "echo $$; exec sleep 1000") as opened:
        pid = pid_in(await until_said(opened, b"\n"))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await opened.send(Stream.STDIN, b"x" * (4 << 20))
    await is_gone(pid)


async def test_what_it_leaves_behind_is_ended_with_it(node: NodeProcess, instance: InstanceStatus) -> None:
    told = await run(node, instance.instance_id, "sh", "-c", "sleep 1000 & echo $!")
    assert told[Stream.EXIT] == b"0"
    await is_gone(pid_in(told[Stream.STDOUT]))


async def test_it_ends_when_its_instance_stops_and_does_not_hold_the_stop_up(
    node: NodeProcess, instance: InstanceStatus
) -> None:
    async with shell(
        node, instance.instance_id, "sh", "-c", "trap '' TERM HUP; echo $$; sleep 1000", tty=True
    ) as opened:
        pid = pid_in(await until_said(opened, b"\n"))
        await node.client.stop(instance.instance_id, 60.0)
        assert (await said(opened)).get(Stream.ERROR) == b"the instance is stopping"
    await is_gone(pid)
    await node.until(instance.instance_id, type(instance.state).STOPPED)


async def test_it_ends_when_its_instance_is_killed(node: NodeProcess, instance: InstanceStatus) -> None:
    async with shell(node, instance.instance_id, "sh", "-c", "echo $$; sleep 1000") as opened:
        pid = pid_in(await until_said(opened, b"\n"))
        os.kill(instance.pid, 9)
        await said(opened)
    await is_gone(pid)


async def test_it_ends_after_the_idle_time_that_was_asked_for(node: NodeProcess, instance: InstanceStatus) -> None:
    told = await run(node, instance.instance_id, "sleep", "1000", idle_s=0.2)
    assert told == {Stream.ERROR: b"nothing was said for 0.2 s"}


async def test_it_ends_when_the_node_stops(node: NodeProcess) -> None:
    other = NodeProcess()
    try:
        await other.start()
        running = await other.launched(other.python(HANDLER))
        async with shell(other, running.instance_id, "sh", "-c", "echo $$; sleep 1000") as opened:
            pid = pid_in(await until_said(opened, b"\n"))
            await other.client.close()
            other.end(signal.SIGTERM)
            await said(opened)
        await is_gone(pid)
    finally:
        await other.close()


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_only_so_many_run_beside_one_instance(node: NodeProcess, instance: InstanceStatus) -> None:
    opened = [await node.client.exec(ShellOrder(instance.instance_id, ["cat"])) for _ in range(8)]
    with pytest.raises(NodeError) as refused:
        await node.client.exec(ShellOrder(instance.instance_id, ["cat"]))
    assert refused.value.code == "ResourceExhausted"
    for each in opened:
        await each.send(Stream.STDIN_END)
        assert (await said(each))[Stream.EXIT] == b"0"
        await each.close()


@pytest.mark.parametrize(
    ("order", "code", "message"),
    [
        (ShellOrder("c-none", ["ls"]), "NotFound", "instance 'c-none' does not run on this node"),
        (ShellOrder("", ["no-such-program"]), "InvalidArgument", "command 'no-such-program' is neither in"),
        (ShellOrder("", ["a\0b"]), "InvalidArgument", "command must be a list of texts without NUL"),
        (ShellOrder("", [""]), "InvalidArgument", "command '' names no program"),
        (ShellOrder("", ["x" * 70_000]), "InvalidArgument", "command is too long"),
    ],
)
async def test_what_cannot_be_started_is_refused_by_name(
    node: NodeProcess, instance: InstanceStatus, order: ShellOrder, code: str, message: str
) -> None:
    asked = ShellOrder(order.instance_id or instance.instance_id, order.command)
    with pytest.raises(NodeError) as refused:
        await node.client.exec(asked)
    assert refused.value.code == code
    assert message in refused.value.message
