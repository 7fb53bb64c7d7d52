"""Speaks to a node over its unix socket. Calls share one connection; `watch` and each `logs` have one of their own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any, Final

from runtime.node_contract import CodeEnvironment, InstanceSample, InstanceStatus, LaunchSpec, NodeInfo
from runtime.shell import FRAME_BYTES_MAX, ShellOrder, Stream, frame, read_frame

# The longest answer is `list`: some 300 bytes an instance, a few KiB where one failed with its log's end.
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


class NodeUnavailable(ConnectionError):
    """The node does not listen, or its connection broke before it answered."""


class NodeError(Exception):
    """The node answered that it could not. `code` is one of those that `server.py` lists."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class NodeClient:
    """Every method raises NodeUnavailable while the node is away, and connects anew on the next call."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._ids = itertools.count(1)
        self._connecting = asyncio.Lock()
        self._connection: _Connection | None = None

    async def hello(self) -> NodeInfo:
        return NodeInfo.from_dict(await self._call("hello"))

    async def prepare(self, runtime: str) -> None:
        await self._call("prepare", runtime=runtime)

    async def launch(self, spec: LaunchSpec) -> None:
        """Returns when the instance is in the node's book. Raises NodeError "LaunchRefused"."""
        await self._call("launch", spec=dataclasses.asdict(spec))

    async def stop(self, instance_id: str, grace_s: float) -> None:
        await self._call("stop", instance_id=instance_id, grace_s=grace_s)

    async def forget(self, instance_id: str) -> None:
        await self._call("forget", instance_id=instance_id)

    async def environment(self, code_sha256: str, *, build: bool = False, wait_s: float = 0.0) -> CodeEnvironment:
        """The environment that this code needs, as it is or becomes within `wait_s`; `build` begins to make it."""
        answer = await self._call("environment", code_sha256=code_sha256, build=build, wait_s=wait_s)
        return CodeEnvironment.from_dict(answer)

    async def sweep_environments(self, code_in_use: Collection[str]) -> Sequence[str]:
        """Remove what neither this code nor an instance needs, after its grace; gives the ids."""
        removed: Sequence[str] = await self._call("sweep_environments", code_in_use=[*code_in_use])
        return removed

    async def code_in_use(self) -> Sequence[str]:
        """The SHA-256 of the code of each known instance."""
        found: Sequence[str] = await self._call("code_in_use")
        return found

    async def zygotes(self) -> Sequence[dict[str, Any]]:
        """Of functions: those that there are, and why others were refused."""
        listed: Sequence[dict[str, Any]] = await self._call("zygotes")
        return listed

    async def list(self) -> Sequence[InstanceStatus]:
        return [InstanceStatus.from_dict(status) for status in await self._call("list")]

    async def samples(self) -> Sequence[InstanceSample]:
        return [InstanceSample.from_dict(sample) for sample in await self._call("samples")]

    async def shutdown(self, grace_s: float) -> None:
        """Stop every instance; returns when all have ended. Nothing can be launched afterwards."""
        await self._call("shutdown", grace_s=grace_s)

    async def watch(self) -> AsyncIterator[InstanceStatus]:
        """Each known instance, then each change; ends by NodeUnavailable."""
        async for line in self._stream("watch"):
            if "event" in line:
                yield InstanceStatus.from_dict(line["event"])
        raise NodeUnavailable(f"{self._path}: the node closed the connection")

    async def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]:
        """The end of an instance's output, then, with `follow`, what it adds until it ends. NodeError "NotFound"."""
        async for line in self._stream("logs", instance_id=instance_id, tail_bytes=tail_bytes, follow=follow):
            if "chunk" in line:
                yield line["chunk"].encode("utf-8", "surrogateescape")
            else:
                return

    async def exec(self, order: ShellOrder) -> Shell:
        """Start a process beside an instance. Raises NodeError "NotFound", "InvalidArgument", "ResourceExhausted"."""
        reader, writer = await _open(self._path)
        try:
            writer.write(_line({"id": next(self._ids), "op": "exec", "order": dataclasses.asdict(order)}))
            line = await reader.readline()
            if not line:
                raise ConnectionResetError("the node closed the connection before it answered")
            _raise_if_error(json.loads(line))
        except OSError as error:
            writer.close()
            raise NodeUnavailable(f"{self._path}: {error}") from error
        except BaseException:
            writer.close()
            raise
        return Shell(reader, writer)

    async def close(self) -> None:
        """Drop the shared connection. A later call opens another."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    # -- one call -----------------------------------------------------------------------------------------------------

    async def _call(self, op: str, **arguments: Any) -> Any:
        connection = await self._connected()
        return await connection.call({"id": next(self._ids), "op": op, **arguments})

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or self._connection.is_broken:
                self._connection = _Connection(*await _open(self._path))
            return self._connection

    async def _stream(self, op: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        reader, writer = await _open(self._path)
        try:
            writer.write(_line({"id": next(self._ids), "op": op, **arguments}))
            while line := await reader.readline():
                answer = json.loads(line)
                _raise_if_error(answer)
                yield answer
        except OSError as error:
            raise NodeUnavailable(f"{self._path}: {error}") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class Shell:
    """A process beside an instance. It ends at the latest when this is closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, stream: Stream, data: bytes = b"") -> None:
        """To the process; returns when there is room for more. Raises OSError when it has ended."""
        for begin in range(0, len(data) or 1, FRAME_BYTES_MAX):
            self._writer.write(frame(stream, data[begin : begin + FRAME_BYTES_MAX]))
            await self._writer.drain()

    async def receive(self) -> tuple[Stream, bytes] | None:
        """What it says next: STDOUT, STDERR, at last EXIT or ERROR. None when the node has gone away."""
        return await read_frame(self._reader)

    async def close(self) -> None:
        """End it. What it has not read yet is dropped."""
        self._writer.transport.abort()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class _Connection:
    """Calls in flight by id, and the task that hands each its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.is_broken = False
        self._task = asyncio.create_task(self._read())

    async def call(self, request: dict[str, Any]) -> Any:
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[request["id"]] = answered
        try:
            self._writer.write(_line(request))
            await self._writer.drain()
            answer = await answered
        except OSError as error:
            raise error if isinstance(error, NodeUnavailable) else NodeUnavailable(str(error)) from error
        finally:
            self._waiting.pop(request["id"], None)
        _raise_if_error(answer)
        return answer.get("result")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                answer = json.loads(line)
                waiting = self._waiting.get(answer.get("id"))
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (OSError, ValueError):
            pass  # a broken connection and a broken line end alike: whoever waits is told below
        finally:
            self._break()

    def _break(self) -> None:
        self.is_broken = True
        self._writer.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(NodeUnavailable("the node closed the connection before it answered"))


async def _open(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_unix_connection(path, limit=ANSWER_BYTES_MAX)
    except OSError as error:
        raise NodeUnavailable(f"{path}: {error}") from error


def _line(request: dict[str, Any]) -> bytes:
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


def _raise_if_error(answer: dict[str, Any]) -> None:
    if answer.get("ok") is False:
        error = answer["error"]
        raise NodeError(error["code"], error["message"])
