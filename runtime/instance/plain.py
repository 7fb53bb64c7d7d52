"""Calls plain functions: handlers with an event and a context, and hooks; async ones here, sync ones in threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from runtime.contract import CONTROL_PATH_HTTP, HEADER_CONTROL_PATH
from runtime.instance import asgi
from runtime.instance.asgi import Receive, Scope, Send
from runtime.instance.context import context_from
from runtime.instance.envelope import HttpAnswer, HttpRequest, answer_from, body_from, event_from


class Calls:
    """Runs sync functions in as many threads as the instance takes requests at once, made when first needed."""

    def __init__(self, concurrency: int) -> None:
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="handler")

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*arguments)
        result = await asyncio.get_running_loop().run_in_executor(
            self._threads, contextvars.copy_context().run, _call, function, arguments
        )
        return await result if inspect.isawaitable(result) else result


class PlainApp:
    """A handler(event, context) as an ASGI app. What the handler raises goes through."""

    def __init__(self, handler: Callable[..., Any], calls: Calls) -> None:
        self._handler = handler
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = asgi.headers_of(scope)
        body = await asgi.read_body(receive)
        context = context_from(headers)
        if headers.get(HEADER_CONTROL_PATH) == CONTROL_PATH_HTTP:
            result = answer_from(await self._calls.call(self._handler, _event(scope, headers, body), context))
        else:
            content, content_type = body_from(await self._calls.call(self._handler, body, context))
            result = HttpAnswer(200, [("content-type", content_type)], content)
        await asgi.answer(send, result.status, result.headers, result.body)


class FunctionExited(Exception):
    """The function called sys.exit()."""


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except SystemExit as error:  # in a thread it would end nothing, and nobody would hear of it
        raise FunctionExited(f"the function called exit({error.code!r})") from error


def _event(scope: Scope, headers: dict[str, str], body: bytes) -> bytes:
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    return event_from(HttpRequest(scope["method"], path, query, headers, body, time.time()))
