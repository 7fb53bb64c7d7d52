"""The app that an instance serves under uvicorn: it tells hooks from requests, prints Function Compute's log marks
around them, and turns what a function raises into an answer that says so."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from a2wsgi import WSGIMiddleware

from runtime.contract import (
    HEADER_CONTROL_PATH,
    HEADER_LOG_TYPE,
    HEADER_REQUEST_ID,
)
from runtime.instance import asgi, log_tail, mistakes
from runtime.instance.asgi import App, Receive, Scope, Send
from runtime.instance.context import REQUEST_ID, Context
from runtime.instance.handler import HandlerKind, takes_argument
from runtime.instance.marks import Marks
from runtime.instance.plain import Calls, Hook

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
        control_path = headers.get(HEADER_CONTROL_PATH, "")
        request_id = headers.get(HEADER_REQUEST_ID, "-")
        REQUEST_ID.set(request_id)
        hook = self._hooks.get(control_path)
        work = self._app if hook is None else self._hook_app(hook, headers)
        marks = Marks(control_path, request_id)
        if HEADER_LOG_TYPE in headers:
            send = log_tail.sender(send, log_tail.begin(self._concurrency), marks.end)
        marks.begin()
        answered = _talked if scope["type"] == "websocket" else _answered
        marks.end(await answered(work, _with_client(scope, headers), receive, send, control_path))

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


async def _answered(app: App, scope: Scope, receive: Receive, send: Send, control_path: str) -> bool:
    """Run `app`; True when the function failed. If it had not begun to answer, the error is the answer."""
    began = False

    async def watched_send(message: Any) -> None:
        nonlocal began
        began = True
        await send(message)

    try:
        await app(scope, receive, watched_send)
    except asgi.ClientGone:
        return False
    except Exception as error:
        traceback.print_exception(error)
        if began:
            raise  # the server breaks the connection, so that a cut answer is not taken for a whole one
        with contextlib.suppress(ConnectionError):
            told = mistakes.answer(error, control_path)
            await asgi.answer(send, told.status, told.headers, told.body)
        return True
    return False


async def _talked(app: App, scope: Scope, receive: Receive, send: Send, control_path: str) -> bool:  # noqa: ARG001
    """Run `app` for a WebSocket; True when the function failed. The server tells the client in its own way: a 500
    before the handshake is complete, a connection that breaks off after it."""
    try:
        await app(scope, receive, send)
    except Exception as error:
        if type(error).__name__ in _CLIENT_LEFT:
            return False
        traceback.print_exception(error)
        return True
    return False


def _with_client(scope: Scope, headers: dict[str, str]) -> Scope:
    """Behind a unix socket there is no client's address, which apps rely on; the gateway says whose request it is."""
    if scope.get("client"):
        return scope
    return {**scope, "client": (headers.get("x-fc-client-ip") or "127.0.0.1", 0)}
