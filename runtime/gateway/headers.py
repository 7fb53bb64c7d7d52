"""What of a message's head is passed on, to the instance and back to the client. Pure.

Nothing is copied as it came: header fields are taken apart by the parser and written anew, without those that concern
one connection only (RFC 9110, section 7.6.1) and without `x-fc-*` from clients, which are ours to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from runtime.http.fields import Use, find, named_by_connection, use_of
from runtime.http.framing import Headers
from runtime.http.head import Request

# What a message's head has to say, if anything does: behind a body it comes too late (RFC 9110, section 6.5.1). Those
# that say how a message is read, and ours, never pass at all.
_NOT_IN_TRAILERS: Final = frozenset(
    b"""
    age cache-control content-encoding content-range content-type cookie date expires if-match if-modified-since
    if-none-match if-range if-unmodified-since location max-forwards pragma range retry-after set-cookie trailer vary
    warning www-authenticate
    """.split()
)


class RequestHead:
    """A client's header fields, sorted by what is done with them."""

    __slots__ = (
        "authorization",
        "content_length",
        "expects_continue",
        "fc",
        "host",
        "is_chunked",
        "passed",
        "steering",
        "upgrades",
    )

    def __init__(self) -> None:
        self.passed: list[bytes] = []  # header lines in parts, Host among them
        self.fc: Headers = []  # x-fc-*, names in lower case
        self.authorization: bytes | None = None
        self.host: bytes | None = None
        self.content_length: int | None = None
        self.is_chunked = False
        self.expects_continue = False
        self.steering: Headers | None = None  # what claim.py reads, names in lower case
        self.upgrades = False

    @property
    def is_plain(self) -> bool:
        """Whether nothing in it says how the request is to be treated, but only what it says to the function."""
        return not (self.fc or self.authorization is not None or self.upgrades or self.steering)

    @property
    def has_body(self) -> bool:
        return self.is_chunked or bool(self.content_length)

    def fc_value(self, name: bytes) -> bytes | None:
        """The first value of an x-fc-* field."""
        for key, value in self.fc:
            if key == name:
                return value
        return None

    def replace(self, names: set[str], fields: Iterable[tuple[str, str]]) -> None:
        """Pass these fields on, and none of `names` (in lower case) that the client has sent."""
        if names:
            self.passed = _without(self.passed, {name.encode("latin-1") for name in names})
        for name, value in fields:
            self.passed += (name.encode("latin-1"), b": ", value.encode("latin-1"), b"\r\n")


def sort_request(request: Request) -> RequestHead:
    """Sort a request's header fields."""
    head = RequestHead()
    head.host = request.host
    head.content_length = request.content_length
    head.is_chunked = request.is_chunked
    head.expects_continue = request.expects_continue
    head.upgrades = request.upgrade
    passed = head.passed
    hidden: set[bytes] | None = None
    for name, value in request.fields:
        use = use_of(name)
        if use is Use.PLAIN or use is Use.HOST:
            passed += (name, b": ", value, b"\r\n")
        elif use is Use.CONNECTION:
            hidden = (hidden or set()) | named_by_connection(value)
        elif use is Use.FC:
            head.fc.append((name.lower(), value))
        elif use is Use.AUTHORIZATION:
            head.authorization = value
        elif use is Use.STEERING:
            passed += (name, b": ", value, b"\r\n")
            head.steering = [*(head.steering or ()), (name.lower(), value)]
    if hidden:
        head.passed = _without(passed, hidden - {b"host"})
    if request.http_1_0 and request.host is not None and find(request.fields, b"host") is None:
        head.passed += (b"host", b": ", request.host, b"\r\n")  # of http://host/path, which goes on as a path
    return head


def sort_response(headers: Headers, said_here: frozenset[bytes]) -> bytes:
    """The header lines that go on to the client.

    `said_here` names, in lower case, the x-fc-* fields that are left out: the gateway says them itself.
    """
    passed: list[bytes] = []
    hidden: set[bytes] | None = None
    for name, value in headers:
        use = use_of(name)
        if use is Use.PLAIN or use is Use.AUTHORIZATION or use is Use.HOST or use is Use.STEERING:
            passed += (name, b": ", value, b"\r\n")
        elif use is Use.CONNECTION:
            hidden = (hidden or set()) | named_by_connection(value)
        elif use is Use.FC and name.lower() not in said_here:
            passed += (name, b": ", value, b"\r\n")
    if hidden:
        passed = _without(passed, hidden)
    return b"".join(passed)


def sort_trailers(fields: Headers) -> Headers:
    """The fields behind a body that go on."""
    return [
        (name, value) for name, value in fields if use_of(name) is Use.PLAIN and name.lower() not in _NOT_IN_TRAILERS
    ]


def lines(headers: Headers) -> list[bytes]:
    """Header lines, in parts."""
    return [part for name, value in headers for part in (name, b": ", value, b"\r\n")]


def _without(passed: list[bytes], hidden: set[bytes]) -> list[bytes]:
    kept: list[bytes] = []
    for at in range(0, len(passed), 4):
        if passed[at].lower() not in hidden:
            kept += passed[at : at + 4]
    return kept
