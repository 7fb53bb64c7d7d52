"""The zygotes of one node: the plain one, and one for each function version that was launched lately.

A function's zygote is made when its first instance is ready: forked from the plain one, or in an interpreter of its own
where the function brings its own big libraries. It has imported the handler's module, so that later instances have
nothing left to import. Where that cannot be forked, the reason is kept, and instances come from where they did before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runtime.node import cgroups, processes
from runtime.node.ahead import LEAVING_S, Ahead, Waiting
from runtime.node.cgroups import MemoryGroups
from runtime.node.forks import NO_DESCRIPTORS, ForkError, Forks, Refused, Zygote, reap_child, send, start_interpreter
from runtime.node.process import Process

log = logging.getLogger(__name__)

Key = tuple[str, ...]
_REFUSALS_MAX: Final = 1000
_SPARE: Final = "spare"
# The first request of an instance that has just become ready has the processor before the next instance has.
_AHEAD_AFTER_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Template:
    """What a function's zygote is made of."""

    key: Key
    order: dict[str, Any]
    brings_own: bool  # numpy or onnxruntime: they must not meet ours
    memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    functions_max: int = 8
    idle_s: float = 600.0
    start_timeout_s: float = 30.0
    fork_timeout_s: float = 10.0
    ahead: int = 1


class FunctionForks(Forks):
    """As Forks, of a zygote that has imported a function."""

    def __init__(self, plain: Forks, template: Template, limits: Limits, groups: MemoryGroups | None = None) -> None:
        super().__init__(start_timeout_s=limits.start_timeout_s, fork_timeout_s=limits.fork_timeout_s)
        self._plain = plain
        self._template = template
        self._groups = groups
        self._has_imported = False
        self._spare = ""  # the memory group that the zygote sits in, for its next child
        self._sought = asyncio.Event()  # it is on its way into no group
        self._sought.set()
        self._ahead = Ahead(limits.ahead)
        self._asking: asyncio.Task[None] | None = None
        self.used_at_s = time.monotonic()

    @property
    def children(self) -> int:
        return super().children - len(self._ahead)

    @property
    def waiting(self) -> int:
        """Forks that are no instances yet."""
        return len(self._ahead)

    async def give(
        self, order: dict[str, Any], memory_mib: int, log_descriptor: int, ready_descriptor: int
    ) -> tuple[Process, str] | None:
        """Have a fork that waits carry it out; None if there is none. Gives also the memory group that it is in."""

        def packet(waiting: Waiting) -> bytes:
            """Raises OSError: its group cannot have this limit."""
            self._limit(waiting.group, memory_mib)
            return json.dumps({**order, "group": "" if waiting.group else order["group"]}).encode()

        descriptors = [log_descriptor, ready_descriptor]
        taken = await self._ahead.give(packet, descriptors, self._fork_timeout_s)
        return None if taken is None else (taken.process, taken.group or order["group"])

    def ask_ahead(self, after_s: float = _AHEAD_AFTER_S) -> None:
        """Have forks made that wait for their orders, as many as are wanted and not there, if not now then soon."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_ahead(after_s))

    async def _ask_ahead(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        with suppress(OSError):  # it has died, and the news is on its way
            while self._ahead.is_short and self._zygote is not None:
                await self._sought.wait()
                group = self.take_spare()
                if self._groups is not None and not group:
                    return  # it would be born in the group of another instance
                self._ahead.asked()
                await send(self._zygote.socket, json.dumps({"ahead": group}).encode(), [])
                await self.seek_spare()

    def _made_ahead(self, message: dict[str, Any], descriptors: list[int]) -> None:
        if not message["ahead"] or len(descriptors) < 2:
            for descriptor in descriptors:  # without the other end of its socket the fork ends
                os.close(descriptor)
            error = message.get("error", NO_DESCRIPTORS)
            log.warning("zygote.not_ahead function=%s error=%s", "/".join(self._template.key[:3]), error)
            self._ahead.made(None)
            return
        pidfd, orders = descriptors
        os.set_inheritable(orders, False)
        process = self._child(message["ahead"], pidfd, message["start_ticks"])
        self._ahead.made(Waiting(process, socket.socket(fileno=orders), message["group"]))

    def take_spare(self, memory_mib: int = 0) -> str:
        """A memory group with this limit that the next child is born in; "" if there is none just now.

        To move into a group takes a process some ten milliseconds (the kernel waits for all its cores); a child of a
        process that is in one is in it.
        """
        spare, self._spare = self._spare, ""
        try:
            self._limit(spare, memory_mib)
        except OSError:
            cgroups.remove(Path(spare))
            return ""
        return spare

    def _limit(self, group: str, memory_mib: int) -> None:
        """Where one zygote serves several functions, the limit is known when one of its forks is taken."""
        if group and memory_mib and memory_mib != self._template.memory_mib and self._groups is not None:
            self._groups.limit(Path(group), memory_mib)

    async def seek_spare(self) -> None:
        """Have the zygote move into a new group."""
        if self._groups is None or self._zygote is None:
            return
        with suppress(OSError):  # without one, children move by themselves
            name = f"{_SPARE}-{os.getpid()}-{secrets.token_hex(8)}"
            group = self._groups.make(name, self._template.memory_mib)
            self._sought.clear()
            await send(self._zygote.socket, json.dumps({"join": str(group)}).encode(), [])

    def _joined(self, group: str) -> None:
        self._spare = group
        self._sought.set()
        if not group:  # it sits in the group of its last child, whose limit and end are not to be its own
            self.close()

    def close(self) -> None:
        super().close()
        if spare := self.take_spare():  # the zygote leaves it in a moment
            asyncio.get_running_loop().call_later(LEAVING_S, cgroups.remove, Path(spare))

    def _drop(self, zygote: Zygote, error: ForkError) -> None:
        """Forks that wait do not outlive their zygote."""
        if zygote.is_dropped:
            return
        if self._asking is not None:
            self._asking.cancel()
        self._ahead.close()
        self._sought.set()
        super()._drop(zygote, error)

    async def _spawn(self, ours: socket.socket, theirs: socket.socket) -> tuple[int, Callable[[], None]]:
        order = {"instance_id": "", **self._template.order, "template": True}
        with _nothing() as output:
            if not self._template.brings_own:
                process = await self._plain.fork(order, output, theirs.fileno())
                return process.pid, lambda: self._let_go(process)
            popen = start_interpreter(theirs, "own")
            await send(ours, json.dumps({"id": 0, **order}).encode(), [output])
        return popen.pid, lambda: self._let_go_of_child(popen)

    def _let_go(self, process: Process) -> None:
        """One that is still importing does not see that its socket is closed, and may never. It goes with what its
        import has started: what says why it refuses may be killed here before it has done so itself."""
        if not self._has_imported:
            family = processes.family(process.pid, process.start_ticks, processes.all_stats())
            processes.signal_each(family, signal.SIGKILL)
        process.close()

    def _let_go_of_child(self, popen: subprocess.Popen[bytes]) -> None:
        if not self._has_imported:
            with suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)  # it leads a session of its own
        reap_child(popen)

    async def prepare(self) -> None:
        await super().prepare()
        self._has_imported = True


MakeForks = Callable[[Forks, Template, Limits, MemoryGroups | None], FunctionForks]


class Zygotes:
    """`fork` gives an instance by the fastest way there is, `warm` makes that the fastest one for the next."""

    def __init__(self, limits: Limits, groups: MemoryGroups | None = None, make: MakeForks | None = None) -> None:
        self._limits = limits
        self._groups = groups
        self._make = make or FunctionForks
        self.plain = Forks(start_timeout_s=limits.start_timeout_s, fork_timeout_s=limits.fork_timeout_s)
        self._of: dict[Key, FunctionForks] = {}
        self._refusals: dict[Key, str] = {}
        self._warming: dict[Key, asyncio.Task[None]] = {}

    def ready(self, key: Key) -> FunctionForks | None:
        """The zygote of a function version, if it can fork at once."""
        forks = self._of.get(key)
        if forks is None or not forks.is_ready:
            return None
        forks.used_at_s = time.monotonic()
        return forks

    @property
    def pids(self) -> set[int]:
        """Of all of them. One may sit for a moment in the memory group of its newest child, and is not its family."""
        return {forks.pid for forks in (self.plain, *self._of.values())} - {0}

    def refusal(self, key: Key) -> str:
        """Why this function version has none; "" if nothing speaks against it."""
        return self._refusals.get(key, "")

    def warm(self, template: Template) -> None:
        """Begin to make a function's zygote, unless it was refused or there is no room; one that is there gets forks
        ahead."""
        key = template.key
        if (forks := self._of.get(key)) is not None and key not in self._warming:
            if forks.is_ready:
                forks.ask_ahead()
            elif not forks.pid:  # it has died
                self._close(key)
        if key in self._of or key in self._refusals or key in self._warming or not self._make_room():
            return
        self._of[key] = self._make(self.plain, template, self._limits, self._groups)
        self._warming[key] = asyncio.create_task(self._warm(key))

    async def _warm(self, key: Key) -> None:
        try:
            await self._of[key].prepare()
        except Refused as error:
            self._refuse(key, str(error))
        except (ForkError, OSError) as error:
            log.warning("zygote.not_made function=%s error=%s", "/".join(key[:3]), error)
            self._close(key)
        else:
            await self._of[key].seek_spare()
            self._of[key].ask_ahead()
            log.info("zygote.made function=%s pid=%d", "/".join(key[:3]), self._of[key].pid)
        finally:
            del self._warming[key]

    def _refuse(self, key: Key, reason: str) -> None:
        log.warning("zygote.refused function=%s reason=%r", "/".join(key[:3]), reason)
        self._close(key)
        if len(self._refusals) >= _REFUSALS_MAX:
            del self._refusals[next(iter(self._refusals))]
        self._refusals[key] = reason

    def _make_room(self) -> bool:
        """One that has children keeps their exit codes and shares its memory with them: only others go."""
        if len(self._of) < self._limits.functions_max:
            return True
        idle = [key for key, forks in self._of.items() if not forks.children and key not in self._warming]
        if not idle:
            return False
        self._close(min(idle, key=lambda key: self._of[key].used_at_s))
        return True

    def reap(self) -> None:
        """End those that have no children and were not asked for lately, and forget those that died."""
        now = time.monotonic()
        for key, forks in list(self._of.items()):
            is_idle = not forks.children and now - forks.used_at_s > self._limits.idle_s
            if key not in self._warming and (is_idle or not forks.pid):
                self._close(key)

    def _close(self, key: Key) -> None:
        if (forks := self._of.pop(key, None)) is not None:
            forks.close()

    def remove_spares(self) -> None:
        """Memory groups that nobody is in: of our zygotes that have ended, and of a node that was killed. Those of
        another node may be about to be entered."""
        if self._groups is not None:
            for group in self._groups.parent.glob(f"{cgroups.PREFIX}{_SPARE}-*"):
                owner = group.name.removeprefix(f"{cgroups.PREFIX}{_SPARE}-").partition("-")[0]
                stat = processes.read_stat(int(owner)) if owner.isdecimal() else None
                if stat is None or stat.is_dead or stat.pid == os.getpid():
                    cgroups.remove(group)

    def counted(self) -> dict[str, int]:
        """Of functions, and of their forks that are no instances yet."""
        made = [forks for forks in self._of.values() if forks.is_ready]
        return {"zygotes": len(made), "waiting": sum(forks.waiting for forks in made)}

    def listing(self) -> list[dict[str, Any]]:
        """Those that there are, and those that were refused."""
        made = [
            {
                "function": list(key[:3]),
                "pid": forks.pid,
                "children": forks.children,
                "waiting": forks.waiting,
                "refused": "",
            }
            for key, forks in self._of.items()
            if forks.is_ready
        ]
        refused = [
            {"function": list(key[:3]), "pid": 0, "children": 0, "waiting": 0, "refused": reason}
            for key, reason in self._refusals.items()
        ]
        return made + refused

    async def close(self) -> None:
        """They end; their children go on."""
        for task in list(self._warming.values()):
            task.cancel()
        await asyncio.gather(*self._warming.values(), return_exceptions=True)
        has_zygotes = bool(self._of)
        for key in list(self._of):
            self._close(key)
        self.plain.close()
        if has_zygotes and self._groups is not None:
            await asyncio.sleep(LEAVING_S)  # until they have ended, and their groups can go
            self.remove_spares()


@contextlib.contextmanager
def _nothing() -> Iterator[int]:
    """What an import prints before the fork is nobody's: no instance has said it."""
    descriptor = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
