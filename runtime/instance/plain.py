"""Calls plain functions: handlers with an event and a context, and hooks; async ones here, sync ones in threads."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from runtime.contract import CONTROL_PATH_HTTP
from runtime.instance.context import Context
from runtime.instance.envelope import HttpAnswer, HttpRequest, answer_from, body_from, event_from
from runtime.instance.handler import takes_argument
from runtime.instance.run import Run
from runtime.instance.threads import Threads

Hook = Callable[..., Any]


class Calls:
    """Runs sync functions in as many threads as the instance takes requests at once, made when first needed."""

    def __init__(self, concurrency: int) -> None:
        self._threads = Threads(concurrency, "handler")

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*arguments)
        result = await self._threads.run(_call, function, arguments)
        return await result if inspect.isawaitable(result) else result


class PlainInstance:
    """A handler(event, context), and the hooks beside it: a request that is there whole becomes an answer."""

    def __init__(self, handler: Callable[..., Any], concurrency: int, hooks: dict[str, Hook]) -> None:
        """`hooks` has the functions to call for /initialize and /pre-stop; without one the handler is called."""
        self._handler = handler
        self._concurrency = concurrency
        self._hooks = hooks
        self._calls = Calls(concurrency)

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """What the function raises is told in the log and in the answer."""
        run = Run(request.headers, self._concurrency)
        try:
            found = await self._called(run.control_path, request)
        except (Exception, asyncio.CancelledError) as error:  # of a task that the function itself has cancelled, too
            found = run.failed(error)
        told = run.end()
        return HttpAnswer(found.status, [*found.headers, *told], found.body) if told else found

    async def _called(self, control_path: str, request: HttpRequest) -> HttpAnswer:
        headers, call = request.headers, self._calls.call
        hook = self._hooks.get(control_path)
        if hook is not None:
            await call(hook, *([Context(headers)] if takes_argument(hook) else []))
            return HttpAnswer()
        if control_path == CONTROL_PATH_HTTP:
            return answer_from(await call(self._handler, event_from(request), Context(headers)))
        content, content_type = body_from(await call(self._handler, request.body, Context(headers)))
        return HttpAnswer(200, [("content-type", content_type)], content)


class FunctionExited(Exception):
    """The function called sys.exit()."""


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except SystemExit as error:  # in a thread it would end nothing, and nobody would hear of it
        raise FunctionExited(f"the function called exit({error.code!r})") from error
