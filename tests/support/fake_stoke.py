"""A small Stoke for tests of what only talks to it: one function whose fleet grows under load and shrinks after it.

It answers the trigger, the provision status and the instance list over HTTP on a loopback port that the system picks.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

START_TIMEOUT_S = 10.0


@dataclass
class FakeStoke:
    """The fleet has `low` instances, and `high` while more than `low` requests are open or were `linger_s` ago."""

    low: int = 2
    high: int = 8
    linger_s: float = 0.6
    launch_s: float = 0.2
    service_s: float = 0.01
    fail_every: int = 0  # each so many-th request is answered 500; 0 = none
    endpoint: str = ""
    in_flight: int = 0
    requests: int = 0
    last_body: bytes = b""
    last_content_type: str = ""
    busy_since_s: float | None = None
    busy_until_s: float = 0.0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/2016-08-15/proxy/{service}/{function}/", self.trigger, methods=["GET", "POST"]),
                Route("/stoke/v1/provision", self.provision),
                Route("/stoke/v1/instances", self.instances),
            ]
        )

    async def trigger(self, request: Request) -> Response:
        self.last_body = await request.body()
        self.last_content_type = request.headers.get("content-type", "")
        self.requests += 1
        self.in_flight += 1
        if self.in_flight > self.low:
            self.busy_since_s = self.busy_since_s or time.monotonic()
            self.busy_until_s = time.monotonic() + self.linger_s
        number, instance = self.requests, self.requests % self.current()
        await asyncio.sleep(self.service_s)
        self.in_flight -= 1
        headers = {"x-fc-instance-id": f"i-{instance}", "x-stoke-cold-start": "true" if number == 1 else "false"}
        failed = self.fail_every and number % self.fail_every == 0
        return JSONResponse({"digit": 7}, status_code=500 if failed else 200, headers=headers)

    def target(self) -> int:
        if time.monotonic() >= self.busy_until_s:
            self.busy_since_s = None
        return self.high if self.busy_since_s is not None else self.low

    def current(self) -> int:
        since = self.busy_since_s
        launched = since is not None and time.monotonic() - since >= self.launch_s
        return self.target() if launched else self.low

    async def provision(self, _: Request) -> Response:
        target, current = self.target(), self.current()
        demand = f"panic={self.in_flight}"
        status = {"target": target, "current": current, "starting": target - current, "currentError": ""}
        return JSONResponse({**status, "in_force": ["demo"], "reasons": [demand], "utilization": 0.5})

    async def instances(self, _: Request) -> Response:
        current = self.current()
        rows = [
            {
                "instanceId": f"i-{number}",
                "kind": "provisioned",
                "state": "READY" if number < current else "LAUNCHING",
                "inFlight": self.in_flight // current,
            }
            for number in range(self.target())
        ]
        return JSONResponse(rows)


@contextlib.contextmanager
def served(fake: FakeStoke) -> Iterator[FakeStoke]:
    """`fake`, with its endpoint filled in, answering until the block ends."""
    config = uvicorn.Config(fake.app(), host="127.0.0.1", port=0, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="fake-stoke", daemon=True)
    thread.start()
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not server.started:
            assert thread.is_alive(), "the fake Stoke ended while it started"
            assert time.monotonic() < deadline_s, "the fake Stoke did not start in time"
            time.sleep(0.01)
        fake.endpoint = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield fake
    finally:
        server.should_exit = True
        thread.join()
