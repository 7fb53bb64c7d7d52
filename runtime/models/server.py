"""Serves a model on the instance's socket, by the gateway's own protocol code.

A plain JSON request makes no task and no future: its body is read where it arrives, waits in the model's queue with
what came in the same turn of the loop, and its answer is one write. Other protocols are `routes`, each request a task.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from runtime.contract import (
    CONTROL_PATH_HTTP,
    HEADER_BASE_PATH,
    HEADER_CONTROL_PATH,
    HEADER_ERROR_TYPE,
    HEADER_LOG_RESULT,
    HEADER_LOG_TYPE,
    HEADER_REQUEST_ID,
    PATH_INITIALIZE,
    PATH_INVOKE,
    PATH_PRE_STOP,
)
from runtime.http import instance_socket
from runtime.http.exchange import Exchange
from runtime.http.framing import CRLF, status_line
from runtime.http.head import Request as Head
from runtime.marks import HeldMarks, name_of
from runtime.models import json_api
from runtime.models.batching import Job
from runtime.models.errors import ModelError
from runtime.models.heads import headers_of, request_id_of, within
from runtime.models.model import Model
from runtime.models.routes import Answer, Direct, Handler, Request, Routes
from runtime.models.tensors import widened

log = logging.getLogger(__name__)

_JSON: Final = [("content-type", "application/json")]
_OK_JSON: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_UNHANDLED: Final = "UnhandledInvocationError"  # FC's word for a failure that is the function's own
_JOINED_BYTES_MAX: Final = 65_536  # above it, pieces go out one by one: copying would cost more than it saves


class ModelServer:
    """Serves until SIGTERM, then until what is inside is answered."""

    def __init__(
        self, model: Model, routes: Routes, path: str, drain_s: float, on_ready: Callable[[], None], *, warms_up: bool
    ) -> None:
        """With `warms_up` the model is ready before `on_ready`, else when POST /initialize has come."""
        self.model = model
        self.routes = routes
        self._path = path
        self._drain_s = drain_s
        self._on_ready = on_ready
        self._warms_up = warms_up
        self._tasks: set[asyncio.Task[None]] = set()
        self.marks = HeldMarks(lambda write: asyncio.get_running_loop().call_soon(write))
        self._model_paths = {
            f"/v1/models/{model.name}:predict",
            f"/v1/models/{model.name}/versions/{model.version}:predict",
        }
        self.started = False

    async def serve(self) -> None:
        """Raises OSError: nothing can listen at the path. Raises ModelUnusable."""
        stop = instance_socket.stop_signal()
        await (self.model.load() if self._warms_up else self.model.open())
        json_api.refuse_overflow()
        await instance_socket.serve(self.take, self._path, self._drain_s, stop, self._listens)
        self.marks.write()
        log.info("model.ended %s", self._counted())

    def _listens(self) -> None:
        self.started = True
        self._on_ready()

    def _counted(self) -> str:
        """How batches came out, for who reads the log; what was run to warm up is among them."""
        statistics = self.model.statistics
        batches = {rows: batch.compute_infer.count for rows, batch in sorted(statistics.batches.items())}
        return f"name={self.model.name} requests={statistics.success.count} batches={batches}"

    def take(self, exchange: Exchange) -> None:
        """One request."""
        if exchange.problem is not None:
            _answer(exchange, Answer(exchange.problem.status, [], [exchange.problem.message.encode()]))
            return
        head = exchange.request
        way = head.note
        if way is None:
            way = head.note = self._way(head)
        call: _Plain | _Direct | _Routed
        if way.handler is None:
            call = _Plain(self, exchange, way)
        elif way.direct is not None:
            call = _Direct(self, exchange, way, way.direct)
        else:
            call = _Routed(self, exchange, way, way.handler)
        if head.expects_continue:
            exchange.send_continue()
        call.body_arrived()

    def begin(self, call: _Routed) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(call.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _way(self, head: Head) -> _Way:
        headers = headers_of(head)
        control_path = headers.get(HEADER_CONTROL_PATH, "")
        raw_path, _, _ = head.target.partition(b"?")
        path = within(raw_path.decode("latin-1"), headers.get(HEADER_BASE_PATH, ""))
        wants_log, mark = HEADER_LOG_TYPE in headers, name_of(control_path)
        if control_path == PATH_INITIALIZE:
            return _Way(self._initialize, path, mark, False, wants_log)
        if control_path == PATH_PRE_STOP:
            return _Way(_nothing, path, mark, False, wants_log)
        is_http = control_path != PATH_INVOKE
        handler = self.routes.find(path) if is_http else None
        if handler is not None:
            direct = self.routes.direct(handler, head.method.decode("latin-1"), path, headers)
            return _Way(handler, path, mark, False, wants_log, direct)
        as_tensorflow = is_http and path in self._model_paths
        if is_http and not as_tensorflow and path not in ("/", "/predict", CONTROL_PATH_HTTP):
            return _Way(self._not_found, path, mark, False, wants_log)
        if head.method != b"POST":
            return _Way(_wrong_method, path, mark, False, wants_log)
        return _Way(None, path, mark, as_tensorflow, wants_log)

    async def _initialize(self, request: Request) -> Answer:  # noqa: ARG002 - a handler's
        try:
            await self.model.load()
        except ModelError as error:
            return Answer(500, [(HEADER_ERROR_TYPE, _UNHANDLED), *_JSON], [json_api.error(str(error))])
        return Answer()

    async def _not_found(self, request: Request) -> Answer:
        allowed = ", ".join(("/", "/predict", *sorted(self._model_paths)))
        return Answer(404, list(_JSON), [json_api.error(f"path {request.path}: {allowed} are served")])


async def _nothing(request: Request) -> Answer:  # noqa: ARG001 - a handler's
    return Answer()


async def _wrong_method(request: Request) -> Answer:
    return Answer(405, [("allow", "POST"), *_JSON], [json_api.error(f"method {request.method}: POST is allowed")])


class _Way(NamedTuple):
    """What a head decides: kept with it, for the next request that has the same."""

    handler: Handler | None  # None: plain JSON
    path: str  # below the function's URL
    mark: str
    as_tensorflow: bool
    wants_log: bool
    direct: Direct | None = None


class _Plain:
    """One plain JSON request, as an exchange's owner."""

    __slots__ = ("_by_row", "_exchange", "_job", "_server", "_way")

    def __init__(self, server: ModelServer, exchange: Exchange, way: _Way) -> None:
        self._server = server
        self._exchange = exchange
        self._way = way
        self._by_row = False
        self._job: Job | None = None
        exchange.owner = self

    def body_arrived(self) -> None:
        exchange = self._exchange
        if not exchange.complete:
            return
        pieces = exchange.take_body()
        model = self._server.model
        try:
            asked = json_api.read(pieces[0] if len(pieces) == 1 else b"".join(pieces), model.inputs)
            self._by_row = asked.by_row
            self._job = model.submit(asked.inputs, self._done)
        except Exception as error:
            self._refuse(error)

    def client_gone(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._server.marks.add(self._way.mark, request_id_of(self._exchange.request), failed=False)

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...

    def _done(self, job: Job) -> None:
        if job.error is not None:
            self._refuse(job.error)
            return
        assert job.results is not None, "a job without an error has results"
        exchange, way, results = self._exchange, self._way, job.results
        try:
            if bf16 := self._server.model.bf16_outputs:
                results = {name: widened(array) if name in bf16 else array for name, array in results.items()}
            body = json_api.write(results, by_row=self._by_row, as_tensorflow=way.as_tensorflow)
        except Exception as error:  # the requests of the same batch are answered all the same
            self._refuse(error)
            return
        lines = self._server.marks.add(self._way.mark, request_id_of(exchange.request), failed=False)
        if exchange.keep_alive and not way.wants_log:
            exchange.write([_OK_JSON % (len(body), body)])
            exchange.finish()
        else:
            _answer(exchange, _with_log(Answer(200, list(_JSON), [body]), way, lines))

    def _refuse(self, error: Exception) -> None:
        head = self._exchange.request
        if isinstance(error, ModelError):
            headers = [(HEADER_ERROR_TYPE, _UNHANDLED), *_JSON] if error.status >= 500 else list(_JSON)
            answer = Answer(error.status, headers, [json_api.error(str(error))])
        else:
            answer = _mistake(head, error)
        lines = self._server.marks.add(self._way.mark, request_id_of(head), failed=answer.status >= 500)
        _answer(self._exchange, _with_log(answer, self._way, lines))


class _Direct:
    """One request of another protocol that needs no task."""

    __slots__ = ("_cancel", "_direct", "_exchange", "_server", "_way")

    def __init__(self, server: ModelServer, exchange: Exchange, way: _Way, direct: Direct) -> None:
        self._server = server
        self._exchange = exchange
        self._way = way
        self._direct = direct
        self._cancel: Callable[[], None] | None = None
        exchange.owner = self

    def body_arrived(self) -> None:
        if self._exchange.complete:
            try:
                self._cancel = self._direct(self._exchange.take_body(), self._reply)
            except Exception as error:
                self._reply(error)

    def client_gone(self) -> None:
        if self._cancel is not None:
            self._cancel()
            self._server.marks.add(self._way.mark, request_id_of(self._exchange.request), failed=False)

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...

    def _reply(self, answer: Answer | Exception) -> None:
        exchange = self._exchange
        if isinstance(answer, Exception):
            answer = _mistake(exchange.request, answer)
        lines = self._server.marks.add(self._way.mark, request_id_of(exchange.request), failed=answer.status >= 500)
        _answer(exchange, _with_log(answer, self._way, lines))


class _Routed:
    """One request of another protocol."""

    __slots__ = ("_exchange", "_handler", "_server", "_task", "_way")

    def __init__(self, server: ModelServer, exchange: Exchange, way: _Way, handler: Handler) -> None:
        self._server = server
        self._exchange = exchange
        self._way = way
        self._handler = handler
        self._task: asyncio.Task[None] | None = None
        exchange.owner = self

    def body_arrived(self) -> None:
        if self._exchange.complete:
            self._task = self._server.begin(self)

    def client_gone(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...

    async def run(self) -> None:
        exchange, head = self._exchange, self._exchange.request
        _, _, query = head.target.partition(b"?")
        request = Request(
            head.method.decode("latin-1"),
            self._way.path,
            query.decode("latin-1"),
            headers_of(head),
            exchange.take_body(),
        )
        request_id = request.headers.get(HEADER_REQUEST_ID, "-")
        try:
            answer = await self._handler(request)
        except asyncio.CancelledError:
            self._server.marks.add(self._way.mark, request_id, failed=False)
            raise
        except Exception as error:
            answer = _mistake(head, error)
        lines = self._server.marks.add(self._way.mark, request_id, failed=answer.status >= 500)
        if self._way.mark != "Invoke":
            self._server.marks.write()  # who has the answer to a hook finds its lines in the log
        _answer(exchange, _with_log(answer, self._way, lines))


def _mistake(head: Head, error: Exception) -> Answer:
    """Of ours."""
    log.error("%s %s failed", head.method.decode("latin-1"), head.target.decode("latin-1"), exc_info=error)
    return Answer(500, [(HEADER_ERROR_TYPE, _UNHANDLED), *_JSON], [json_api.error(repr(error))])


def _with_log(answer: Answer, way: _Way, lines: str) -> Answer:
    if way.wants_log:
        answer.headers.append((HEADER_LOG_RESULT, base64.b64encode(lines.encode()).decode()))
    return answer


def _answer(exchange: Exchange, answer: Answer) -> None:
    """Does nothing once the client is gone."""
    parts = [status_line(answer.status)]
    for name, value in answer.headers:
        parts += (name.encode("latin-1"), b": ", value.encode("latin-1"), CRLF)
    length = sum(map(len, answer.body))
    parts.append(b"content-length: %d\r\n" % length)
    if not exchange.keep_alive or not exchange.complete:
        exchange.keep_alive = False
        parts.append(b"connection: close\r\n")
    parts.append(CRLF)
    body = answer.body if exchange.method != b"HEAD" else []
    if length <= _JOINED_BYTES_MAX:
        exchange.write([b"".join((*parts, *body))])
    else:
        exchange.write([b"".join(parts), *body])  # type: ignore[list-item] # a transport takes any buffer
    exchange.finish()
