"""The ASGI app that an instance serves: it tells hooks from requests, prints Function Compute's log marks around
them, and turns what a function raises into an answer that says so."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from a2wsgi import WSGIMiddleware

from runtime.contract import (
    CONTROL_PATH_HTTP,
    HEADER_CONTROL_PATH,
    HEADER_ERROR_TYPE,
    HEADER_LOG_TYPE,
    HEADER_REQUEST_ID,
    PATH_INITIALIZE,
    PATH_PRE_STOP,
)
from runtime.instance import asgi, log_tail, mistakes
from runtime.instance.asgi import App, Receive, Scope, Send
from runtime.instance.context import REQUEST_ID, context_from
from runtime.instance.handler import HandlerKind, takes_argument
from runtime.instance.plain import Calls, PlainApp

Hook = Callable[..., Any]
_MARKS = {PATH_INITIALIZE: "Initialize", PATH_PRE_STOP: "PreStop"}
# What uvicorn and Starlette raise in a WebSocket's handler whose client has left. By name, as a function may bring its
# own Starlette.
_CLIENT_LEFT = ("ClientDisconnected", "WebSocketDisconnect")


class InstanceApp:
    """`hooks` has the functions to call for /initialize and /pre-stop; other hooks go to the app, as requests do."""

    def __init__(
        self, handler: Callable[..., Any], kind: HandlerKind, concurrency: int, hooks: dict[str, Hook]
    ) -> None:
        self._concurrency = concurrency
        self._calls = Calls(concurrency)
        self._hooks = hooks
        self._app = _as_asgi(handler, kind, concurrency, self._calls)

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
        mark = _MARKS.get(control_path, "Invoke")
        marks = _Marks(mark, request_id)
        if HEADER_LOG_TYPE in headers:
            send = log_tail.sender(send, log_tail.begin(self._concurrency), marks.end)
        marks.begin()
        answered = _talked if scope["type"] == "websocket" else _answered
        marks.end(await answered(work, _with_client(scope, headers), receive, send, control_path))

    def _hook_app(self, hook: Hook, headers: dict[str, str]) -> App:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - every app takes them
            await asgi.read_body(receive)
            await self._calls.call(hook, *([context_from(headers)] if takes_argument(hook) else []))
            await asgi.answer(send, 200, [], b"")

        return app


class _Marks:
    """Function Compute's lines in the log, around a request."""

    __slots__ = ("_ended", "_name", "_request_id")

    def __init__(self, name: str, request_id: str) -> None:
        self._name = name
        self._request_id = request_id
        self._ended = False

    def begin(self) -> None:
        print(f"FC {self._name} Start RequestId: {self._request_id}", flush=True)  # noqa: T201

    def end(self, failed: bool) -> None:
        """The second time does nothing: it was said before the answer began, for a caller who wanted it in there."""
        if not self._ended:
            self._ended = True
            error = ", Error: Unhandled function error" if failed else ""
            print(f"FC {self._name} End RequestId: {self._request_id}{error}", flush=True)  # noqa: T201


def _as_asgi(handler: Callable[..., Any], kind: HandlerKind, concurrency: int, calls: Calls) -> App:
    if kind is HandlerKind.ASGI:
        return handler
    if kind is HandlerKind.WSGI:
        wsgi: Callable[[Any, Any, Any], Awaitable[None]] = WSGIMiddleware(handler, workers=concurrency)
        return wsgi
    return PlainApp(handler, calls)


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
            await _answer_error(send, error, control_path)
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


async def _answer_error(send: Send, error: Exception, control_path: str) -> None:
    """A failed invocation is a 200 with an error type, as in FC; HTTP callers and hooks are told by the status."""
    statuses = {CONTROL_PATH_HTTP: 502, PATH_INITIALIZE: 500, PATH_PRE_STOP: 500}
    headers = [(HEADER_ERROR_TYPE, mistakes.UNHANDLED), ("content-type", "application/json")]
    await asgi.answer(send, statuses.get(control_path, 200), headers, mistakes.error_json(error))


def _with_client(scope: Scope, headers: dict[str, str]) -> Scope:
    """Behind a unix socket there is no client's address, which apps rely on; the gateway says whose request it is."""
    if scope.get("client"):
        return scope
    return {**scope, "client": (headers.get("x-fc-client-ip") or "127.0.0.1", 0)}
