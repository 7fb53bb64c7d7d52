"""Starts a process beside an instance, on pipes or on a terminal of its own, and reads and writes what they carry."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import pty
import struct
import subprocess
import termios
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from runtime.node import launch, process
from runtime.node.docker.asked import container_name
from runtime.node.errors import InvalidArgument
from runtime.node.life import Instance
from runtime.node.process import Process
from runtime.shell import FRAME_BYTES_MAX, ShellOrder, Stream

_SHELLS: Final = ("/bin/bash", "/bin/sh")
_TERM: Final = "xterm-256color"  # what everybody's terminal understands

# As with an instance, the shell joins the memory group before it becomes the program. The leader of a session takes
# the first terminal that it opens for its own, which is what makes Ctrl-C reach the processes on it.
_START: Final = '{ [ -z "$1" ] || echo 0 >"$1/cgroup.procs"; } && { [ -z "$2" ] || : <>"$2"; } && shift 2 && exec "$@"'


@dataclass
class Terminal:
    """A process and our ends of its streams. `close` is the caller's to call, whatever becomes of the process."""

    process: Process
    stdin: int = -1  # -1: closed, or not wanted
    outputs: dict[Stream, int] = field(default_factory=dict)
    is_tty: bool = False

    def resize(self, columns: int, rows: int) -> None:
        """The kernel tells the processes on the terminal (SIGWINCH). Does nothing without one."""
        if self.is_tty and self.stdin >= 0:
            _resize(self.stdin, columns, rows)

    async def write(self, data: bytes) -> None:
        """To its standard input; waits for room. What nobody reads any more is dropped."""
        view = memoryview(data)
        with suppress(BrokenPipeError, ConnectionError):
            while view and self.stdin >= 0:
                try:
                    view = view[os.write(self.stdin, view) :]
                except BlockingIOError:
                    await _ready(self.stdin, to_write=True)
                except OSError as error:
                    if error.errno != errno.EIO:  # the terminal's other side is closed
                        raise
                    return

    def end_input(self) -> None:
        """End of file: by closing a pipe, by the character that says so on a terminal."""
        if self.is_tty:
            if self.stdin >= 0:
                with suppress(OSError):
                    os.write(self.stdin, b"\x04")
        elif self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    async def read(self, stream: Stream) -> bytes:
        """The next of what it says; b"" when it will say nothing more."""
        descriptor = self.outputs[stream]
        while True:
            try:
                return os.read(descriptor, FRAME_BYTES_MAX)
            except BlockingIOError:
                await _ready(descriptor, to_write=False)
            except OSError as error:
                if error.errno != errno.EIO:  # so says a terminal that nobody has open any more
                    raise
                return b""

    def close(self) -> None:
        for descriptor in {self.stdin, *self.outputs.values()} - {-1}:
            os.close(descriptor)
        self.stdin = -1
        self.outputs.clear()
        self.process.close()


def start(instance: Instance, order: ShellOrder) -> Terminal:
    """In the instance's surroundings: its folder, environment, user and memory group.

    Raises:
        InvalidArgument: there is no such program.
        OSError: it cannot be started.
    """
    if instance.spec.image:
        raise InvalidArgument(
            f"instance '{instance.id}' is a container, in which no process can be started from here: "
            f"`docker exec -it {container_name(instance.id)} …` on its machine does it"
        )
    values = launch.environment(instance.spec, instance.place)
    command = order.command or [next(shell for shell in _SHELLS if os.path.exists(shell))]
    try:
        program = launch.find_program(command[0], instance.place.code, values["PATH"])
    except (FileNotFoundError, PermissionError) as error:
        raise InvalidArgument(str(error).replace("command[0]", "command")) from error
    arguments = [program, *command[1:]]
    return (
        _on_terminal(instance, order, arguments, values) if order.tty else _on_pipes(instance, order, arguments, values)
    )


def _on_terminal(instance: Instance, order: ShellOrder, arguments: list[str], values: dict[str, str]) -> Terminal:
    ours, theirs = pty.openpty()
    try:
        os.set_blocking(ours, False)
        _resize(ours, order.columns, order.rows)
        variables = {"TERM": _TERM, **values}
        popen = _popen(instance, arguments, variables, (theirs, theirs, theirs), os.ttyname(theirs))
        return Terminal(process.child(popen), ours, {Stream.STDOUT: ours}, is_tty=True)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)


def _on_pipes(instance: Instance, order: ShellOrder, arguments: list[str], values: dict[str, str]) -> Terminal:
    opened: list[int] = []

    def piped(wanted: bool, ours: int) -> tuple[int, int]:
        """Their end, and ours: which of the two ends that is, `ours` says. Where it is not wanted, nothing."""
        if not wanted:
            opened.append(nothing := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            return nothing, -1
        ends = os.pipe2(os.O_CLOEXEC)
        opened.extend(ends)
        os.set_blocking(ends[ours], False)
        return ends[1 - ours], ends[ours]

    kept: set[int] = set()
    try:
        their_in, stdin = piped(order.stdin, 1)
        their_out, stdout = piped(order.stdout, 0)
        their_err, stderr = piped(order.stderr, 0)
        popen = _popen(instance, arguments, values, (their_in, their_out, their_err), "")
        outputs = {stream: end for stream, end in ((Stream.STDOUT, stdout), (Stream.STDERR, stderr)) if end >= 0}
        terminal = Terminal(process.child(popen), stdin, outputs)
        kept = {stdin, stdout, stderr}
        return terminal
    finally:
        for descriptor in set(opened) - kept:
            os.close(descriptor)


def _popen(
    instance: Instance, arguments: list[str], values: dict[str, str], ends: tuple[int, int, int], terminal: str
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _START, "sh", instance.place.group, terminal, *arguments],
        stdin=ends[0],
        stdout=ends[1],
        stderr=ends[2],
        env=values,
        cwd=instance.place.code,
        start_new_session=True,
        umask=0o022,
    )


def _resize(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


async def _ready(descriptor: int, *, to_write: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    if to_write:
        loop.add_writer(descriptor, tell)
    else:
        loop.add_reader(descriptor, tell)
    try:
        await ready
    finally:
        if to_write:
            loop.remove_writer(descriptor)
        else:
            loop.remove_reader(descriptor)
