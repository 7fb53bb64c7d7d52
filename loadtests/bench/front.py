"""A gateway with a store of its own, for benchmarks of what it decides; they answer for the instances themselves."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import redis.asyncio

from loadtests.bench.rivals import LOAD_CORE, PROXY_CORE, START_TIMEOUT_S, running, wait_for
from loadtests.bench.written import instance_of, routes_of
from runtime.contract import (
    FEED_KEY,
    INSTANCES_KEY,
    ROUTES_KEY,
    Kind,
)
from runtime.store import arguments as store_arguments
from runtime.store import find_server

_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(slots=True)
class Front:
    port: int
    pid: int
    directory: Path
    store: redis.asyncio.Redis
    _servers: list[asyncio.Server] = field(default_factory=list)

    async def put_function(self, function: str, **more: Any) -> None:
        """Until the gateway knows it."""
        for name, value in routes_of(function, **more).items():
            await self._write(ROUTES_KEY, name, value)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not await self._is_known(function):
            if time.monotonic() > deadline_s:
                raise SystemExit(f"the gateway did not hear of function {function!r} within {START_TIMEOUT_S:g} s")

    async def serve(self, name: str, service_s: float, arrived: Callable[[float], None] | None = None) -> str:
        """A server that takes so long for each request; gives its address. `arrived` hears when each came."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    if arrived is not None:
                        arrived(time.monotonic())
                    await asyncio.sleep(service_s)
                    writer.write(_ANSWER)
            writer.close()

        path = self.directory / f"{name}.sock"
        self._servers.append(await asyncio.start_unix_server(answer, path, backlog=1024))
        return f"unix:{path}"

    async def put_instance(self, function: str, name: str, address: str, slots: int) -> None:
        record = instance_of(function, name, address, slots, Kind.ON_DEMAND)
        await self._write(INSTANCES_KEY, name, record)

    def resident_mib(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise SystemExit("the gateway is gone")

    async def _is_known(self, function: str) -> bool:
        """Whether it says that its trigger does not allow a method, and not that there is none."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"DELETE {path_of(function)} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer.startswith(b"HTTP/1.1 405 ")

    async def _write(self, key: str, name: str, value: str) -> None:
        """As the control plane writes: the hash and the feed in one transaction."""
        async with self.store.pipeline(transaction=True) as transaction:
            transaction.hset(key, name, value)
            transaction.xadd(FEED_KEY, {"key": key, "field": name, "value": value})
            await transaction.execute()


@contextlib.asynccontextmanager
async def front(*arguments: str) -> AsyncIterator[Front]:
    """Runs while the context lasts, with these arguments of the gateway's."""
    server = find_server()
    if server is None:
        raise SystemExit("no valkey-server or redis-server on this machine: the gateway needs one")
    with contextlib.ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="stoke-f-", ignore_cleanup_errors=True)
        directory = Path(stack.enter_context(made))
        socket_path, log = directory / "store.sock", directory / "gateway.log"
        stack.enter_context(running([*server, *store_arguments(directory, socket_path)], LOAD_CORE))
        wait_for(socket_path.exists, "the store")
        url = f"unix://{socket_path}"
        command = [sys.executable, "-m", "runtime.gateway", "--listen", "127.0.0.1:0", "--store", url, "--data"]
        command += [str(directory), "--control-plane", f"unix:{directory}/none.sock", *arguments]
        process = stack.enter_context(running(command, PROXY_CORE, log))
        wait_for(lambda: all(word in log.read_text() for word in ("feed-loaded", "port=")), "the gateway")
        port = int(log.read_text().split("port=")[1].split()[0])
        store = redis.asyncio.Redis.from_url(url)
        ready = Front(port, process.pid, directory, store)
        try:
            yield ready
        finally:
            for each in ready._servers:
                each.close()
            await store.aclose()


def path_of(function: str) -> str:
    return f"/2016-08-15/proxy/bench/{function}/"
