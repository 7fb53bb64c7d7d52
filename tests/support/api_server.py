"""The real FC API on a loopback port, over a registry in memory and a fleet that a test makes up, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control_plane.api.app import create_app
from control_plane.code_store import FolderCodeStore
from control_plane.registry.memory import MemoryRegistry
from control_plane.settings import ControlPlaneSettings
from control_plane.testing import FakeFleet
from runtime.contract import API_VERSION_3, API_VERSIONS

Invoked = Callable[[Request], Awaitable[Response]]
START_TIMEOUT_S = 10.0


async def echo(request: Request) -> Response:
    """An invocation that answers its payload."""
    return Response(await request.body(), headers={"x-fc-request-id": "r-1", "x-fc-instance-id": "i-1"})


@dataclass
class ApiServer:
    endpoint: str
    fleet: FakeFleet
    registry: MemoryRegistry
    invoked: Invoked = echo
    asked: list[str] = field(default_factory=list)  # "METHOD path"
    loop: asyncio.AbstractEventLoop | None = None

    def end_logs(self) -> None:
        """Let the logs that are followed come to their end."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.fleet.followed.set)


@contextlib.contextmanager
def api_server(data: Path) -> Iterator[ApiServer]:
    """Serve until the block ends. Invocations, which a gateway would answer, are answered by `invoked`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = ControlPlaneSettings(public_url=endpoint)
        fleet, registry = FakeFleet(), MemoryRegistry()
        app = create_app(registry, fleet, FolderCodeStore(data / "code"), settings)
        running = ApiServer(endpoint, fleet, registry)
        paths = [f"/{version}/services/{{service}}/functions/{{function}}/invocations" for version in API_VERSIONS]
        paths.append(f"/{API_VERSION_3}/functions/{{function}}/invocations")

        async def invocation(request: Request) -> Response:
            return await running.invoked(request)

        for path in paths:
            app.router.routes.insert(0, Route(path, invocation, methods=["POST"]))

        async def recorded(scope, receive, send):  # type: ignore[no-untyped-def]
            if scope["type"] == "http":
                running.loop = asyncio.get_running_loop()
                running.asked.append(f"{scope['method']} {scope['path']}")
            await app(scope, receive, send)

        server = uvicorn.Server(uvicorn.Config(recorded, log_level="warning", lifespan="off"))
        started = threading.Event()
        server.startup = _then(server.startup, started)  # type: ignore[method-assign, assignment]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert started.wait(START_TIMEOUT_S), "the server did not start"
            yield running
        finally:
            server.should_exit = True
            server.force_exit = True  # a log that is followed has no end of its own
            thread.join(START_TIMEOUT_S)


def _then(startup: Callable[..., Awaitable[None]], started: threading.Event) -> Callable[..., Awaitable[None]]:
    async def run(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets=sockets)
        started.set()

    return run
