"""One request's way to an instance: a slot or a place in the queue, a connection, the answer, or why there is none."""

from __future__ import annotations

import time
from asyncio import get_running_loop
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, Final

from mypy_extensions import mypyc_attr

from runtime.contract import HEADER_REQUEST_ID, INITIALIZER_FAILED
from runtime.gateway import answer_lines, answers, refusal
from runtime.gateway.access_log import Record
from runtime.gateway.bucket import Bucket
from runtime.gateway.gate import Full, Lease, Ticket
from runtime.gateway.metrics import CLIENT_GONE
from runtime.gateway.passage import Passage
from runtime.gateway.refusal import Refusal
from runtime.gateway.relay import Relay
from runtime.gateway.upstreams import Upstream
from runtime.gateway.wait import Wait, turn_away
from runtime.http.client import ClientConnection, ConnectionFailed, NotSent, ResponseMalformed
from runtime.http.exchange import Exchange
from runtime.http.fields import find
from runtime.http.head import Response
from runtime.http.pool import NoResources, Unreachable
from runtime.signature import BodyDigest

if TYPE_CHECKING:
    from runtime.gateway.gateway import Gateway

# A request is sent to so many instances at most: one that kills each of them must end.
_SENT_MAX: Final = 3

# What an instance has said before it was removed is here by then, unless the client is slow to take it.
_LAST_WORDS_S: Final = 3.0

_REQUEST_ID: Final = f"{HEADER_REQUEST_ID}: %b\r\n".encode()


@mypyc_attr(allow_interpreted_subclasses=True)
class Invocation(Relay):
    """A request for a function. `trigger` is how it was asked for; None for InvokeFunction."""

    said_here: ClassVar = answer_lines.SAID_HERE

    # As in a relay: most requests change little of it.
    _lease: Lease | None = None
    _wait: Wait | None = None
    _arrived_at_s = 0.0
    _begun_at_s = 0.0  # when it had a slot, the last time if it had several
    _cold_start = False
    _sent_times = 0
    _upstream: Upstream | None = None  # the instance that it was sent to last

    def __init__(
        self, gateway: Gateway, exchange: Exchange, passage: Passage, body_digest: BodyDigest | None = None
    ) -> None:
        super().__init__(
            exchange,
            passage.head,
            body_bytes_max=passage.way.body_bytes_max,
            held_bytes_max=gateway.settings.held_body_bytes_max,
            body_digest=body_digest,
        )
        self._gateway = gateway
        self._passage = passage
        self._way = way = passage.way
        self._gate = way.gate
        self.request_id = gateway.request_ids.new()

    # -- a slot --------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._arrived_at_s = now_s = monotonic()
        way = self._way
        if way.buckets is not None and self._is_throttled(way.buckets, now_s):
            return
        held_bytes = self._passage.held_bytes
        if self.exchange.body_bytes > held_bytes:  # more of it came at once than is held otherwise
            held_bytes = self.exchange.body_bytes
        outcome = self._gate.reserve(self, now_s, way.claim, held_bytes)
        if isinstance(outcome, Full):
            turn_away(outcome.outrun, now_s)
            self.refuse(refusal.exhausted(outcome.why, outcome.retry_after_s))
            return
        self._take(outcome)
        if self.head.expects_continue:
            self.exchange.send_continue()

    def granted(self, lease: Lease) -> None:
        """A slot is ours: after a wait, or at once."""
        gateway = self._gateway
        if self._wait is not None:
            self._wait.end()
            self._wait = None
        self._lease = lease
        if lease.cold_start:
            self._cold_start = True
        self._begun_at_s = now_s = monotonic()
        self._way.running.add(self, now_s)
        upstream = self._upstream = gateway.upstreams.of(lease.instance)
        self._send_over(upstream.pool.take(must_be_alive=not self._way.may_be_sent_twice), lease, upstream)

    def waited_too_long(self) -> None:
        """The queue wait's time is over: for want of a slot, or because the function cannot be started."""
        reason = "" if self._gate.is_served else self._gate.last_failure
        if not reason:
            self.give_up_waiting(self._gateway.settings.queue_wait_s)
        elif reason.startswith(INITIALIZER_FAILED):
            self._status = self._status_of_failure(502)
            self.give_up()
            if not self.exchange.gone:
                answers.not_initialized(self.exchange, reason, self.request_id, status=self._status)
        else:
            self.refuse(refusal.not_started(reason))

    def give_up_waiting(self, waited_s: float) -> None:
        retry_after_s = self._gate.retry_after_s(monotonic())
        self.refuse(refusal.exhausted(f"no instance became free within {waited_s:g} s", retry_after_s))

    def timed_out(self) -> None:
        """The function's time is over. Its answer would come to nobody, so the connection is cut."""
        self._way.series.lost["timeout"] += 1
        self._judge()
        if self._answered or self.exchange.gone:
            self._drop_connection()
            self.exchange.abort()
            self._over(None)
            return
        id_line = self._held_upstream.id_line
        self._status = self._status_of_failure(504)
        self.give_up()
        destination = self._way.destination
        answers.timed_out(
            self.exchange,
            destination.route.timeout_s,
            self.request_id,
            status=self._status,
            more_headers=id_line + destination.response_headers,
        )

    @property
    def instance_id(self) -> str:
        """The instance that it was sent to last, "" while it waits for its first."""
        return "" if self._upstream is None else self._upstream.record.instance_id

    def bereaved(self) -> None:
        """Its instance is no more, though its connection does not say so. An answer that still comes may end."""
        connection = self.connection
        if connection is None:
            return
        if self._answered:
            get_running_loop().call_later(_LAST_WORDS_S, self._heard_out, connection, self._answer_bytes)
        else:
            self._lose()

    def _heard_out(self, connection: ClientConnection, answer_bytes: int) -> None:
        """Nothing has come since, and not because the client does not read."""
        if self.connection is connection and self._answer_bytes == answer_bytes and not connection.is_paused:
            self._lose()

    def _lose(self) -> None:
        self._drop_connection()
        self.response_failed(ConnectionFailed("its instance was removed, and nothing more was heard of it"))

    def outrun(self, now_s: float) -> None:
        """Its place in the queue went to another request."""
        message = "its place in the queue went to a request of higher priority, or of a function with fewer waiting"
        self.refuse(refusal.exhausted(message, self._gate.retry_after_s(now_s)))

    # -- what a relay asks ---------------------------------------------------------------------------------------------

    def request_head(self) -> bytes:
        return self._passage.lines + _REQUEST_ID % self.request_id.encode()

    def first_bytes(self) -> bytes:
        passage, exchange = self._passage, self.exchange
        if passage.framing and exchange.complete:
            self._request_ended = True
            request_id = _REQUEST_ID % self.request_id.encode()
            return b"".join((passage.lines, request_id, passage.framing, *exchange.take_body()))
        return super().first_bytes()

    def answer_head(self, response: Response) -> tuple[int, bytes]:
        duration_ms = round((monotonic() - self._begun_at_s) * 1000.0)
        way = self._way
        health = self._held_upstream.health
        if response.status < 500 and not health.in_a_row:
            health.answered += 1
        else:
            self._gateway.upstreams.answered(self._held_upstream, response.status)
        lines = answer_lines.of_request(
            self.request_id,
            duration_ms,
            self._held_upstream.id_line,
            way.destination.response_headers,
            self._cold_start,
        )
        if way.trigger is not None:
            return response.status, lines
        return 200, lines + answer_lines.of_failure(response)

    def response_failed(self, error: ConnectionFailed) -> None:
        if self._answered:
            self._judge()
        if not isinstance(error, ResponseMalformed):
            self._gateway.upstreams.suspect(self._held_lease.instance)
        super().response_failed(error)

    def lost(self, error: ConnectionFailed) -> None:
        """The instance went away before it answered; whether the request may be sent again, only it can tell."""
        gateway = self._gateway
        self._way.series.lost["malformed" if isinstance(error, ResponseMalformed) else "died"] += 1
        gateway.log_lost(self.request_id, self._held_lease.instance.instance_id, error)
        self._judge()
        may = self._way.may_be_sent_twice and self.can_be_sent_again
        if not may or self._sent_times >= _SENT_MAX:
            self.refuse(refusal.died(sent_again=may))
        elif not self._gate.may_send_again(monotonic()):
            self._way.series.lost["over-budget"] += 1
            self.refuse(refusal.died(sent_again=False, over_budget=True))
        else:
            self._requeue()

    def ended(self, refusal: Refusal | None) -> None:
        now_s = monotonic()
        usage = self._gate.usage
        usage.finished += 1
        if refusal is not None and refusal.is_platform_fault:
            usage.failed += 1
        self._count(refusal, now_s)
        if self._wait is not None:
            self._gate.cancel(self._wait.ticket, now_s)
            self._wait.end()
            self._wait = None
        self._return_lease(now_s)

    def write_refusal(self, refusal: Refusal) -> None:
        answers.refuse(self.exchange, refusal, self.request_id)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _count(self, refusal: Refusal | None, now_s: float) -> None:
        """Say what became of it, for those who watch."""
        series, gateway, exchange = self._way.series, self._gateway, self.exchange
        if refusal is not None:
            gateway.metrics.refusals[refusal.code] += 1
            self._status = refusal.status
        status = self._status or CLIENT_GONE
        wait_s = (self._begun_at_s or now_s) - self._arrived_at_s
        series.observe(status, now_s - self._arrived_at_s, wait_s)
        series.request_bytes += exchange.body_bytes
        series.response_bytes += self._answer_bytes
        if self._cold_start:
            series.cold_starts += 1
        if gateway.record is not None:
            gateway.record(self._record(refusal, status, now_s, wait_s))

    def _record(self, refusal: Refusal | None, status: int, now_s: float, wait_s: float) -> Record:
        way, exchange = self._way, self.exchange
        duration_s = now_s - self._arrived_at_s
        return Record(
            at_s=time.time() - duration_s,
            request_id=self.request_id,
            service=way.names.service,
            qualifier=way.names.qualifier,
            version=way.destination.route.version,
            function=way.names.function,
            method=exchange.method,
            target=exchange.target,
            status=status,
            code="" if refusal is None else refusal.code,
            duration_s=duration_s,
            wait_s=wait_s,
            cold_start=self._cold_start,
            instance_id=self.instance_id,
            request_bytes=exchange.body_bytes,
            response_bytes=self._answer_bytes,
            client_ip=exchange.client_ip,
            traceparent=find(exchange.headers, b"traceparent") or b"",
        )

    @property
    def _held_lease(self) -> Lease:
        assert self._lease is not None, "only a request that was sent gets here"
        return self._lease

    def _status_of_failure(self, at_trigger: int) -> int:
        """FC answers a failed invocation with 200; a browser at a trigger should not take it for a page."""
        return 200 if self._way.trigger is None else at_trigger

    @property
    def _held_upstream(self) -> Upstream:
        assert self._upstream is not None, "only a request that was sent gets here"
        return self._upstream

    def _take(self, outcome: Lease | Ticket) -> None:
        if isinstance(outcome, Lease):
            self.granted(outcome)
            return
        self._wait = Wait(self._gateway, self, outcome, self._arrived_at_s)
        turn_away(outcome.outrun, outcome.queued_at_s)
        outcome.outrun = ()

    def _is_throttled(self, buckets: tuple[Bucket, ...], now_s: float) -> bool:
        """Whether a rate limit is reached; the request has its answer then."""
        for bucket in buckets:
            if not bucket.take(now_s):
                self._gateway.metrics.throttled[bucket.name] += 1
                self._gate.usage.arrived += 1
                message = f"more requests than the rate limit of {bucket.about} allows: {bucket.per_s:g} each second"
                self.refuse(refusal.throttled(f"{message}, {bucket.burst:g} at once", bucket.retry_after_s))
                return True
        return False

    def _judge(self) -> None:
        """The instance has failed this request."""
        self._gateway.upstreams.failed(self._held_upstream)

    def _send_over(self, connection: ClientConnection | None, lease: Lease, upstream: Upstream) -> None:
        """Send over this connection, over another one if it turns out to be closed, or over a new one."""
        self._sent_times += 1
        while connection is not None:
            try:
                self.send(connection)
                return
            except NotSent:
                connection.close()
                connection = upstream.pool.take(must_be_alive=True)
        self._sent_times -= 1
        self._gateway.spawn(self._connect(lease, upstream))

    async def _connect(self, lease: Lease, upstream: Upstream) -> None:
        try:
            connection = await upstream.pool.connect()
        except Unreachable as error:
            self._gateway.upstreams.eject(upstream, str(error))
            self._way.series.lost["refused"] += 1
            if self._lease is lease:
                self._requeue()
            return
        except NoResources as error:
            if self._lease is lease:
                self.refuse(refusal.unavailable(str(error)))
            return
        if self._lease is lease:
            self._send_over(connection, lease, upstream)
        else:
            upstream.pool.put_back(connection)  # the request is over: its client is gone, or its time

    def _requeue(self) -> None:
        """Wait for another instance, as the first of those who wait: it has waited already."""
        now_s = monotonic()
        self._return_lease(now_s)
        self._take(self._gate.reserve_again(self, now_s, self._way.claim, self._passage.held_bytes))

    def _return_lease(self, now_s: float) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            self._way.running.discard(self)
            self._gateway.give_back(lease, now_s)
