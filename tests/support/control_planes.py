"""For tests: several control planes on one store, with one node and one gateway beside them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import redis

from control_plane.credentials import write_credentials, write_secret_key
from runtime.contract import FEED_KEY, INSTANCES_KEY
from runtime.node.client import NodeClient
from tests.support.gateway import GatewayProcess
from tests.support.node import NodeProcess, running_node
from tests.support.stoke import ROOT, Stoke, eventually
from tests.support.store import PrivateStore

LEASE_S = 2.0  # short for a test, long against what a busy machine stalls a process for


class ControlPlanes(Stoke):
    """`call` and its kind ask the one that `ask` has named, over its socket; functions are asked at the gateway."""

    def __init__(self, store: PrivateStore, node: NodeProcess) -> None:
        super().__init__(node.data)
        self.store = store
        self.node = node
        self.client.close()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        write_credentials(self.data / "credentials.json")
        write_secret_key(self.data / "secret.key")
        self.gateway = GatewayProcess(store.url, f"unix:{self.socket('a')}", self.data)

    @property
    def endpoint(self) -> str:
        return "http://control-plane"

    def trigger_url(self, function: str, path: str = "", service: str = "svc") -> str:
        return f"http://127.0.0.1:{self.gateway.port}/2016-08-15/proxy/{service}/{function}/{path}"

    def socket(self, name: str) -> Path:
        return self.data / f"{name}.sock"

    def start(self, name: str) -> None:
        """Start one, and wait until it answers."""
        command = [
            sys.executable, "-m", "control_plane", "--data", str(self.data), "--store", self.store.url,
            "--socket", str(self.socket(name)), "--node", f"unix:{self.node.socket}",
        ]  # fmt: skip
        environment = {**os.environ, "STOKE_LEADER_LEASE_S": str(LEASE_S)}
        with (self.data / f"{name}.log").open("ab") as output:
            self._processes[name] = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env=environment)
        eventually(lambda: self._answers(name), f"{name} answers; {(self.data / f'{name}.log').read_text()}")

    def signal(self, name: str, number: signal.Signals) -> None:
        self._processes[name].send_signal(number)

    def await_end(self, name: str, timeout_s: float = 30.0) -> int:
        return self._processes[name].wait(timeout_s)

    def ask(self, name: str) -> None:
        """From now on `call` goes to this one."""
        self.client.close()
        self.client = self._client(name)
        self.client.auth = self.auth

    def _client(self, name: str) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket(name))), timeout=30.0)

    def _listens(self, name: str) -> bool:
        """A failed connect by httpx would leave its socket to the garbage collector."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.socket(name)))
            return True
        return False

    def _answers(self, name: str) -> bool:
        if not self._listens(name):
            return False
        with contextlib.suppress(httpx.HTTPError), self._client(name) as client:
            return client.get(f"{self.endpoint}/2016-08-15/services", auth=self.auth).status_code == 200
        return False

    def leads(self, name: str) -> bool:
        """Whether it says of itself that it leads: it answers what only the leader knows, asked as a forwarded one."""
        if not self._listens(name):
            return False
        with contextlib.suppress(httpx.HTTPError), self._client(name) as client:
            url, headers = f"{self.endpoint}/stoke/v1/instances", {"x-stoke-forwarded": "1"}
            return client.get(url, auth=self.auth, headers=headers).status_code == 200
        return False

    def await_leader(self, name: str, timeout_s: float = 30.0) -> None:
        eventually(lambda: self.leads(name), f"{name} leads", timeout_s)

    def launched(self) -> set[str]:
        """Every instance that there ever was."""
        with redis.Redis.from_url(self.store.url) as client:
            entries = [fields for _, fields in client.xrange(FEED_KEY)]
        return {each[b"field"].decode() for each in entries if each[b"key"].decode() == INSTANCES_KEY}

    def running(self) -> dict[str, int]:
        """The pids of the instances that the node has, by id."""

        async def listed() -> dict[str, int]:
            client = NodeClient(self.node.socket)
            try:
                return {status.instance_id: status.pid for status in await client.list()}
            finally:
                await client.close()

        return asyncio.run(listed())

    def end(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        if self.gateway.process is not None:
            self.gateway.process.kill()
            self.gateway.process.wait()
        self.client.close()


@contextlib.contextmanager
def control_planes(store: PrivateStore, *, gateway: bool = True) -> Iterator[ControlPlanes]:
    """Two: `a`, which leads, and `b`, which is asked; with a gateway of their own machine, or without."""
    with running_node() as node:
        planes = ControlPlanes(store, node)
        try:
            planes.start("a")
            planes.await_leader("a")
            planes.start("b")
            planes.ask("b")
            if gateway:
                planes.gateway.start()
            yield planes
        finally:
            planes.end()
