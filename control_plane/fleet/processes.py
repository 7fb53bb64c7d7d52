"""Whether the gateways' processes live: the kernel's word, not silence. For processes of this machine; those of others
have leases (`vitals`)."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from typing import Protocol

from runtime.leasing import Holder
from runtime.processes import host_id, start_time


class Processes(Protocol):
    def is_here(self, holder: Holder) -> bool:
        """Whether this machine's kernel knows the process, if it lives."""

    def is_gone(self, holder: Holder) -> bool:
        """True: the process, which `is_here`, has ended, and all its connections are closed. It will not come back."""

    def watch(self, holders: set[Holder], wake: Callable[[], None]) -> None:
        """Call `wake` when one of these ends; those watched before and not named now are not watched any more."""


class LocalProcesses:
    """A pidfd for each: readable when the last thread of the process has ended (pidfd_open(2))."""

    def __init__(self) -> None:
        self._fds: dict[Holder, int] = {}
        self._host = host_id()

    def is_here(self, holder: Holder) -> bool:
        return holder.host in ("", self._host)

    def is_gone(self, holder: Holder) -> bool:
        fd = self._fds.get(holder)
        if fd is not None:
            return bool(select.select([fd], [], [], 0)[0])
        try:
            fd = os.pidfd_open(holder.pid)
        except ProcessLookupError:
            return True
        # The pid may be another's by now; a zombie's time is told as 0, so its pidfd has the last word.
        started = start_time(holder.pid)
        if started not in (0, holder.start_time):
            os.close(fd)
            return True
        self._fds[holder] = fd
        return bool(select.select([fd], [], [], 0)[0])

    def watch(self, holders: set[Holder], wake: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        for holder in set(self._fds) - holders:
            fd = self._fds.pop(holder)
            loop.remove_reader(fd)
            os.close(fd)
        for holder in holders:
            if not self.is_gone(holder):
                loop.add_reader(self._fds[holder], wake)
            elif holder in self._fds:
                loop.remove_reader(self._fds[holder])
