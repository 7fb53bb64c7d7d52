"""What a backend brings to its tests: a bed for each, and the server that its instances run."""

from __future__ import annotations

import asyncio
import json
import uuid
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import httpx

from control_plane.ports import Backend
from runtime.contract import InstanceState
from runtime.node_contract import InstanceStatus, LaunchSpec

DEADLINE_S = 30.0
READY = InstanceState.READY

# Answers every path; what its arguments say it does besides. Nothing but the standard library is needed.
SERVER = """
import http.server, json, os, signal, sys, threading, time
does = sys.argv[1:]
seen = []
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        seen.append(self.command + " " + self.path)
        if self.path == "/slow":
            time.sleep(1.0)
        if self.path == "/exit":
            print("about to exit", flush=True)
            os._exit(7)
        if self.path == "/fill":
            kept = [bytearray(os.urandom(1 << 20)) for _ in range(4096)]
        if self.path in ("/initialize", "/pre-stop"):
            print("hook", self.path, flush=True)
        wrong = self.path == "/health" and "ill" in does or self.path == "/initialize" and "refuse" in does
        code = 500 if wrong else 200
        body = json.dumps({"seen": seen, "env": dict(os.environ), "does": does, "uid": os.getuid()}).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/sicken":
            does.append("ill")
    do_POST = do_GET
    def log_message(self, *_):
        pass
def end(*_):
    print("told to end", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("serving", *does, flush=True)
if "exit" in does:
    sys.exit("no model here")
server = http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["FC_SERVER_PORT"])), Handler)
server.daemon_threads = False
threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Event().wait()
"""


class Bed(ABC):
    """One backend for one test, without instances at its beginning."""

    backend: Backend
    deadline_s = DEADLINE_S
    unmeasured = ""  # why nothing measures instances here, "" when something does
    runs = True  # False: instances are rows in a table, and nothing answers at their addresses

    @abstractmethod
    def server(self, *does: str, **fields: Any) -> LaunchSpec:
        """A function that runs SERVER with these arguments."""

    @abstractmethod
    def refused(self) -> LaunchSpec:
        """A function that this backend can never run."""

    @abstractmethod
    async def restart(self) -> None:
        """Kill what keeps the instances, without warning, and have it back."""

    @abstractmethod
    async def kill(self, status: InstanceStatus) -> None:
        """An instance dies, by nobody's order."""

    @abstractmethod
    def away(self) -> AbstractAsyncContextManager[None]:
        """The backend cannot be reached meanwhile."""

    # -- words --------------------------------------------------------------------------------------------------------

    async def launched(self, spec: LaunchSpec, state: InstanceState = READY) -> InstanceStatus:
        await self.backend.launch(spec)
        return await self.until(spec.instance_id, state)

    async def until(self, instance_id: str, state: InstanceState) -> InstanceStatus:
        async with asyncio.timeout(self.deadline_s):
            async for status in self.backend.watch():
                if status.instance_id == instance_id:
                    if status.state is state:
                        return status
                    assert not status.state.is_final, f"{status}\n{await self.output(instance_id)}"
        raise AssertionError(f"{instance_id} did not become {state}")

    async def ids(self) -> set[str]:
        return {status.instance_id for status in await self.backend.list()}

    async def output(self, instance_id: str) -> str:
        pieces = [piece async for piece in self.backend.logs(instance_id, tail_bytes=100_000, follow=False)]
        return b"".join(pieces).decode()

    async def until_output(self, instance_id: str, text: str) -> str:
        async with asyncio.timeout(DEADLINE_S):
            while text not in (said := await self.output(instance_id)):
                await asyncio.sleep(0.02)
        return said

    async def ask(self, status: InstanceStatus, path: str = "/") -> dict[str, Any]:
        async with _client(status.address) as client:
            answer: dict[str, Any] = json.loads((await client.get(path)).content)
            return answer


def _client(address: str) -> httpx.AsyncClient:
    kind, _, place = address.partition(":")
    uds = place if kind == "unix" else None
    base_url = "http://instance" if uds else f"http://{place}"
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=uds), base_url=base_url, timeout=DEADLINE_S)


class Beds(AbstractContextManager["Beds"], ABC):
    """One backend for the tests of a class together: entered once, with a bed for each test."""

    @staticmethod
    def why_not() -> str:
        """Why it cannot be had here, "" when it can."""
        return ""

    @abstractmethod
    def bed(self) -> AbstractAsyncContextManager[Bed]: ...


def named(**fields: Any) -> dict[str, Any]:
    """The fields of any LaunchSpec of these tests."""
    return {
        "instance_id": f"c-{uuid.uuid4().hex[:12]}",
        "service": "tests",
        "function": "function",
        "version": "LATEST",
        "revision": "1",
        "headers": {"x-fc-function-name": "function", "x-fc-region": "cn-local", "x-fc-account-id": "1"},
        "launch_timeout_s": 20.0,
        "memory_mib": 256,
        **fields,
    }
