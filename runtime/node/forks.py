"""The node's side of the zygote: starts it when first needed, asks it for children, hears of their exits."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from runtime.compiled import SWITCH
from runtime.node.process import Process
from runtime.node.zygote import PACKET_BYTES_MAX

log = logging.getLogger(__name__)

# The exit status comes from the zygote, a moment after the pidfd told of the end.
_EXIT_STATUS_TIMEOUT_S: Final = 1.0
# A child sees in /proc what the zygote was started with, so that is next to nothing: no secret of the node's.
_ENVIRONMENT_KEPT: Final = ("PATH", "HOME", "LD_LIBRARY_PATH", SWITCH)

# A packet arrives without what came with it where the process has no number free for it (recvmsg(2), MSG_CTRUNC).
NO_DESCRIPTORS: Final = "the node had no file descriptor free for the new process"


class ForkError(Exception):
    """The zygote did not start, died, or could not fork; says what happened."""


class ZygoteDied(ForkError):
    """It is not known whether it forked before; it cannot any more."""


class Refused(ForkError):
    """What the function's import left behind cannot be forked; says what."""


@dataclass(slots=True)
class Zygote:
    pid: int
    reap: Callable[[], None]  # called once its socket is closed, without which it ends by itself
    socket: socket.socket
    ready: asyncio.Future[None]

    @property
    def is_dropped(self) -> bool:
        return self.socket.fileno() < 0


class Forks:
    """`fork` starts the zygote by itself, `prepare` ahead of time. One that died is replaced when needed."""

    def __init__(self, *, start_timeout_s: float, fork_timeout_s: float) -> None:
        self._start_timeout_s = start_timeout_s
        self._fork_timeout_s = fork_timeout_s
        self._zygote: Zygote | None = None
        self._ids = itertools.count(1)
        self._forking: dict[int, asyncio.Future[Process]] = {}
        self._exits: dict[int, asyncio.Future[int | None]] = {}
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int:
        """The zygote's, 0 while there is none."""
        return self._zygote.pid if self._zygote else 0

    @property
    def is_ready(self) -> bool:
        """Can it fork at once?"""
        ready = self._zygote.ready if self._zygote else None
        return ready is not None and ready.done() and ready.exception() is None

    @property
    def children(self) -> int:
        """Those that live."""
        return len(self._exits)

    async def prepare(self) -> None:
        """Returns when the zygote has imported everything. Raises ForkError."""
        async with self._starting:
            if self._zygote is None:
                self._zygote = await self._start()
            zygote = self._zygote
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await asyncio.shield(zygote.ready)
        except TimeoutError:
            self._drop(zygote, ForkError(f"the zygote was not ready within {self._start_timeout_s:g} s"))
            raise ForkError(f"the zygote was not ready within {self._start_timeout_s:g} s") from None

    async def fork(self, order: dict[str, Any], log_descriptor: int, ready_descriptor: int) -> Process:
        """A child that carries out `order` (as zygote.py has it); the descriptors stay ours. Raises ForkError."""
        number = next(self._ids)
        packet = json.dumps({"id": number, **order}).encode()
        if len(packet) > PACKET_BYTES_MAX:
            raise ForkError(f"the launch takes {len(packet)} bytes, at most {PACKET_BYTES_MAX} are allowed")
        for _ in range(2):  # a zygote may turn out to be dead, and one that is cannot have got the order
            await self.prepare()
            zygote = self._zygote
            if zygote is None:
                continue
            try:
                return await self._ordered(zygote, number, packet, [log_descriptor, ready_descriptor])
            except TimeoutError:
                # It may still fork: whoever did not answer in time is not trusted with another order.
                self._drop(zygote, ForkError("the zygote did not answer"))
                raise ForkError(f"the zygote did not fork within {self._fork_timeout_s:g} s") from None
            except OSError as error:
                self._drop(zygote, ForkError(f"the zygote cannot be reached: {error}"))
        raise ForkError("the zygote died twice")

    async def _ordered(self, zygote: Zygote, number: int, packet: bytes, descriptors: list[int]) -> Process:
        forked: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._forking[number] = forked
        try:
            async with asyncio.timeout(self._fork_timeout_s):
                await send(zygote.socket, packet, descriptors)
                return await forked
        finally:
            self._forking.pop(number, None)

    def close(self) -> None:
        """The zygote ends; its children go on."""
        if self._zygote is not None:
            self._drop(self._zygote, ForkError("the node is ending"))

    # -- the other side -----------------------------------------------------------------------------------------------

    async def _start(self) -> Zygote:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.setblocking(False)
            try:
                pid, reap = await self._spawn(ours, theirs)
            except BaseException:
                ours.close()
                raise
        zygote = Zygote(pid, reap, ours, asyncio.get_running_loop().create_future())
        asyncio.get_running_loop().add_reader(ours, self._on_packet, zygote)
        return zygote

    async def _spawn(self, ours: socket.socket, theirs: socket.socket) -> tuple[int, Callable[[], None]]:
        """A zygote at the other end: its pid, and what to do when it is to end. Raises ForkError, OSError."""
        del ours
        popen = start_interpreter(theirs)
        log.info("zygote.started pid=%d", popen.pid)
        return popen.pid, lambda: reap_child(popen)

    def _on_packet(self, zygote: Zygote) -> None:
        try:
            packet, descriptors, _, _ = socket.recv_fds(zygote.socket, PACKET_BYTES_MAX, 2)
        except BlockingIOError:
            return
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self._drop(zygote, ZygoteDied("the zygote died"))
        else:
            self._hear(zygote, json.loads(packet), descriptors)

    def _hear(self, zygote: Zygote, message: dict[str, Any], descriptors: list[int]) -> None:
        if "ready" in message:
            zygote.ready.set_result(None)
        elif "refused" in message:
            self._drop(zygote, Refused(message["refused"]))
        elif "joined" in message:
            self._joined(message["joined"])
        elif "ahead" in message:
            self._made_ahead(message, descriptors)
        elif "exited" in message:
            exit_status = self._exits.pop(message["exited"], None)
            if exit_status is not None and not exit_status.done():
                exit_status.set_result(message["status"])
        else:
            self._hear_of_fork(message, descriptors)

    def _joined(self, group: str) -> None:
        """The zygote sits in this memory group."""

    def _made_ahead(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """The zygote was asked for a fork that waits for its order, and has made it, or could not."""

    def _hear_of_fork(self, message: dict[str, Any], descriptors: list[int]) -> None:
        forked = self._forking.get(message["id"])
        if forked is None or forked.done():
            for descriptor in descriptors:  # nobody waits for this child any more, so nobody would ever stop it
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                os.close(descriptor)
        elif "error" in message:
            forked.set_exception(ForkError(message["error"]))
        elif not descriptors:
            forked.set_exception(ForkError(NO_DESCRIPTORS))
        else:
            forked.set_result(self._child(message["pid"], descriptors[0], message["start_ticks"]))

    def _child(self, pid: int, pidfd: int, start_ticks: int) -> Process:
        exited: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._exits[pid] = exited

        async def exit_status() -> int | None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_EXIT_STATUS_TIMEOUT_S):
                    return await asyncio.shield(exited)
            return None

        return Process(pid, pidfd, start_ticks, exit_status)

    def _drop(self, zygote: Zygote, error: ForkError) -> None:
        """Without its socket a zygote ends by itself. Again does nothing: several may give up the same one."""
        if zygote.is_dropped:
            return
        if self._zygote is zygote:
            self._zygote = None
        asyncio.get_running_loop().remove_reader(zygote.socket)
        zygote.socket.close()
        waiting: list[asyncio.Future[Any]] = [zygote.ready, *self._forking.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen: nobody may be waiting for this one
        for exited in self._exits.values():
            if not exited.done():
                exited.set_result(None)
        self._exits.clear()
        zygote.reap()


def start_interpreter(theirs: socket.socket, *more: str) -> subprocess.Popen[bytes]:
    """`runtime.node.zygote` in a fresh interpreter."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}
    environment |= {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "runtime.node.zygote", str(theirs.fileno()), *more],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        env=environment,
        cwd="/",
        start_new_session=True,
    )


def reap_child(popen: subprocess.Popen[bytes]) -> None:
    """It closes its end within milliseconds; waited for here, it would leave no zombie but could hold up the loop."""
    loop = asyncio.get_running_loop()

    def look(tries_left: int) -> None:
        if popen.poll() is None and tries_left:
            loop.call_later(0.05, look, tries_left - 1)
        elif popen.returncode is None:
            popen.kill()
            popen.wait()

    look(40)


async def send(to: socket.socket, packet: bytes, descriptors: list[int]) -> None:
    while True:
        try:
            socket.send_fds(to, [packet], descriptors)
        except BlockingIOError:
            await asyncio.sleep(0.002)  # its queue is full of orders; the caller's time limit ends this
        else:
            return
