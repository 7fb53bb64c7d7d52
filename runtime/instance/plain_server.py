"""The built-in server of plain handlers: the gateway's own protocol code on the instance's side.

A handler gets its event whole and gives its result whole, so nothing of what an ASGI server does for streams is needed:
a request is handed on when it is complete, and its answer is one write when it is there, so that what the handler
has logged is there by then. ASGI and WSGI apps run under uvicorn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from runtime.http import instance_socket
from runtime.http.exchange import Exchange
from runtime.http.framing import CRLF, Headers, date_header, status_line
from runtime.http.server import Server
from runtime.instance.envelope import HttpAnswer, HttpRequest
from runtime.instance.plain import PlainInstance


class PlainServer:
    """Serves a handler on a unix socket until SIGTERM, then until what is inside is answered."""

    def __init__(self, app: PlainInstance, path: str, drain_s: float, on_ready: Callable[[], None]) -> None:
        self._app = app
        self._path = path
        self._drain_s = drain_s
        self._on_ready = on_ready
        self._tasks: set[asyncio.Task[None]] = set()
        self.started = False

    async def serve(self) -> None:
        """Raises OSError: nothing can listen at the path."""
        stop = instance_socket.stop_signal()
        await instance_socket.serve(self._take, self._path, self._drain_s, stop, self._listens)

    def _listens(self) -> None:
        self.started = True
        self._on_ready()

    def connection(self) -> asyncio.Protocol:
        """What serves one connection, without a server around it."""
        return Server(asyncio.get_running_loop(), self._take, instance_socket.LIMITS).connection()

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
    """One request, as an exchange's owner."""

    __slots__ = ("_begin", "_exchange")

    def __init__(self, exchange: Exchange, begin: Callable[[_Call], None]) -> None:
        self._exchange = exchange
        self._begin = begin
        exchange.owner = self

    def body_arrived(self) -> None:
        if self._exchange.complete:
            self._begin(self)

    def client_gone(self) -> None: ...  # the function goes on: it cannot be told

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...

    async def run(self, app: PlainInstance) -> None:
        exchange = self._exchange
        answer: HttpAnswer | None = None
        try:
            answer = await app.answer(_request(exchange))
        finally:
            if answer is None:
                exchange.abort()  # nothing was answered: whoever waits must not wait for ever
            elif not exchange.gone:
                headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
                headers.append((b"content-length", b"%d" % len(answer.body)))
                _answer(exchange, answer.status, headers, answer.body)


def _request(exchange: Exchange) -> HttpRequest:
    raw_path, _, query = exchange.target.decode("latin-1").partition("?")
    body = b"".join(exchange.take_body())
    return HttpRequest(exchange.method.decode("latin-1"), raw_path, query, _joined(exchange.headers), body, time.time())


def _joined(fields: Headers) -> dict[str, str]:
    """By lower-case name; values of the same name are joined by a comma."""
    found: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


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
