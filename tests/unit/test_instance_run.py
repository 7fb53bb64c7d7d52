"""What an instance's log and its caller are told of one request, in which order: the same of handlers and of apps."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from runtime.instance import asgi, log_tail
from runtime.instance.app import InstanceApp
from runtime.instance.asgi import Receive, Scope, Send
from runtime.instance.envelope import HttpRequest
from runtime.instance.handler import HandlerKind
from runtime.instance.plain import PlainInstance

HEADERS = {"x-fc-request-id": "r-1", "x-fc-control-path": "/invoke"}
TAIL = {**HEADERS, "x-fc-log-type": "Tail"}
START, END = "FC Invoke Start RequestId: r-1", "FC Invoke End RequestId: r-1"
FAILED = f"{END}, Error: Unhandled function error"


@dataclass
class Told:
    """Logs are without the frames of tracebacks."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    @property
    def tail(self) -> list[str]:
        return lines_of(base64.b64decode(self.headers["x-fc-log-result"]))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While an instance writes its output, of which tails are taken."""
        written = io.BytesIO()
        stream = log_tail.Tapped(written, "utf-8", write_through=True)
        with redirect_stdout(stream), redirect_stderr(stream):
            yield
        self.log = lines_of(written.getvalue())


def lines_of(log: bytes) -> list[str]:
    return [line for line in log.decode().splitlines() if not line.startswith((" ", "Traceback"))]


async def handled(handler: Any, headers: dict[str, str]) -> Told:
    told = Told()
    with told.listening():
        answer = await PlainInstance(handler, 2, {}).answer(HttpRequest("POST", "/invoke", "", headers, b"", 0.0))
    told.status, told.headers = answer.status, dict(answer.headers)
    return told


async def served(app: Any, headers: dict[str, str], kind: str = "http") -> Told:
    """A "late" error is one that breaks the connection, as the answer has begun."""
    told = Told()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            told.status = message["status"]
            told.headers = {name.decode(): value.decode() for name, value in message["headers"]}

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": kind, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    with told.listening(), suppress(LateError):
        await InstanceApp(app, HandlerKind.ASGI, 2, {})(scope, receive, send)
    return told


class LateError(Exception):
    pass


async def good_handler(event: bytes, context: object) -> bytes:
    print("at work")  # noqa: T201
    return b"ok"


async def good_app(scope: Scope, receive: Receive, send: Send) -> None:
    print("at work")  # noqa: T201
    await asgi.answer(send, 200, [], b"ok")


async def bad_handler(event: bytes, context: object) -> bytes:
    raise ValueError("wrong")


async def bad_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("wrong")


@pytest.mark.parametrize(("tell", "code"), [(handled, good_handler), (served, good_app)])
async def test_the_log_has_the_request_between_its_marks_and_the_tail_all_of_it(tell: Any, code: Any) -> None:
    told = await tell(code, HEADERS)
    assert (told.status, told.log) == (200, [START, "at work", END])
    assert "x-fc-log-result" not in told.headers
    told = await tell(code, TAIL)
    assert (told.status, told.log, told.tail) == (200, [START, "at work", END], [START, "at work", END])


@pytest.mark.parametrize(("tell", "code"), [(handled, bad_handler), (served, bad_app)])
async def test_what_the_function_raised_is_told_in_the_log_before_its_end_and_in_the_answer(
    tell: Any, code: Any
) -> None:
    for headers in (HEADERS, TAIL):
        told = await tell(code, headers)
        assert told.headers["x-fc-error-type"] == "UnhandledInvocationError"
        assert told.log == [START, "ValueError: wrong", FAILED]
    assert told.tail == told.log


async def test_an_app_that_fails_after_its_answer_began_has_its_end_in_the_log() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await good_app(scope, receive, send)
        raise LateError

    told = await served(app, HEADERS)
    assert told.log[0] == START
    assert told.log[1:3] == ["at work", f"{__name__}.LateError"]
    assert told.log[3:] == [FAILED]


async def test_a_tail_ends_where_the_answer_begins_and_the_request_in_the_log_with_it() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await good_app(scope, receive, send)
        print("afterwards")  # noqa: T201

    told = await served(app, TAIL)
    assert told.tail == [START, "at work", END]
    assert told.log == [START, "at work", END, "afterwards"]


@pytest.mark.parametrize("headers", [HEADERS, TAIL], ids=["log", "tail"])
async def test_an_app_that_answers_with_an_error_of_its_own_has_not_failed(headers: dict[str, str]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asgi.answer(send, 500, [("x-fc-error-type", "Own")], b"")

    assert (await served(app, headers)).log == [START, END]


async def test_a_client_that_left_before_its_request_was_whole_is_no_failure() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise asgi.ClientGone

    told = await served(app, HEADERS)
    assert (told.status, told.log) == (0, [START, END])


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (ValueError("wrong"), ["ValueError: wrong", FAILED]),
        (type("WebSocketDisconnect", (Exception,), {})(), [END]),
    ],
)
async def test_a_conversation_fails_by_what_it_raises_unless_its_client_left(error: Exception, end: list[str]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    assert (await served(app, HEADERS, "websocket")).log == [START, *end]


@pytest.mark.parametrize(("path", "name"), [("/initialize", "Initialize"), ("/pre-stop", "PreStop")])
async def test_hooks_are_marked_by_their_names(path: str, name: str) -> None:
    told = await served(good_app, {**HEADERS, "x-fc-control-path": path})
    assert told.log == [f"FC {name} Start RequestId: r-1", "at work", f"FC {name} End RequestId: r-1"]


async def test_a_handler_that_waits_for_a_task_it_has_cancelled_fails_as_by_any_exception() -> None:
    async def handler(event: Any, context: Any) -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task

    told = await handled(handler, HEADERS)
    assert (told.status, told.headers["x-fc-error-type"]) == (200, "UnhandledInvocationError")
    assert told.log[-1] == FAILED
