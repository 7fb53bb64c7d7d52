"""A real node in a temporary folder, functions to launch on it, and words for waiting on what becomes of them."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any, Self

import httpx

from runtime.contract import InstanceState
from runtime.node.client import NodeClient, NodeUnavailable
from runtime.node_contract import InstanceStatus, LaunchSpec

ROOT = Path(__file__).parents[2]
DEADLINE_S = 20.0

# What a gateway says of a request that it passes on: an invocation, and one for an HTTP trigger.
INVOKE = {"x-fc-control-path": "/invoke", "x-fc-request-id": "r-1"}
HTTP = {"x-fc-control-path": "/http-invoke", "x-fc-request-id": "r-2"}


class NodeProcess:
    """`python -m runtime.node` on a folder of its own. `kill()` and `start()` again show what outlives a crash."""

    def __init__(self, *options: str, data: str = "") -> None:
        """`data` names the data folder, which may be long; without it it is the node's own."""
        # pytest's folders have long names, a unix socket's path may not: so a short folder of its own.
        self._folder = Path(tempfile.mkdtemp(prefix="stoke-"))
        self.data = self._folder / data
        self.socket = self._folder / "node.sock"
        self.log = self._folder / "node.log"
        self.client = NodeClient(self.socket)
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "runtime.node", "--data", str(self.data), "--socket", str(self.socket)]
        with open(self.log, "ab") as log:
            return subprocess.Popen([*command, *self._options], stdout=log, stderr=log)

    async def start(self) -> Self:
        self._process = self._spawn()
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            try:
                await self.client.hello()
            except NodeUnavailable:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    raise AssertionError(self.log.read_text()) from None
                await asyncio.sleep(0.01)
            else:
                return self

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait; gives the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(DEADLINE_S)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Self]:
        """This node for one test: with a client of its own event loop, and without instances at the end."""
        self.client = NodeClient(self.socket)
        try:
            yield self
        finally:
            for status in await self.client.list():
                await self.client.stop(status.instance_id, 0.0)
            async with asyncio.timeout(DEADLINE_S):
                while any(not status.state.is_final for status in await self.client.list()):
                    await asyncio.sleep(0.01)
            for status in await self.client.list():
                await self.client.forget(status.instance_id)
            await self.client.close()

    async def close(self) -> None:
        """End every instance, then the node, whatever state they are in."""
        self.client = NodeClient(self.socket)
        if self._process is not None:
            if self._process.poll() is not None:
                await self.start()
            await asyncio.wait_for(self.client.shutdown(0.0), DEADLINE_S)
            self.end(signal.SIGTERM)
        await self.client.close()
        rmtree(self._folder, ignore_errors=True)

    # -- functions ----------------------------------------------------------------------------------------------------

    def put_code(self, files: Mapping[str, str]) -> str:
        """As the code store unpacks it. `files` are texts by path; gives their sha256."""
        digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        folder = self.data / "code" / digest
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(textwrap.dedent(text))
        return digest

    def python(self, source: str | Mapping[str, str], **more: Any) -> LaunchSpec:
        """A Python function, app.py with `handler` if it is one text."""
        files = {"app.py": source} if isinstance(source, str) else source
        return spec(**{"runtime": "python3.11", "handler": "app.handler", "code_sha256": self.put_code(files), **more})

    def custom(self, source: str, *arguments: str, **more: Any) -> LaunchSpec:
        """A server of its own, server.py, run by the interpreter of the tests."""
        command = [sys.executable, "server.py", *arguments]
        return spec(runtime="custom", command=command, code_sha256=self.put_code({"server.py": source}), **more)

    # -- what becomes of them -----------------------------------------------------------------------------------------

    async def status(self, instance_id: str) -> InstanceStatus | None:
        return next((s for s in await self.client.list() if s.instance_id == instance_id), None)

    async def until(self, instance_id: str, *states: InstanceState) -> InstanceStatus:
        """Wait for one of `states`. Another final state, or none of them in time, is an AssertionError."""
        async with asyncio.timeout(DEADLINE_S):
            async for status in self.client.watch():
                if status.instance_id == instance_id:
                    if status.state in states:
                        return status
                    assert not status.state.is_final, f"{status}\n{await self.output(instance_id)}"
        raise AssertionError(f"{instance_id} did not become {states}")

    async def launched(self, function: LaunchSpec, state: InstanceState = InstanceState.READY) -> InstanceStatus:
        await self.client.launch(function)
        return await self.until(function.instance_id, state)

    async def output(self, instance_id: str) -> str:
        chunks = [chunk async for chunk in self.client.logs(instance_id, tail_bytes=1_000_000, follow=False)]
        return b"".join(chunks).decode()


def spec(**values: Any) -> LaunchSpec:
    defaults: dict[str, Any] = {
        "instance_id": f"c-{uuid.uuid4().hex[:12]}",
        "service": "tests",
        "function": "function",
        "version": "LATEST",
        "revision": "1",
        "headers": {"x-fc-function-name": "function", "x-fc-region": "cn-local", "x-fc-account-id": "1"},
        "launch_timeout_s": 15.0,
    }
    return LaunchSpec(**{**defaults, **values})


@asynccontextmanager
async def http(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client for the instance at an address of the node's."""
    kind, _, place = address.partition(":")
    transport = httpx.AsyncHTTPTransport(uds=place) if kind == "unix" else httpx.AsyncHTTPTransport()
    base_url = "http://instance" if kind == "unix" else f"http://{place}"
    async with httpx.AsyncClient(transport=transport, base_url=base_url, timeout=DEADLINE_S) as client:
        yield client


@contextmanager
def running_node(*options: str) -> Iterator[NodeProcess]:
    """For the tests of one module together, each of which has a `session`."""
    node = NodeProcess(*options)
    asyncio.run(_started(node))
    try:
        yield node
    finally:
        asyncio.run(node.close())


async def _started(node: NodeProcess) -> None:
    await node.start()
    await node.client.close()


async def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait until `condition` gives something true, and give that. Raises AssertionError, naming `what`."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {DEADLINE_S:g} s: {what}"
        await asyncio.sleep(0.01)
    return value
