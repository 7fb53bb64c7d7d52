"""One process that the node watches: told of its end by a pidfd, whoever its parent is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress

from runtime.node import processes

ExitStatus = Callable[[], Awaitable[int | None]]


class Process:
    """`died` is done once the process has ended. `exit_status` is as subprocess has it, None where nobody can tell."""

    def __init__(self, pid: int, pidfd: int, start_ticks: int, exit_status: ExitStatus) -> None:
        self.pid = pid
        self.start_ticks = start_ticks
        self.exit_status = exit_status
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pidfd = pidfd
        asyncio.get_running_loop().add_reader(pidfd, self._on_end)

    def _on_end(self) -> None:
        self.close()
        if not self.died.done():
            self.died.set_result(None)

    def kill(self) -> None:
        """SIGKILL, to nobody else: the pid is its own for as long as the pidfd is open."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Watch no longer. The process goes on."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


def child(popen: subprocess.Popen[bytes]) -> Process:
    """Watch a child of the node. It cannot be gone yet, as nobody but us waits for it."""

    async def exit_status() -> int | None:
        return popen.poll()

    stat = processes.read_stat(popen.pid)
    return Process(popen.pid, os.pidfd_open(popen.pid), stat.start_ticks if stat else 0, exit_status)


async def _unknown() -> int | None:
    return None


def found_again(pid: int, start_ticks: int, exit_status: ExitStatus = _unknown) -> Process | None:
    """Watch a process that an earlier node started; None when it is gone. Its exit status goes to another."""

    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        # Looked at after the pidfd was opened: from here on the pid cannot become somebody else's.
        if processes.lives(pid, start_ticks):
            return Process(pid, pidfd, start_ticks, exit_status)
        os.close(pidfd)
    return None
