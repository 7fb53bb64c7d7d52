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

# What a waiting request is made of beside its head and body: a connection, and what is remembered about it.
_OBJECTS_BYTES: Final = 4096

# RFC 9110, section 9.2.1: what may be sent twice without asking.
_SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))


class Passage:
    """`trigger` is how the function was asked for; None for InvokeFunction."""

    __slots__ = (
        "_around",
        "body_bytes_max",
        "buckets",
        "claim",
        "destination",
        "framing",
        "gate",
        "generation",
        "head",
        "held_body_bytes_max",
        "held_bytes",
        "is_for_head",
        "lines",
        "may_be_sent_twice",
        "names",
        "running",
        "series",
        "trigger",
    )

    def __init__(
        self,
        exchange: Exchange,
        head: RequestHead,
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
        self.head = head
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
        self._around = self._lines_around(exchange)
        self._set_lines()

    def may_be_again(self, generation: int, head: RequestHead) -> bool:
        """Whether it is the way of another head too that asks the same method, target and host."""
        return self.generation == generation and head.is_plain and not self.is_for_head

    def again(self, head: RequestHead) -> Passage:
        """The same way for another head that differs in nothing that decides it."""
        passage = Passage.__new__(Passage)
        for name in _KEPT:
            setattr(passage, name, getattr(self, name))
        passage.head = head
        passage._set_lines()
        return passage

    def _set_lines(self) -> None:
        before, behind = self._around
        head = self.head
        self.lines = b"".join((before, *head.passed, behind))
        length = head.content_length
        # What it comes to hold while it waits, as far as its head says.
        body_bytes = self.held_body_bytes_max if head.is_chunked else min(length or 0, self.held_body_bytes_max)
        self.held_bytes = _OBJECTS_BYTES + len(self.lines) + body_bytes
        # What follows the lines before a body whose length was announced and that is there; b"" otherwise.
        self.framing = b"" if length is None or head.is_chunked else b"content-length: %d\r\n\r\n" % length

    def _lines_around(self, exchange: Exchange) -> tuple[bytes, bytes]:
        """The request line, and the lines behind those that are passed on: all but the request's id and the framing."""
        trigger, destination = self.trigger, self.destination
        more = _CLIENT_IP % exchange.client_ip
        if trigger is None:
            line, fixed = _INVOKE_LINE, destination.invoke_headers
        else:
            line, fixed = b"%b %b HTTP/1.1\r\n" % (exchange.method, trigger.target), destination.http_headers
            if trigger.base_path:
                more += _BASE_PATH % trigger.base_path
        if self.head.host is None:
            more += b"host: localhost\r\n"  # an HTTP/1.0 client's request goes on as 1.1, which needs one
        return line, more + fixed


_KEPT: Final = tuple(name for name in Passage.__slots__ if name not in ("head", "held_bytes", "lines", "framing"))
