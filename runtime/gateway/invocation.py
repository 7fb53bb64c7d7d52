"""One request's way to an instance: a slot or a place in the queue, a connection, the answer, or why there is none."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, ClassVar, Final

from runtime.contract import (
    HEADER_BASE_PATH,
    HEADER_CLIENT_IP,
    HEADER_COLD_START,
    HEADER_ERROR_TYPE,
    HEADER_INSTANCE_ID,
    HEADER_INVOCATION_DURATION,
    HEADER_REQUEST_ID,
    HEADER_SERVICE_VERSION,
    HEADER_STATUS,
    INITIALIZER_FAILED,
    PATH_INVOKE,
)
from runtime.gateway import answers, refusal
from runtime.gateway.gate import Full, Gate, Lease, Ticket
from runtime.gateway.headers import RequestHead
from runtime.gateway.refusal import Refusal
from runtime.gateway.relay import Relay
from runtime.gateway.resolve import TriggerAsk
from runtime.gateway.routes import Destination
from runtime.gateway.upstreams import Upstream
from runtime.http.client import ClientConnection, ConnectionFailed, ResponseMalformed
from runtime.http.exchange import Exchange
from runtime.http.fields import find
from runtime.http.pool import NoResources, Unreachable
from runtime.signature import BodyDigest

if TYPE_CHECKING:
    from runtime.gateway.gateway import Gateway

# RFC 9110, section 9.2.1: what may be sent twice without asking.
_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))

# A request is sent to so many instances at most: one that kills each of them must end.
_SENT_MAX: Final = 3

# Header lines, encoded once; what differs from request to request is put in.
_INVOKE_LINE: Final = f"POST {PATH_INVOKE} HTTP/1.1\r\n".encode()
_TO_INSTANCE: Final = f"{HEADER_REQUEST_ID}: %b\r\n{HEADER_CLIENT_IP}: %b\r\n".encode()
_BASE_PATH: Final = f"{HEADER_BASE_PATH}: %b\r\n".encode()
_TO_CLIENT: Final = f"{HEADER_REQUEST_ID}: %b\r\n{HEADER_INVOCATION_DURATION}: %d\r\n".encode()
_COLD_START: Final = f"{HEADER_COLD_START}: true\r\n".encode()
_FUNCTION_ERROR: Final = f"{HEADER_ERROR_TYPE}: UnhandledInvocationError\r\n".encode()
_ERROR_TYPE: Final = HEADER_ERROR_TYPE.encode()
_STATUS: Final = HEADER_STATUS.encode()


class Invocation(Relay):
    """A request for a function. `trigger` is how it was asked for; None for InvokeFunction."""

    # An instance's word on these does not count.
    said_here: ClassVar = frozenset(
        name.encode()
        for name in (
            HEADER_REQUEST_ID,
            HEADER_INSTANCE_ID,
            HEADER_INVOCATION_DURATION,
            HEADER_SERVICE_VERSION,
            HEADER_STATUS,
        )
    )

    __slots__ = (
        "_begun_at_s",
        "_cold_start",
        "_destination",
        "_gate",
        "_gateway",
        "_lease",
        "_sent_times",
        "_ticket",
        "_trigger",
        "request_id",
    )

    def __init__(
        self,
        gateway: Gateway,
        exchange: Exchange,
        head: RequestHead,
        destination: Destination,
        trigger: TriggerAsk | None,
        request_id: str,
        body_digest: BodyDigest | None = None,
    ) -> None:
        settings = gateway.settings
        super().__init__(
            exchange,
            head,
            body_bytes_max=(settings.invocation_body_bytes_max if trigger is None else settings.trigger_body_bytes_max),
            held_bytes_max=settings.held_body_bytes_max,
            body_digest=body_digest,
        )
        self._gateway = gateway
        self._destination = destination
        self._gate: Gate = gateway.gate(destination.key)
        self._trigger = trigger
        self.request_id = request_id
        self._lease: Lease | None = None
        self._ticket: Ticket | None = None
        self._begun_at_s = 0.0
        self._cold_start = False
        self._sent_times = 0

    # -- a slot --------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        outcome = self._gate.reserve(self, monotonic())
        if isinstance(outcome, Full):
            message = f"no instance is free and {outcome.queue_length_max} requests wait already: no more are allowed"
            self.refuse(refusal.exhausted(message))
            return
        self._take(outcome)
        if self.head.expects_continue:
            self.exchange.send_continue()

    def granted(self, lease: Lease) -> None:
        """A slot is ours: after a wait, or at once."""
        gateway = self._gateway
        if self._ticket is not None:
            self._ticket = None
            gateway.waiting.discard(self)
        self._lease = lease
        self._cold_start = self._cold_start or lease.cold_start
        self._begun_at_s = monotonic()
        gateway.running(self._destination.route.timeout_s).add(self)
        upstream = gateway.upstreams.of(lease.instance)
        connection = upstream.pool.take(must_be_alive=not self._may_be_sent_twice)
        if connection is not None:
            self._send(connection)
        else:
            gateway.spawn(self._connect(lease, upstream))

    def waited_too_long(self) -> None:
        """The queue wait's time is over: for want of a slot, or because the function cannot be started."""
        reason = "" if self._gate.is_served else self._gate.last_failure
        if not reason:
            wait_s = self._gateway.settings.queue_wait_s
            self.refuse(refusal.exhausted(f"no instance became free within {wait_s:g} s"))
        elif reason.startswith(INITIALIZER_FAILED):
            self.give_up()
            if not self.exchange.gone:
                answers.not_initialized(self.exchange, reason, self.request_id, status=self._status_of_failure(502))
        else:
            self.refuse(refusal.not_started(reason))

    def timed_out(self) -> None:
        """The function's time is over. Its answer would come to nobody, so the connection is cut."""
        if self._answered or self.exchange.gone:
            self._drop_connection()
            self.exchange.abort()
            self._over(None)
            return
        upstream = self._gateway.upstreams.of(self._held_lease.instance)
        self.give_up()
        answers.timed_out(
            self.exchange,
            self._destination.route.timeout_s,
            self.request_id,
            status=self._status_of_failure(504),
            more_headers=upstream.id_line + self._destination.response_headers,
        )

    # -- what a relay asks ---------------------------------------------------------------------------------------------

    def request_head(self) -> bytes:
        exchange, trigger, destination = self.exchange, self._trigger, self._destination
        ours = _TO_INSTANCE % (self.request_id.encode(), exchange.client_ip)
        if trigger is None:
            line, fixed = _INVOKE_LINE, destination.invoke_headers
        else:
            line, fixed = b"%b %b HTTP/1.1\r\n" % (exchange.method, trigger.target), destination.http_headers
            if trigger.base_path:
                ours += _BASE_PATH % trigger.base_path
        if self.head.host is None:
            ours += b"host: localhost\r\n"  # an HTTP/1.0 client's request goes on as 1.1, which needs one
        return b"".join((line, *self.head.passed, ours, fixed))

    def answer_head(self, connection: ClientConnection) -> tuple[int, bytes]:
        duration_ms = round((monotonic() - self._begun_at_s) * 1000.0)
        lines = _TO_CLIENT % (self.request_id.encode(), duration_ms)
        lines += self._gateway.upstreams.of(self._held_lease.instance).id_line + self._destination.response_headers
        if self._cold_start:
            lines += _COLD_START
        if self._trigger is not None:
            return connection.status, lines
        # InvokeFunction: a failed function is no failed call. Which kind of error it was, the instance may have said.
        failed = connection.status != 200 or find(connection.headers, _STATUS) == b"404"
        if failed and find(connection.headers, _ERROR_TYPE) is None:
            lines += _FUNCTION_ERROR
        return 200, lines

    def response_failed(self, error: ConnectionFailed) -> None:
        if not isinstance(error, ResponseMalformed):
            self._gateway.upstreams.suspect(self._held_lease.instance)
        super().response_failed(error)

    def lost(self, error: ConnectionFailed) -> None:
        """The instance went away before it answered; whether the request may be sent again, only it can tell."""
        gateway = self._gateway
        gateway.log_lost(self.request_id, self._held_lease.instance.instance_id, error)
        may = self._may_be_sent_twice and self.can_be_sent_again
        if not may or self._sent_times >= _SENT_MAX:
            self.refuse(refusal.died(sent_again=may))
            return
        self._requeue()

    def ended(self, refusal: Refusal | None) -> None:
        now_s = monotonic()
        usage = self._gate.usage
        usage.finished += 1
        if refusal is not None and refusal.is_platform_fault:
            usage.failed += 1
        if self._ticket is not None:
            self._gate.cancel(self._ticket, now_s)
            self._gateway.waiting.discard(self)
            self._ticket = None
        self._return_lease(now_s)

    def write_refusal(self, refusal: Refusal) -> None:
        answers.refuse(self.exchange, refusal, self.request_id)

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _held_lease(self) -> Lease:
        assert self._lease is not None, "only a request that was sent gets here"
        return self._lease

    def _status_of_failure(self, at_trigger: int) -> int:
        """FC answers a failed invocation with 200; a browser at a trigger should not take it for a page."""
        return 200 if self._trigger is None else at_trigger

    @property
    def _may_be_sent_twice(self) -> bool:
        if self._destination.route.retryable:
            return True
        return self._trigger is not None and self.exchange.method in _SAFE

    def _take(self, outcome: Lease | Ticket) -> None:
        if isinstance(outcome, Lease):
            self.granted(outcome)
            return
        self._ticket = outcome
        self._gateway.waiting.add(self)
        self._gateway.reporter.soon()

    def _send(self, connection: ClientConnection) -> None:
        self._sent_times += 1
        self.send(connection)

    async def _connect(self, lease: Lease, upstream: Upstream) -> None:
        try:
            connection = await upstream.pool.connect()
        except Unreachable as error:
            self._gateway.upstreams.eject(upstream, str(error))
            if self._lease is lease:
                self._requeue()
            return
        except NoResources as error:
            if self._lease is lease:
                self.refuse(refusal.unavailable(str(error)))
            return
        if self._lease is lease:
            self._send(connection)
        else:
            upstream.pool.put_back(connection)  # the request is over: its client is gone, or its time

    def _requeue(self) -> None:
        """Wait for another instance, as the first of those who wait: it has waited already."""
        now_s = monotonic()
        self._return_lease(now_s)
        self._take(self._gate.reserve_again(self, now_s))

    def _return_lease(self, now_s: float) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._gateway.running(self._destination.route.timeout_s).discard(self)
            self._gateway.give_back(lease, now_s)
