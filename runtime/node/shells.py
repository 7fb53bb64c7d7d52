"""Processes that somebody asked for beside an instance: each ends by itself, or when who asked for it leaves, when it
was idle too long, when its instance is to stop, or when the node does. Nobody of its family is left then."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import select
import time
from collections.abc import Callable
from signal import SIGHUP
from typing import Any, Final

from runtime.node import processes, terminals
from runtime.node.errors import CallError, InvalidArgument, NotFound
from runtime.node.life import Instance
from runtime.node.processes import Member
from runtime.node.settings import NodeSettings
from runtime.node.terminals import Terminal
from runtime.shell import FrameError, ShellOrder, Stream, frame, read_frame, size_of

log = logging.getLogger(__name__)

_MARK: Final = b'"exec"'
_HANG_UP_S: Final = 0.5  # from the news that the terminal is gone to SIGKILL
_LAST_WORDS_S: Final = 1.0  # for what a process that has ended said last
_LEFT_EVERY_S: Final = 1.0  # between two looks for a client that left while a process would not read
_TEXT_BYTES_MAX: Final = 65_536  # of a command


class TooMany(CallError):
    code = "ResourceExhausted"


def is_asked(line: bytes) -> bool:
    """Whether the first line of a connection asks for a shell: what follows are frames then."""
    if _MARK not in line:
        return False
    try:
        request = json.loads(line)
    except ValueError:
        return False
    return isinstance(request, dict) and request.get("op") == "exec"


class Shells:
    """`find` gives a known instance."""

    def __init__(self, find: Callable[[str], Instance | None], settings: NodeSettings) -> None:
        self._find = find
        self._settings = settings

    async def serve(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the order to the end of the process. The writer stays the caller's."""
        request = json.loads(line)
        number = request.get("id")
        try:
            order = order_of(request)
            instance = self._host(order.instance_id)
            try:
                terminal = terminals.start(instance, order)
            except OSError as error:
                raise CallError(f"the process cannot be started: {error}") from error
        except CallError as error:
            said = {"id": number, "ok": False, "error": {"code": error.code, "message": str(error)}}
            writer.write(json.dumps(said).encode() + b"\n")
            await writer.drain()
            return
        guest = (terminal.process.pid, terminal.process.start_ticks)
        instance.guests.add(guest)
        log.info("shell.began instance=%s pid=%d command=%r", instance.id, guest[0], order.command)
        try:
            writer.write(json.dumps({"id": number, "ok": True, "result": {"pid": guest[0]}}).encode() + b"\n")
            await _Session(instance, terminal, reader, writer, self._idle_s(order)).run()
        finally:
            instance.guests.discard(guest)
            terminal.close()
            log.info("shell.ended instance=%s pid=%d", instance.id, guest[0])

    def _host(self, instance_id: str) -> Instance:
        instance = self._find(instance_id)
        if instance is None or instance.record.state.is_final or not instance.record.pid or instance.ending.is_set():
            raise NotFound(f"instance '{instance_id}' does not run on this node")
        at_most = self._settings.execs_per_instance_max
        if len(instance.guests) >= at_most:
            raise TooMany(f"instance '{instance_id}' has {at_most} processes of this kind: no more are allowed")
        return instance

    def _idle_s(self, order: ShellOrder) -> float:
        return order.idle_s or self._settings.exec_idle_s


def order_of(request: dict[str, Any]) -> ShellOrder:
    """Raises InvalidArgument."""
    try:
        order = ShellOrder.from_dict(request["order"])
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"order is not a ShellOrder: {error}") from error
    words = order.command
    if not isinstance(words, list) or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise InvalidArgument("command must be a list of texts without NUL")
    if sum(len(word) for word in words) > _TEXT_BYTES_MAX:
        raise InvalidArgument(f"command is too long: at most {_TEXT_BYTES_MAX} characters are allowed")
    if words and not words[0]:
        raise InvalidArgument("command '' names no program")
    return order


class _Session:
    def __init__(
        self,
        instance: Instance,
        terminal: Terminal,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        idle_s: float,
    ) -> None:
        self._instance = instance
        self._terminal = terminal
        self._reader = reader
        self._writer = writer
        self._idle_s = idle_s
        self._heard_s = time.monotonic()

    async def run(self) -> None:
        outputs: list[asyncio.Future[None]] = [
            asyncio.ensure_future(self._pass_on(stream)) for stream in self._terminal.outputs
        ]
        listening = asyncio.ensure_future(self._listen())
        stopping = asyncio.ensure_future(self._instance.ending.wait())
        idling = asyncio.ensure_future(self._until_idle())
        ends: tuple[asyncio.Future[Any], ...] = (listening, stopping, idling)
        died = self._terminal.process.died
        try:
            await asyncio.wait((died, *ends), return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                await self._tell_exit(outputs)
            elif stopping.done():
                self._say(Stream.ERROR, b"the instance is stopping")
            elif idling.done():
                self._say(Stream.ERROR, b"nothing was said for %g s" % self._idle_s)
        finally:
            await self._leave_nobody()
            for task in (*outputs, *ends):
                task.cancel()
            await asyncio.gather(*outputs, *ends, return_exceptions=True)
            with contextlib.suppress(OSError):
                await self._writer.drain()

    # -- while it lasts ------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """What the client sends, until it leaves."""
        try:
            while (came := await read_frame(self._reader)) is not None:
                self._heard_s = time.monotonic()
                stream, data = came
                if stream is Stream.STDIN:
                    if not await self._write(data):
                        return
                elif stream is Stream.STDIN_END:
                    self._terminal.end_input()
                elif stream is Stream.RESIZE:
                    self._terminal.resize(*size_of(data))
        except FrameError as error:
            self._say(Stream.ERROR, str(error).encode())

    async def _write(self, data: bytes) -> bool:
        """False when the client has left while the process would not read: reading goes on only after this, so nothing
        else would tell."""
        writing = asyncio.ensure_future(self._terminal.write(data))
        try:
            while not (await asyncio.wait((writing,), timeout=_LEFT_EVERY_S))[0]:
                if self._has_hung_up():
                    return False
            writing.result()
            return True
        finally:
            writing.cancel()

    def _has_hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._writer.get_extra_info("socket").fileno(), 0)
        return bool(poll.poll(0))  # asked for nothing, it still tells of POLLHUP

    async def _pass_on(self, stream: Stream) -> None:
        """Read only as fast as the client does: the process waits when its pipe is full."""
        with contextlib.suppress(OSError):  # the client is gone, which `_listen` notices
            while data := await self._terminal.read(stream):
                self._heard_s = time.monotonic()
                self._say(stream, data)
                await self._writer.drain()

    async def _until_idle(self) -> None:
        while (left_s := self._heard_s + self._idle_s - time.monotonic()) > 0:  # noqa: ASYNC110 - it moves meanwhile
            await asyncio.sleep(left_s)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _tell_exit(self, outputs: list[asyncio.Future[None]]) -> None:
        status = await self._terminal.process.exit_status()
        await self._leave_nobody()  # whoever has the other ends of our pipes open, too
        if outputs:
            await asyncio.wait(outputs, timeout=_LAST_WORDS_S)
        code = 255 if status is None else status if status >= 0 else 128 - status
        self._say(Stream.EXIT, b"%d" % code)

    async def _leave_nobody(self) -> None:
        family = self._family()
        if family and not self._instance.ending.is_set():
            processes.signal_each(family, SIGHUP)
            await _until(lambda: not processes.living(family), _HANG_UP_S)
        left = await processes.kill_until_gone(lambda: self._family() | processes.living(family))
        if left:
            log.error("shell.unkillable instance=%s pids=%s", self._instance.id, sorted(pid for pid, _ in left))
        await self._terminal.process.exit_status()  # so that it leaves no zombie

    def _family(self) -> set[Member]:
        process = self._terminal.process
        return processes.family(process.pid, process.start_ticks, processes.all_stats())

    def _say(self, stream: Stream, data: bytes) -> None:
        self._writer.write(frame(stream, data))


async def _until(holds: Callable[[], bool], at_most_s: float) -> None:
    deadline_s = time.monotonic() + at_most_s
    while not holds() and time.monotonic() < deadline_s:  # noqa: ASYNC110 - the kernel tells of no grandchild's end
        await asyncio.sleep(0.005)
