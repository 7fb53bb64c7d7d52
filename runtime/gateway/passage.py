"""A request's way as far as its head alone decides it: which version it goes to, and the lines that are passed on.

Clients say the same head again and again over one connection. What was worked out for it is kept with it, so that only
what differs from request to request is done for each: a slot, an id, the body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.contract import HEADER_BASE_PATH, HEADER_CLIENT_IP, PATH_INVOKE
from runtime.gateway.gate import Gate
from runtime.gateway.headers import RequestHead
from runtime.gateway.metrics import Series
from runtime.gateway.resolve import Names, TriggerAsk
from runtime.gateway.routes import Destination
from runtime.gateway.terms import Terms
from runtime.http.deadlines import Deadlines
from runtime.http.exchange import Exchange

if TYPE_CHECKING:
    from runtime.gateway.invocation import Invocation

# Header lines, encoded once; what differs is put in.
_INVOKE_LINE: Final = f"POST {PATH_INVOKE} HTTP/1.1\r\n".encode()
_CLIENT_IP: Final = f"{HEADER_CLIENT_IP}: %b\r\n".encode()
_BASE_PATH: Final = f"{HEADER_BASE_PATH}: %b\r\n".encode()
_NO_HOST: Final = b"host: localhost\r\n"  # an HTTP/1.0 client's request goes on as 1.1, which needs one

# What a waiting request is made of beside its head and body: a connection, and what is remembered about it.
_OBJECTS_BYTES: Final = 4096

# RFC 9110, section 9.2.1: what may be sent twice without asking.
_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))


class Way:
    """What all heads share that ask for the same: where it goes, and on what terms.

    `trigger` is how the function was asked for; None for InvokeFunction.
    """

    __slots__ = (
        "behind",
        "body_bytes_max",
        "buckets",
        "claim",
        "destination",
        "gate",
        "generation",
        "held_body_bytes_max",
        "is_for_head",
        "line",
        "may_be_sent_twice",
        "names",
        "running",
        "series",
        "trigger",
    )

    def __init__(
        self,
        exchange: Exchange,
        trigger: TriggerAsk | None,
        destination: Destination,
        gate: Gate,
        running: Deadlines[Invocation],
        names: Names,
        series: Series,
        *,
        body_bytes_max: int,
        held_body_bytes_max: int,
        generation: int,
        terms: Terms,
    ) -> None:
        self.trigger = trigger
        self.destination = destination
        self.gate = gate
        self.running = running  # the time limit of the function
        self.names = names
        self.series = series  # what is counted for it
        self.body_bytes_max = body_bytes_max
        self.held_body_bytes_max = held_body_bytes_max
        self.claim, self.buckets, self.is_for_head = terms
        self.generation = generation  # of the routes that it was found in
        self.may_be_sent_twice = destination.route.retryable or (trigger is not None and exchange.method in _SAFE)
        # The request line, and the lines behind those that are passed on: all but the request's id and the framing.
        self.behind = _CLIENT_IP % exchange.client_ip
        if trigger is None:
            self.line = _INVOKE_LINE
            self.behind += destination.invoke_headers
        else:
            self.line = b"%b %b HTTP/1.1\r\n" % (exchange.method, trigger.target)
            if trigger.base_path:
                self.behind += _BASE_PATH % trigger.base_path
            self.behind += destination.http_headers


class Passage:
    """One head's way: `lines` is what goes on of it, all but the request's id and the framing."""

    __slots__ = ("framing", "head", "held_bytes", "lines", "way")

    def __init__(self, way: Way, head: RequestHead) -> None:
        self.way = way
        self.head = head
        host = _NO_HOST if head.host is None else b""
        self.lines = lines = b"".join((way.line, *head.passed, host, way.behind))
        length = head.content_length
        if length is None or head.is_chunked:
            self.framing = b""
            body_bytes = way.held_body_bytes_max if head.is_chunked else 0
        else:
            # What follows the lines before a body whose length was announced and that is there.
            self.framing = b"content-length: %d\r\n\r\n" % length
            body_bytes = min(length, way.held_body_bytes_max)
        # What it comes to hold while it waits, as far as its head says.
        self.held_bytes = _OBJECTS_BYTES + len(lines) + body_bytes

    def again(self, generation: int, head: RequestHead) -> Passage | None:
        """The passage of another head that asks the same method, target and host; None: it may go another way."""
        way = self.way
        if way.generation == generation and head.is_plain and not way.is_for_head:
            return Passage(way, head)
        return None
