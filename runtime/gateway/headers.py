"""What of a message's head is passed on, to the instance and back to the client. Pure.

Nothing is copied as it came: header fields are taken apart by the parser and written anew, without those that concern
one connection only (RFC 9110, section 7.6.1) and without `x-fc-*` from clients, which are ours to say.
"""

from __future__ import annotations

from collections.abc import Iterable

from runtime.gateway.refusal import Refusal, invalid
from runtime.http.fields import Use, named_by_connection, use_of
from runtime.http.framing import Headers


class RequestHead:
    """A client's header fields, sorted by what is done with them."""

    __slots__ = ("authorization", "content_length", "expects_continue", "fc", "host", "is_chunked", "passed")

    def __init__(self) -> None:
        self.passed: list[bytes] = []  # header lines in parts, Host among them
        self.fc: Headers = []  # x-fc-*, names in lower case
        self.authorization: bytes | None = None
        self.host: bytes | None = None
        self.content_length: int | None = None
        self.is_chunked = False
        self.expects_continue = False

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


def sort_request(headers: Headers) -> RequestHead:
    """Sort a request's header fields.

    Raises:
        Refusal: Host given more than once, or a transfer coding other than chunked.
    """
    head = RequestHead()
    passed = head.passed
    hidden: set[bytes] | None = None
    for name, value in headers:
        use = use_of(name)
        if use is Use.PLAIN:
            passed += (name, b": ", value, b"\r\n")
        elif use is Use.HOST:
            if head.host is not None:
                raise invalid("header Host is given more than once: once is allowed")
            head.host = value
            passed += (name, b": ", value, b"\r\n")
        elif use is Use.CONTENT_LENGTH:
            head.content_length = int(value)
        elif use is Use.CONNECTION:
            hidden = (hidden or set()) | named_by_connection(value)
        elif use is Use.FC:
            head.fc.append((name.lower(), value))
        elif use is Use.AUTHORIZATION:
            head.authorization = value
        elif use is Use.TRANSFER_ENCODING:
            if value.strip().lower() != b"chunked":
                shown = value[:100].decode("latin-1")
                raise Refusal(501, "InvalidArgument", f"header Transfer-Encoding '{shown}': chunked is allowed")
            head.is_chunked = True
        elif use is Use.EXPECT:
            head.expects_continue = value.strip().lower() == b"100-continue"
    if hidden:
        head.passed = _without(passed, hidden - {b"host"})
    return head


def sort_response(headers: Headers, said_here: frozenset[bytes]) -> tuple[list[bytes], int | None]:
    """The header lines that go on to the client, in parts, and the body's length where it was announced.

    `said_here` names, in lower case, the x-fc-* fields that are left out: the gateway says them itself.
    """
    passed: list[bytes] = []
    content_length: int | None = None
    hidden: set[bytes] | None = None
    for name, value in headers:
        use = use_of(name)
        if use is Use.PLAIN or use is Use.AUTHORIZATION or use is Use.HOST:
            passed += (name, b": ", value, b"\r\n")
        elif use is Use.CONTENT_LENGTH:
            content_length = int(value)
        elif use is Use.CONNECTION:
            hidden = (hidden or set()) | named_by_connection(value)
        elif use is Use.FC and name.lower() not in said_here:
            passed += (name, b": ", value, b"\r\n")
    if hidden:
        passed = _without(passed, hidden)
    return passed, content_length


def lines(headers: Headers) -> list[bytes]:
    """Header lines, in parts."""
    return [part for name, value in headers for part in (name, b": ", value, b"\r\n")]


def _without(passed: list[bytes], hidden: set[bytes]) -> list[bytes]:
    kept: list[bytes] = []
    for at in range(0, len(passed), 4):
        if passed[at].lower() not in hidden:
            kept += passed[at : at + 4]
    return kept
