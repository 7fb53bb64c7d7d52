"""One attempt at an asynchronous invocation: its payload to an instance, the answer collected, what that means."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from runtime.async_invocation.retry import Kind, Outcome
from runtime.async_invocation.store import Stored
from runtime.contract import (
    HEADER_CLIENT_IP,
    HEADER_ERROR_TYPE,
    HEADER_REQUEST_ID,
    HEADER_RETRY_COUNT,
    HEADER_STATUS,
    PATH_INVOKE,
)
from runtime.gateway.gate import Lease
from runtime.gateway.routes import Destination
from runtime.http.client import ClientConnection, ConnectionFailed, NotSent, ResponseMalformed
from runtime.http.fields import find
from runtime.http.framing import header_block
from runtime.http.head import Response
from runtime.http.pool import NoResources, Pool, Unreachable

if TYPE_CHECKING:
    from runtime.gateway.gateway import Gateway

UNHANDLED: Final = "UnhandledInvocationError"
_INVOKE: Final = b"POST %b HTTP/1.1\r\n%b" % (
    PATH_INVOKE.encode(),
    header_block([("host", "localhost"), ("content-type", "application/octet-stream"), (HEADER_CLIENT_IP, "")]),
)
_ERROR_CHARS_MAX: Final = 1000  # kept of what a function says of its failure


async def attempt(gateway: Gateway, lease: Lease, destination: Destination, stored: Stored) -> Outcome:
    """Send it to the leased instance and wait for the answer, within the function's timeout."""
    record = stored.record
    upstream = gateway.upstreams.of(lease.instance)
    reply = _Reply(gateway.settings.async_result_bytes_max)
    data = _head(destination, stored) + stored.payload
    try:
        await _ask(upstream.pool, reply, data)
    except Unreachable as error:
        gateway.upstreams.eject(upstream, str(error))
        return Outcome(Kind.PLATFORM_ERROR, str(error))
    except NoResources as error:
        return Outcome(Kind.PLATFORM_ERROR, str(error))
    try:
        async with asyncio.timeout(destination.route.timeout_s):
            await reply.done
    except TimeoutError:
        message = f"Function timed out after {destination.route.timeout_s:g} seconds"
        return Outcome(Kind.FUNCTION_ERROR, message, UNHANDLED, _error(message, "FunctionTimeout"))
    except ResponseMalformed as error:
        message = f"the function's server answered with no HTTP: {error}"
        return Outcome(Kind.FUNCTION_ERROR, message, UNHANDLED, _error(message, UNHANDLED))
    except ConnectionFailed as error:
        gateway.upstreams.suspect(lease.instance)
        gateway.log_lost(record.request_id, lease.instance.instance_id, error)
        message = "Process exited unexpectedly before completing request"
        return Outcome(Kind.FUNCTION_ERROR, message, UNHANDLED, _error(message, UNHANDLED))
    finally:
        reply.give_up()
    is_http = bool(stored.request_head)
    return outcome_of(reply.status, reply.error_type, reply.fc_status, reply.body, is_http=is_http)


async def _ask(pool: Pool, reply: _Reply, data: bytes) -> None:
    """Send it over an idle connection, or a new one if all of them turn out to be closed."""
    while True:
        connection = pool.take(must_be_alive=True) or await pool.connect()
        try:
            reply.ask(connection, data)
            return
        except NotSent:
            connection.close()


def outcome_of(status: int, error_type: str, fc_status: str, body: bytes, *, is_http: bool = False) -> Outcome:
    """What an instance's answer means, as for a synchronous invocation; to a trigger's request, as HTTP says. Pure."""
    is_good = status < 400 if is_http else status == 200
    if is_good and not error_type and fc_status != "404":
        return Outcome(Kind.SUCCESS, result=body)
    return Outcome(Kind.FUNCTION_ERROR, _message(status, body), error_type or UNHANDLED, body)


def _message(status: int, body: bytes) -> str:
    """The function's own words, if it has said some."""
    try:
        said = json.loads(body)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        said = body[:_ERROR_CHARS_MAX].decode("utf-8", "replace")
    return str(said)[:_ERROR_CHARS_MAX] or f"the function answered with status {status}"


def _error(message: str, kind: str) -> bytes:
    return json.dumps({"errorMessage": message, "errorType": kind}).encode()


def _head(destination: Destination, stored: Stored) -> bytes:
    record, head = stored.record, stored.request_head
    fixed = destination.http_headers if head else destination.invoke_headers
    lines = header_block([(HEADER_REQUEST_ID, record.request_id), (HEADER_RETRY_COUNT, record.attempts - 1)])
    length = b"content-length: %d\r\n" % len(stored.payload)
    if not stored.payload and head.startswith((b"GET ", b"HEAD ", b"OPTIONS ", b"DELETE ")):
        length = b""
    return b"%b%b%b%b\r\n" % (head or _INVOKE, lines, fixed, length)


class _Reply:
    """Collects an answer. `done` ends with it, or with why there is none."""

    def __init__(self, body_bytes_max: int) -> None:
        self._connection: ClientConnection | None = None
        self._left = body_bytes_max
        self._pieces: list[bytes] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.error_type = ""
        self.fc_status = ""

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    def ask(self, connection: ClientConnection, data: bytes) -> None:
        """Raises NotSent: the connection is closed."""
        connection.ask(self, data, head_only=data.startswith(b"HEAD "))
        self._connection = connection

    def give_up(self) -> None:
        """Cut the connection, unless the answer was complete."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def interim_arrived(self, response: Response) -> None: ...

    def response_arrived(self) -> None:
        connection = self._connection
        assert connection is not None, "told of nothing after it was given up"
        for piece in connection.take_body():
            self._pieces.append(piece[: self._left])
            self._left -= len(self._pieces[-1])
        if connection.ended:
            self._connection = None
            self.status = connection.status
            self.error_type = (find(connection.headers, HEADER_ERROR_TYPE.encode()) or b"").decode("latin-1")
            self.fc_status = (find(connection.headers, HEADER_STATUS.encode()) or b"").decode("latin-1")
            connection.release()
            if not self.done.done():
                self.done.set_result(None)

    def response_failed(self, error: ConnectionFailed) -> None:
        self._connection = None
        if not self.done.done():
            self.done.set_exception(error)

    def upstream_paused(self) -> None: ...

    def upstream_resumed(self) -> None: ...
