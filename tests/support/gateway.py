"""For tests: a real gateway process, the store entries it reads, instances that a test answers for, a plain client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from shutil import rmtree
from typing import Any

import redis.asyncio

from runtime.contract import (
    FEED_KEY,
    INSTANCES_KEY,
    LATEST,
    ROUTES_KEY,
    USAGE_CHANNEL,
    AliasRoute,
    FunctionRoute,
    InstanceRecord,
    InstanceState,
    Kind,
    TriggerRoute,
    UsageReport,
    alias_field,
    function_field,
    trigger_field,
)
from runtime.signature import authorization

TIMEOUT_S = 15.0


class GatewayProcess:
    """`python -m runtime.gateway` at a port that the system picked; its log is `self.log()`."""

    def __init__(self, store_url: str, control_plane: str, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self._log = directory / "gateway.log"
        self._command = [sys.executable, "-m", "runtime.gateway", "--listen", "127.0.0.1:0", "--store", store_url]
        self._command += ["--control-plane", control_plane, "--data", str(directory), "--id", "g", *arguments]
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        said_before = len(self.log())
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            found = re.search(r"listening host=\S+ port=(\d+)", self.log()[said_before:])
            if found:
                self.port = int(found[1])
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the gateway did not start: {self.log()}")
            time.sleep(0.01)

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()


@dataclass
class Request:
    """One request as an instance got it."""

    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    names: list[str]  # all names, as often as they came
    body: bytes
    connection: int  # which of the instance's connections
    trailers: dict[str, str] = field(default_factory=dict)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str] = field(default_factory=dict)
    interim: list[int] = field(default_factory=list)  # statuses of the 100s that came before

    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def plain(body: bytes = b"ok", status: str = "200 OK", **headers: str) -> bytes:
    """A whole response."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode() + body


class Instance:
    """A server on a unix socket that answers as the test says: `answer(request, writer)` writes the response."""

    def __init__(self, path: Path, answer: Answer | None = None) -> None:
        self.path = path
        self.address = f"unix:{path}"
        self.requests: list[Request] = []
        self.in_flight = 0
        self.in_flight_peak = 0
        self.connections = 0
        self._answer = answer or self.answer_ok
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def answer_ok(self, request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(request.body or b"ok"))

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=1 << 20)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # What a gateway that does not read leaves unsent would keep a connection open, and its loop might end before.
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        self.connections += 1
        number = self.connections
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    request = await read_request(reader, number)
                    self.requests.append(request)
                    self.in_flight += 1
                    self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
                    try:
                        await self._answer(request, writer)
                        await writer.drain()
                    finally:
                        self.in_flight -= 1
        finally:
            self._tasks.discard(task)
            writer.close()


async def read_request(reader: asyncio.StreamReader, connection: int = 0) -> Request:
    line, headers, names = await _read_head(reader)
    method, target, _ = line.split(" ")
    body, trailers = await _read_body(reader, headers)
    return Request(method, target, headers, names, body, connection, trailers)


async def read_reply(reader: asyncio.StreamReader, *, head_only: bool = False) -> Reply:
    """One response; one without a length ends with the connection."""
    interim: list[int] = []
    while True:
        line, headers, _ = await _read_head(reader)
        status = int(line.split(" ")[1])
        if not 102 <= status < 200:
            break
        interim.append(status)
    if head_only or status in (204, 304) or status < 200:
        return Reply(status, headers, b"", {}, interim)
    if "content-length" not in headers and "transfer-encoding" not in headers:
        return Reply(status, headers, await reader.read(), {}, interim)
    return Reply(status, headers, *await _read_body(reader, headers), interim)


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], list[str]]:
    line = (await reader.readuntil(b"\r\n")).decode("latin-1")
    pairs = await _read_fields(reader)
    return line.rstrip(), dict(pairs), [name for name, _ in pairs]


async def _read_fields(reader: asyncio.StreamReader) -> list[tuple[str, str]]:
    """Until the empty line; names in lower case."""
    pairs: list[tuple[str, str]] = []
    while line := (await reader.readuntil(b"\r\n")).decode("latin-1").rstrip():
        name, _, value = line.partition(":")
        pairs.append((name.lower(), value.strip()))
    return pairs


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0"))), {}
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return body, dict(await _read_fields(reader))


class Client:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
        self.writer.write(request_bytes(method, target, signed(method, target, headers), body))
        async with asyncio.timeout(TIMEOUT_S):
            return await read_reply(self.reader, head_only=method == "HEAD")

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


KEY_ID, SECRET = "test-key", "test-secret"  # the local key of every gateway here


def signed(method: str, target: str, headers: dict[str, str] | None = None) -> dict[str, str]:
    """The headers, with a signature for an invocation that has none."""
    sent = {name.lower(): value for name, value in (headers or {}).items()}
    path = target.partition("?")[0]
    if method != "POST" or not path.endswith("/invocations") or "authorization" in sent:
        return sent
    sent.setdefault("date", formatdate(usegmt=True))
    return {**sent, "authorization": authorization(method, path, sent, KEY_ID, SECRET)}


def request_bytes(method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    lines = {"host": "localhost", **(headers or {})}
    if body or method in ("POST", "PUT"):
        lines.setdefault("content-length", str(len(body)))
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{text}\r\n".encode("latin-1") + body


@dataclass
class World:
    """A gateway, a store, and what is in it."""

    gateway: GatewayProcess
    store: redis.asyncio.Redis
    directory: Path
    instances: dict[str, Instance] = field(default_factory=dict)
    records: dict[str, InstanceRecord] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None  # what its clients trust, where the gateway speaks TLS

    async def write(self, key: str, name: str, value: str) -> None:
        """As the control plane writes: the hash and the feed in one transaction."""
        async with self.store.pipeline(transaction=True) as transaction:
            if value:
                transaction.hset(key, name, value)
            else:
                transaction.hdel(key, name)
            transaction.xadd(FEED_KEY, {"key": key, "field": name, "value": value})
            await transaction.execute()

    async def put_function(self, function: str = "f", service: str = "s", version: str = LATEST, **more: Any) -> None:
        values = {"revision": "r", "timeout_s": 30.0, **more}
        route = FunctionRoute(service=service, function=function, version=version, **values)
        await self.write(ROUTES_KEY, function_field(service, version, function), route.to_json())

    async def put_alias(self, alias: str, version: str, **more: Any) -> None:
        route = AliasRoute(service="s", alias=alias, version=version, **more)
        await self.write(ROUTES_KEY, alias_field("s", alias), route.to_json())

    async def put_trigger(self, function: str = "f", qualifier: str = LATEST, **more: Any) -> None:
        values = {"auth_type": "anonymous", "methods": ["GET", "POST", "HEAD"], "subdomain": "", **more}
        name = f"t-{qualifier}"
        route = TriggerRoute(service="s", function=function, qualifier=qualifier, name=name, **values)
        await self.write(ROUTES_KEY, trigger_field("s", function, name), route.to_json())

    async def put_instance(
        self, instance_id: str, address: str, state: InstanceState = InstanceState.READY, **more: Any
    ) -> None:
        values = {"service": "s", "function": "f", "version": LATEST, "kind": Kind.PROVISIONED, "slots": 1, **more}
        record = InstanceRecord(instance_id=instance_id, revision="r", state=state, node="n", address=address, **values)
        self.records[instance_id] = record
        await self.write(INSTANCES_KEY, instance_id, record.to_json())

    async def start_instance(self, instance_id: str, answer: Answer | None = None, **more: Any) -> Instance:
        instance = Instance(self.directory / f"{instance_id}.sock", answer)
        await instance.start()
        self.instances[instance_id] = instance
        await self.put_instance(instance_id, instance.address, **more)
        return instance

    async def remove_instance(self, instance_id: str) -> None:
        await self.write(INSTANCES_KEY, instance_id, "")

    async def connect(self) -> Client:
        name = None if self.tls is None else "localhost"
        streams = await asyncio.open_connection(
            "127.0.0.1", self.gateway.port, limit=1 << 20, ssl=self.tls, server_hostname=name
        )
        return Client(*streams)

    async def ask(self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Reply:
        """One request on a connection of its own."""
        client = await self.connect()
        try:
            return await client.ask(method, target, headers, body)
        finally:
            await client.close()

    async def settle(self) -> None:
        """Until what was written to the store has reached the gateway: a marker written last is answered."""
        marker = f"marker{time.monotonic_ns()}"
        await self.put_function(marker)
        await self.until(lambda: self._is_known(marker))

    async def _is_known(self, function: str) -> bool:
        reply = await self.ask("GET", f"/2016-08-15/proxy/s/{function}/")
        return reply.status == 404 and reply.json()["ErrorCode"] == "TriggerNotFound"

    async def until(self, condition: Callable[[], Awaitable[bool] | bool]) -> None:
        """Ask until it holds, for a while."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            holds = condition()
            if not isinstance(holds, bool):
                holds = await holds
            if holds:
                return
            assert time.monotonic() < deadline, f"still not so; the gateway's log: {self.gateway.log()}"
            await asyncio.sleep(0.005)

    @contextlib.asynccontextmanager
    async def reports(self) -> AsyncIterator[Callable[[Callable[[UsageReport], bool]], Awaitable[UsageReport]]]:
        """Gives a function that waits for a report of which something holds."""
        async with self.store.pubsub() as channel:
            await channel.subscribe(USAGE_CHANNEL)

            async def wait_for(holds: Callable[[UsageReport], bool]) -> UsageReport:
                async with asyncio.timeout(TIMEOUT_S):
                    while True:
                        message = await channel.get_message(ignore_subscribe_messages=True, timeout=1.0)
                        if message is not None:
                            report = UsageReport.from_json(message["data"])
                            if holds(report):
                                return report

            yield wait_for


@contextlib.asynccontextmanager
async def world(
    store_url: str, *arguments: str, control_plane: str = "", tls: ssl.SSLContext | None = None
) -> AsyncIterator[World]:
    """A gateway with one function `f` of service `s` and an anonymous trigger; no instances yet."""
    # pytest's folders have long names, a unix socket's path may not: so a short folder of its own.
    directory = Path(tempfile.mkdtemp(prefix="stoke-g-"))
    address = control_plane or f"unix:{directory}/control-plane.sock"
    key = {"access_key_id": KEY_ID, "access_key_secret": SECRET}
    (directory / "credentials.json").write_text(json.dumps(key))
    gateway = GatewayProcess(store_url, address, directory, *arguments)
    store = redis.asyncio.Redis.from_url(store_url)
    made = World(gateway, store, directory, tls=tls)
    try:
        gateway.start()
        await made.put_function()
        await made.put_trigger()
        await made.settle()
        yield made
    finally:
        for instance in made.instances.values():
            await instance.stop()
        gateway.stop()
        await store.aclose()
        rmtree(directory, ignore_errors=True)
