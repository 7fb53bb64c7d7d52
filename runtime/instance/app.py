"""The app that an instance serves under uvicorn: it tells hooks from requests, and turns what a function raises into an
answer that says so."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from a2wsgi import WSGIMiddleware

from runtime.instance import asgi
from runtime.instance.asgi import App, Receive, Scope, Send
from runtime.instance.context import Context
from runtime.instance.handler import HandlerKind, takes_argument
from runtime.instance.plain import Calls, Hook
from runtime.instance.run import Run

# What uvicorn and Starlette raise in a WebSocket's handler whose client has left. By name, as a function may bring its
# own Starlette.
_CLIENT_LEFT = ("ClientDisconnected", "WebSocketDisconnect")


class InstanceApp:
    """An ASGI or WSGI app. `hooks` has the functions to call for /initialize and /pre-stop; other hooks go to the app,
    as requests do."""

    def __init__(
        self, handler: Callable[..., Any], kind: HandlerKind, concurrency: int, hooks: dict[str, Hook]
    ) -> None:
        self._concurrency = concurrency
        self._calls = Calls(concurrency)
        self._hooks = hooks
        self._app = _as_asgi(handler, kind, concurrency)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = asgi.headers_of(scope)
        run = Run(headers, self._concurrency)
        hook = self._hooks.get(run.control_path)
        work = self._app if hook is None else self._hook_app(hook, headers)
        if run.tail is not None:
            send = _with_tail(send, run)
        answered = _talked if scope["type"] == "websocket" else _answered
        await answered(work, _with_client(scope, headers), receive, send, run)

    def _hook_app(self, hook: Hook, headers: dict[str, str]) -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - every app takes them
            await asgi.read_body(receive)
            await self._calls.call(hook, *([Context(headers)] if takes_argument(hook) else []))
            await asgi.answer(send, 200, [], b"")

        return app


def _as_asgi(handler: Callable[..., Any], kind: HandlerKind, concurrency: int) -> App:
    if kind is HandlerKind.ASGI:
        return handler
    wsgi: Callable[[Any, Any, Any], Awaitable[None]] = WSGIMiddleware(handler, workers=concurrency)
    return wsgi


async def _answered(app: App, scope: Scope, receive: Receive, send: Send, run: Run) -> None:
    """Run `app`. If it fails before it has begun to answer, the error is the answer."""
    began = False

    async def watched_send(message: Any) -> None:
        nonlocal began
        began = True
        await send(message)

    try:
        await app(scope, receive, watched_send)
    except asgi.ClientGone:
        pass
    except Exception as error:
        answer = run.failed(error)
        if began:
            run.end()
            raise  # the server breaks the connection, so that a cut answer is not taken for a whole one
        with contextlib.suppress(ConnectionError):
            await asgi.answer(send, answer.status, answer.headers, answer.body)
    run.end()


def _with_tail(send: Send, run: Run) -> Send:
    """Ends the run where the answer begins: what is logged after that cannot be in its head."""

    async def send_with_tail(message: Any) -> None:
        if message["type"] == "http.response.start":
            told = [(name.encode(), value.encode()) for name, value in run.end()]
            message = {**message, "headers": [*message["headers"], *told]}
        await send(message)

    return send_with_tail


async def _talked(app: App, scope: Scope, receive: Receive, send: Send, run: Run) -> None:
    """Run `app` for a WebSocket. If it fails, the server tells the client in its own way: a 500 before the handshake is
    complete, a connection that breaks off after it."""
    try:
        await app(scope, receive, send)
    except Exception as error:
        if type(error).__name__ not in _CLIENT_LEFT:
            run.failed(error)
    run.end()


def _with_client(scope: Scope, headers: dict[str, str]) -> Scope:
    """Behind a unix socket there is no client's address, which apps rely on; the gateway says whose request it is."""
    if scope.get("client"):
        return scope
    return {**scope, "client": (headers.get("x-fc-client-ip") or "127.0.0.1", 0)}
