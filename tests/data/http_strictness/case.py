"""What a case of the strictness table says: the bytes that are sent, the rule they are about, and what comes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

HOST = b"f.example"
AGAIN = (
    b"GET /again HTTP/1.1\r\nHost: f.example\r\n\r\n"  # the request that is sent behind, to see where it is looked for
)

WAITS: tuple[int, ...] = ()
"""Nothing is answered: more has to come. When the client goes instead, nothing has reached the function."""

# Answers after which nothing that comes over the connection may be taken for a request.
_CLOSING = frozenset({400, 408, 414, 417, 431, 501, 505})


@dataclass(frozen=True)
class Case:
    """One case. `statuses` are those of all answers; every 2xx, 3xx and 404 of them is the function's own.

    `closes`: behind the last answer the connection ends; else it serves on. `body` is what the function got, `sees` which
    header fields and `hides` which not (names in lower case). `why`: the rule leaves a choice, and this is ours.
    """

    name: str
    rule: str
    sent: bytes
    statuses: tuple[int, ...]
    closes: bool
    why: str = ""
    body: bytes | None = None
    sees: dict[str, str] = field(default_factory=dict)
    hides: tuple[str, ...] = ()
    answer_has: tuple[str, ...] = ()
    answer_lacks: tuple[str, ...] = ()
    by_gateway: bool = False  # it answers by itself, though with a 2xx

    @property
    def served(self) -> int:
        """How many requests the function gets."""
        return 0 if self.by_gateway else sum(status in (200, 204, 304) for status in self.statuses)


def case(
    name: str, rule: str, sent: bytes, *statuses: int, why: str = "", closes: bool | None = None, **more: Any
) -> Case:
    if closes is None:
        closes = bool(statuses) and statuses[-1] in _CLOSING
    return Case(name, rule, sent, statuses, closes, why, **more)


def get(*lines: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = HOST) -> bytes:
    """A request without a body, with these field lines behind its Host."""
    return b"".join(each + b"\r\n" for each in (line, b"Host: " + host, *lines, b""))


def post(*lines: bytes, body: bytes = b"hello", line: bytes = b"POST / HTTP/1.1") -> bytes:
    """A request with these field lines, and a body behind its head."""
    return get(*lines, line=line) + body


def chunked(body: bytes, *lines: bytes) -> bytes:
    """A request whose body is meant to be in chunks."""
    return post(b"Transfer-Encoding: chunked", *lines, body=body)
