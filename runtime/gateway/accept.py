"""The client's side of an asynchronous invocation: its payload is read, kept durably, then acknowledged with 202."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from runtime.async_invocation.records import ID_PATTERN, Invocation, Queue, new_invocation
from runtime.contract import (
    HEADER_ASYNC_TASK_ID,
    HEADER_BASE_PATH,
    HEADER_CLIENT_IP,
    HEADER_REQUEST_ID,
    HEADER_STATEFUL,
    HEADER_STATEFUL_ID,
)
from runtime.gateway import answers
from runtime.gateway.headers import RequestHead
from runtime.gateway.refusal import Refusal, exhausted, invalid, too_large, unavailable
from runtime.gateway.relay import connection_line
from runtime.gateway.resolve import Names, TriggerAsk
from runtime.gateway.routes import Destination
from runtime.http.exchange import Exchange
from runtime.http.framing import date_header, header_block, status_line
from runtime.signature import BodyDigest, SignatureRefused

if TYPE_CHECKING:
    from runtime.gateway.gateway import Gateway

_WHAT: Final = "an asynchronous invocation"


def is_async(head: RequestHead) -> bool:
    """Whether x-fc-invocation-type asks for it, in any case.

    Raises:
        Refusal: it asks for something else.
    """
    given = head.fc_value(b"x-fc-invocation-type")
    if given is None:
        return False
    kind = given.decode("latin-1")
    if kind.lower() not in ("sync", "async", ""):
        raise invalid(f"header x-fc-invocation-type '{kind[:100]}': Sync and Async are allowed")
    return kind.lower() == "async"


def given_id(head: RequestHead) -> str:
    """The invocation's id as the client gave it, "" if it gave none; both API generations' headers count.

    Raises:
        Refusal: it is no id.
    """
    for name in (HEADER_ASYNC_TASK_ID, HEADER_STATEFUL_ID):
        value = (head.fc_value(name.encode()) or b"").decode("latin-1")
        if value:
            if ID_PATTERN.fullmatch(value) is None:
                allowed = "a letter or _, then letters, digits, _ and -, 128 characters at most, are allowed"
                raise invalid(f"header {name} '{value[:200]}': {allowed}")
            return value
    return ""


def trigger_head(exchange: Exchange, head: RequestHead, trigger: TriggerAsk) -> bytes:
    """A request's head as an instance gets it, but for what the gateway that sends it adds, and the body's length."""
    fields = [(HEADER_CLIENT_IP, exchange.client_ip.decode("latin-1"))]
    if trigger.base_path:
        fields.append((HEADER_BASE_PATH, trigger.base_path.decode("latin-1")))
    if head.host is None:
        fields.append(("host", "localhost"))
    line = b"%b %b HTTP/1.1\r\n" % (exchange.method, trigger.target)
    return b"".join((line, *head.passed, header_block(fields)))


class Acceptance:
    """Owns the exchange until it is answered."""

    __slots__ = ("_begun", "_body_digest", "_bytes_max", "_destination", "_exchange", "_gateway", "_id", "_names",
                 "_request_head", "_request_id", "_stateful")  # fmt: skip

    def __init__(
        self,
        gateway: Gateway,
        exchange: Exchange,
        head: RequestHead,
        destination: Destination,
        names: Names,
        body_digest: BodyDigest | None,
        trigger: TriggerAsk | None = None,
    ) -> None:
        """Takes the exchange over. `body_digest` says what the payload must be: another one is not kept. `trigger` is
        how it was asked for, and then the instance gets the request itself; None for InvokeFunction.

        Raises:
            Refusal: the id is none, the payload is announced to be too large, or too many events wait.
        """
        self._gateway = gateway
        self._exchange = exchange
        self._destination = destination
        self._names = names
        self._body_digest = body_digest
        self._request_id = gateway.request_ids.new()
        self._id = given_id(head) or f"async-{self._request_id}"
        wanted = (head.fc_value(HEADER_STATEFUL.encode()) or b"").lower() == b"true"
        self._stateful = wanted or gateway.routes.async_route(names).stateful
        self._bytes_max = gateway.settings.async_payload_bytes_max
        self._request_head = b"" if trigger is None else trigger_head(exchange, head, trigger)
        self._begun = False
        if (head.content_length or exchange.body_bytes) > self._bytes_max:
            raise too_large(self._bytes_max, _WHAT)
        if gateway.async_invocations.is_full(Queue(names.service, destination.route.version, names.function)):
            length_max = gateway.settings.async_queue_length_max
            raise exhausted(f"{length_max} asynchronous invocations wait already: no more are allowed")
        exchange.owner = self
        if head.expects_continue:
            exchange.send_continue()

    def begin(self) -> None:
        self.body_arrived()

    def body_arrived(self) -> None:
        if self._begun:
            return
        if self._exchange.body_bytes > self._bytes_max:
            self._begun = True
            self._refuse(too_large(self._bytes_max, _WHAT))
        elif self._exchange.complete:
            self._begun = True
            self._keep(b"".join(self._exchange.take_body()))

    def client_gone(self) -> None:
        """What is on its way to the store stays: the client cannot know whether it was in time."""
        self._begun = True

    def client_paused(self) -> None: ...

    def client_resumed(self) -> None: ...

    def _keep(self, payload: bytes) -> None:
        digest = self._body_digest
        if digest is not None:
            digest.update(payload)
            try:
                digest.check()
            except SignatureRefused as refused:
                self._refuse(Refusal(refused.status, refused.code, refused.message))
                return
        self._gateway.spawn(self._enqueue(payload))

    async def _enqueue(self, payload: bytes) -> None:
        record = new_invocation(
            time.time(),
            invocation_id=self._id,
            request_id=self._request_id,
            service=self._names.service,
            function=self._names.function,
            qualifier=self._names.qualifier,
            version=self._destination.route.version,
            stateful=self._stateful,
        )
        try:
            kept = await self._gateway.async_invocations.enqueue(record, payload, self._request_head)
        except (RedisError, OSError, TimeoutError) as error:
            self._refuse(unavailable(f"the store is away, the invocation may or may not have been kept: {error}"))
        else:
            self._acknowledge(kept)

    def _acknowledge(self, kept: Invocation) -> None:
        exchange = self._exchange
        headers = header_block([(HEADER_REQUEST_ID, kept.request_id), (HEADER_ASYNC_TASK_ID, kept.invocation_id)])
        exchange.write(
            [
                b"".join(
                    (
                        status_line(202),
                        date_header(),
                        b"content-length: 0\r\n",
                        headers,
                        self._destination.response_headers,
                        connection_line(exchange),
                    )
                )
            ]
        )
        exchange.finish()

    def _refuse(self, refusal: Refusal) -> None:
        answers.refuse(self._exchange, refusal, self._request_id)
