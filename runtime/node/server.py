"""The node's door: JSON lines over a unix socket.

A request is `{"id", "op", …}`; its answer `{"id", "ok": true, "result"}` or `{"id", "ok": false, "error": {"code",
"message"}}`. Requests of one connection are worked on at the same time, and answered as they are done.

| op         | with                                  | result                                             |
|------------|---------------------------------------|----------------------------------------------------|
| `hello`    |                                       | NodeInfo                                           |
| `prepare`  | `runtime`                             | null, when launches of it will be fast             |
| `launch`   | `spec` (LaunchSpec)                   | null, when it is on the disk; a known id: nothing  |
| `stop`     | `instance_id`, `grace_s`              | null, at once; an unknown or ended id: nothing     |
| `environment` | `code_sha256`, `build`, `wait_s`   | CodeEnvironment, as it is or has become in `wait_s` |
| `sweep_environments` | `code_in_use` ([sha256])    | [id] of those removed: no code needs them          |
| `code_in_use` |                                    | [sha256], of each known instance                   |
| `zygotes`  |                                       | [{"function", "pid", "children", "waiting", "refused"}] |
| `forget`   | `instance_id`                         | null; only if it has ended; its output stays       |
| `list`     |                                       | [InstanceStatus]                                   |
| `samples`  |                                       | [InstanceSample], of what runs                     |
| `watch`    |                                       | null, then lines `{"event": InstanceStatus}`       |
| `logs`     | `instance_id`, `tail_bytes`, `follow` | lines `{"id", "chunk": text}`, then null           |
| `exec`     | `order` (ShellOrder)                  | `{"pid"}`, then frames both ways (runtime/shell.py) |
| `shutdown` | `grace_s`                             | null, when every instance has ended                |

`exec` is the first and only request of its connection; the process ends with it.

In a chunk, bytes that are not UTF-8 are lone surrogates (Python's surrogateescape), so none are lost.

Error codes: `InvalidArgument` (the request), `LaunchRefused` (never possible here), `NotFound`, `ResourceExhausted`
(as many as are allowed are there), `InternalError`.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import dataclasses
import errno
import json
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from runtime.contract import Message
from runtime.node import shells
from runtime.node.errors import CallError, InvalidArgument
from runtime.node.instances import Instances
from runtime.node.settings import NodeSettings
from runtime.node_contract import LaunchSpec, NodeInfo

log = logging.getLogger(__name__)

Arguments = dict[str, Any]
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_GRACE_S: Final = 10.0
_TAIL_BYTES: Final = 64 * 1024
_TAIL_BYTES_MAX: Final = 64 * 1024 * 1024


class _Gone(Exception):
    """The client is, and with it the wish for an answer."""


class _Client:
    """One connection, as those who answer its requests have it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def say(self, message: dict[str, Any]) -> None:
        """Raises _Gone."""
        try:
            self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            await self._writer.drain()
        except OSError as error:
            raise _Gone from error

    def drop(self) -> None:
        """Close the connection, whatever else is asked on it."""
        self._writer.transport.abort()


class Server:
    """Answers for `instances`. One object serves any number of connections."""

    def __init__(self, instances: Instances, info: NodeInfo, settings: NodeSettings) -> None:
        self._instances = instances
        self._info = info
        self._shells = shells.Shells(instances.find, settings)
        self._request_bytes_max = settings.request_bytes_max
        self._connections: set[asyncio.Task[Any]] = set()
        self._calls: dict[str, Callable[[Arguments], Awaitable[Any]]] = {
            "hello": self._hello,
            "prepare": self._prepare,
            "launch": self._launch,
            "stop": self._stop,
            "forget": self._forget,
            "environment": self._environment,
            "sweep_environments": self._sweep_environments,
            "code_in_use": self._code_in_use,
            "zygotes": self._zygotes,
            "list": self._list,
            "samples": self._samples,
            "shutdown": self._shutdown,
        }

    async def listen(self, path: Path) -> asyncio.Server:
        """Raises OSError, also when another node listens there."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(path)
        server = await asyncio.start_unix_server(self._serve, path, limit=self._request_bytes_max)
        os.chmod(path, 0o600)
        return server

    async def close(self) -> None:
        """Break off every connection."""
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # -- one connection -----------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        tasks: set[asyncio.Task[None]] = set()
        client = _Client(writer)
        try:
            while line := await reader.readline():
                if not tasks and shells.is_asked(line):
                    await self._shells.serve(line, reader, writer)
                    break
                task = asyncio.create_task(self._answer(line, client))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except ValueError:
            with contextlib.suppress(_Gone):
                await client.say(
                    _failed(None, InvalidArgument(f"a request has at most {self._request_bytes_max} bytes"))
                )
        except (OSError, asyncio.CancelledError):
            pass  # the other side, or the node itself, is going: there is nobody to tell
        finally:
            for task in tasks:
                task.cancel()
            self._connections.discard(connection)
            writer.close()

    async def _answer(self, line: bytes, client: _Client) -> None:
        """Whatever happens, the client gets an answer: it waits for one."""
        number: Any = None
        with contextlib.suppress(_Gone):
            try:
                request = _parse(line)
                number = request.get("id")
                await self._do(number, request, client)
            except CallError as error:
                await client.say(_failed(number, error))
            except _Gone:
                raise
            except Exception as error:
                log.exception("call.broken line=%r", line[:200])
                await client.say(_failed(number, CallError(repr(error))))

    async def _do(self, number: Any, request: Arguments, client: _Client) -> None:
        op = request.get("op")
        if op == "watch":
            await client.say({"id": number, "ok": True, "result": None})
            await self._watch(client)
        elif op == "logs":
            async for text in self._log_text(request):
                await client.say({"id": number, "chunk": text})
            await client.say({"id": number, "ok": True, "result": None})
        elif op in self._calls:
            await client.say({"id": number, "ok": True, "result": await self._calls[op](request)})
        else:
            allowed = ", ".join(sorted([*self._calls, "watch", "logs"]))
            raise InvalidArgument(f"op '{op}' is not known; allowed: {allowed}")

    async def _watch(self, client: _Client) -> None:
        async for status in self._instances.watch():
            await client.say({"event": _plain(status)})
        client.drop()  # it does not read: it is to begin again with the current states

    async def _log_text(self, request: Arguments) -> AsyncIterator[str]:
        tail_bytes = int(_number(request, "tail_bytes", _TAIL_BYTES, _TAIL_BYTES_MAX))
        follow = request.get("follow", False) is True
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        async for chunk in self._instances.logs(_text(request, "instance_id"), tail_bytes=tail_bytes, follow=follow):
            if text := decoder.decode(chunk):
                yield text
        if rest := decoder.decode(b"", final=True):
            yield rest

    # -- the calls ----------------------------------------------------------------------------------------------------

    async def _hello(self, _: Arguments) -> Any:
        isolation = self._instances.isolation()
        has_engine = not isolation["container"].startswith("none")  # an engine may come and go
        runtimes = [*self._info.runtimes, *(["custom-container"] if has_engine else [])]
        gpus = self._instances.cards.described()
        forks = self._instances.zygotes.counted()
        info = dataclasses.replace(self._info, runtimes=runtimes, isolation=isolation, gpus=gpus, forks=forks)
        return dataclasses.asdict(info)

    async def _prepare(self, request: Arguments) -> None:
        await self._instances.prepare(_text(request, "runtime"))

    async def _launch(self, request: Arguments) -> None:
        try:
            spec = LaunchSpec.from_dict(request["spec"])
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidArgument(f"spec is not a LaunchSpec: {error}") from error
        await self._instances.launch(spec)

    async def _stop(self, request: Arguments) -> None:
        self._instances.stop(_text(request, "instance_id"), _number(request, "grace_s", _GRACE_S, 3600.0))

    async def _forget(self, request: Arguments) -> None:
        self._instances.forget(_text(request, "instance_id"))

    async def _environment(self, request: Arguments) -> Any:
        wait_s = _number(request, "wait_s", 0.0, 3600.0)
        build = request.get("build", False) is True
        return _plain(
            await self._instances.environment(_sha256(request.get("code_sha256")), build=build, wait_s=wait_s)
        )

    async def _sweep_environments(self, request: Arguments) -> Any:
        in_use = request.get("code_in_use")
        if not isinstance(in_use, list):
            raise InvalidArgument(f"code_in_use {in_use!r} must be a list of SHA-256")
        return await self._instances.sweep_environments([_sha256(one) for one in in_use])

    async def _code_in_use(self, _: Arguments) -> Any:
        return sorted(self._instances.code_in_use())

    async def _zygotes(self, _: Arguments) -> Any:
        return self._instances.zygotes.listing()

    async def _list(self, _: Arguments) -> Any:
        return [_plain(status) for status in self._instances.statuses()]

    async def _samples(self, _: Arguments) -> Any:
        return [_plain(sample) for sample in await self._instances.samples()]

    async def _shutdown(self, request: Arguments) -> None:
        await self._instances.shutdown(_number(request, "grace_s", _GRACE_S, 3600.0))


def _parse(line: bytes) -> Arguments:
    try:
        request = json.loads(line)
    except ValueError as error:
        raise InvalidArgument(f"a request is one JSON object on one line: {error}") from error
    if not isinstance(request, dict):
        raise InvalidArgument("a request is one JSON object on one line")
    return request


def _text(request: Arguments, name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{name} {value!r} must be a text")
    return value


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise InvalidArgument(f"code_sha256 {value!r} must be 64 hex digits")
    return value


def _number(request: Arguments, name: str, default: float, at_most: float) -> float:
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= at_most:
        raise InvalidArgument(f"{name} {value!r} must be a number from 0 to {at_most:g}")
    return float(value)


def _plain(message: Message) -> dict[str, Any]:
    return dataclasses.asdict(message)


def _failed(number: Any, error: CallError) -> dict[str, Any]:
    return {"id": number, "ok": False, "error": {"code": error.code, "message": str(error)}}


def _remove_stale(path: Path) -> None:
    """A socket file that nobody answers at is left over from a node that was killed."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another node listens on it", str(path))
