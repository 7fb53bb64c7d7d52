"""The built-in server of plain handlers: the gateway's own protocol code on the instance's side.

A handler gets its event whole and gives its result whole, so nothing of what an ASGI server does for streams is needed:
a request is handed to the app when it is complete, and its answer is one write when the app is done, so that what it
has logged is there by then. ASGI and WSGI apps run under uvicorn.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
from collections.abc import Callable, MutableMapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from runtime.http.exchange import Exchange
from runtime.http.framing import CRLF, date_header, status_line
from runtime.http.server import Server, ServerLimits
from runtime.instance.asgi import App

_BACKLOG: Final = 1024
# The gateway keeps its connections, and closes them when it wants to.
_LIMITS: Final = ServerLimits(idle_timeout_s=math.inf, remembers_beginnings=True)


class PlainServer:
    """Serves an app on a unix socket until SIGTERM, then until what is inside is answered."""

    def __init__(self, app: App, path: str, drain_s: float, on_ready: Callable[[], None]) -> None:
        self._app = app
        self._path = path
        self._drain_s = drain_s
        self._on_ready = on_ready
        self._tasks: set[asyncio.Task[None]] = set()
        self.started = False

    async def serve(self) -> None:
        """Raises OSError: nothing can listen at the path."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        server = Server(loop, self._take, _LIMITS)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        listener = await loop.create_unix_server(server.connection, self._path, backlog=_BACKLOG)
        os.chmod(self._path, 0o600)
        self.started = True
        self._on_ready()
        await stop.wait()
        listener.close()
        await server.drain(self._drain_s)

    def connection(self) -> asyncio.Protocol:
        """What serves one connection, without a server around it."""
        return Server(asyncio.get_running_loop(), self._take, _LIMITS).connection()

    def _take(self, exchange: Exchange) -> None:
        if exchange.problem is not None:
            _answer(exchange, exchange.problem.status, [], exchange.problem.message.encode())
            return
        call = _Call(exchange, self._begin)
        if exchange.request.expects_continue:
            exchange.send_continue()
        call.body_arrived()

    def _begin(self, call: _Call) -> None:
        task = asyncio.get_running_loop().create_task(call.run(self._app))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Call:
    """One request, as an exchange's owner and as an ASGI app's receive and send."""

    __slots__ = ("_begin", "_body", "_exchange", "_head")

    def __init__(self, exchange: Exchange, begin: Callable[[_Call], None]) -> None:
        self._exchange = exchange
        self._begin = begin
        self._head: MutableMapping[str, Any] = {}
        self._body: bytes | None = None  # of the answer, once it was given
        exchange.owner = self

    def body_arrived(self) -> None:
        if self._exchange.complete:
            self._begin(self)

    def client_gone(self) -> None: ...  # the function goes on: it cannot be told

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...

    async def run(self, app: App) -> None:
        try:
            await app(self._scope(), self._receive, self._send)
        finally:
            if self._body is None:
                self._exchange.abort()  # nothing was answered: whoever waits must not wait for ever
            elif not self._exchange.gone:
                _answer(self._exchange, self._head["status"], self._head["headers"], self._body)

    def _scope(self) -> dict[str, Any]:
        exchange = self._exchange
        raw_path, _, query = exchange.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.0" if exchange.http_1_0 else "1.1",
            "method": exchange.method.decode("latin-1"),
            "scheme": "http",
            "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in exchange.headers],
            "client": None,
            "server": None,
        }

    async def _receive(self) -> MutableMapping[str, Any]:
        if self._exchange.gone:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"".join(self._exchange.take_body()), "more_body": False}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._head = message
        else:
            assert not message.get("more_body"), "a plain handler's answer comes whole"
            self._body = message.get("body", b"")


def _answer(exchange: Exchange, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """One write, and the exchange is finished. `headers` say the body's length, except of an error made here."""
    parts = [status_line(status)]
    for name, value in headers:
        parts += (name, b": ", value, CRLF)
    if not headers:
        parts += (date_header(), b"content-length: %d\r\n" % len(body))
    if not exchange.keep_alive or not exchange.complete:
        exchange.keep_alive = False
        parts.append(b"connection: close\r\n")
    parts.append(CRLF)
    if exchange.method != b"HEAD":
        parts.append(body)
    exchange.write([b"".join(parts)])
    exchange.finish()
