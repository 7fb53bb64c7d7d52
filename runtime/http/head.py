"""What the head of a message says (RFC 9112, sections 2 to 6; RFC 9110, section 5). Pure: bytes in, a head out.

A head that two readers could take differently is refused here, so that nothing ambiguous is ever passed on: one grammar
for the whole of it, line ends that are CRLF and nothing else, one length.
"""

from __future__ import annotations

import re
from typing import Any, Final

from runtime.http.fields import find
from runtime.http.framing import Headers

END: Final = b"\r\n\r\n"

# Every quantifier keeps what it took (possessive), so that no bytes, however chosen, are read more than twice.
TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE: Final = rb"(?:[^\x00-\x20\x7f]++|[ \t]++(?![ \t]*\r\n))*+"
# In a target no byte that a URI cannot have (RFC 3986, section 2) and that servers behind would read in ways of their
# own: 8-bit ones, "#" (where a URI's fragment begins, which is never sent), a backslash (to some the same as a slash).
_REQUEST_LINE: Final = re.compile(rb"(" + TOKEN + rb") ([\x21\x22\x24-\x5b\x5d-\x7e]++) HTTP/([0-9])\.([0-9])\r\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n")
_FIELD: Final = re.compile(rb"(" + TOKEN + rb"):[ \t]*+(" + _VALUE + rb")[ \t]*+\r\n")
_FIELDS: Final = re.compile(rb"(?:" + TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+\r\n")
_EMPTY_LINES: Final = re.compile(rb"(?:\r\n)*+")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{0,5})?")
# Longer numbers than a length can be would cost time to read (RFC 9110, section 8.6, warns of overflow).
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

_CR: Final = 0x0D


class HeadMalformed(Exception):
    """A head that is not HTTP/1.1, or could be read in two ways. `status` is what its sender should be told."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Request:
    """The head of a request. `note` is whatever its reader wants to find again when the same head comes again.

    `note_before` is that of the request before on the same connection, if it asked the same method, target and host.
    """

    __slots__ = (
        "content_length",
        "expects_continue",
        "fields",
        "host",
        "http_1_0",
        "is_chunked",
        "keep_alive",
        "method",
        "note",
        "note_before",
        "raw",
        "target",
        "upgrade",
    )

    def __init__(self, raw: bytes, method: bytes, target: bytes, fields: Headers, *, http_1_0: bool) -> None:
        self.raw = raw
        self.method = method
        self.target = target  # in origin form, or "*"
        self.fields = fields
        self.http_1_0 = http_1_0
        self.host: bytes | None = None
        self.content_length: int | None = None
        self.is_chunked = False
        self.keep_alive = not http_1_0
        self.expects_continue = False
        self.upgrade = False  # asks for a WebSocket; other protocols that are offered are not taken (RFC 9110, 7.8)
        self.note: Any = None
        self.note_before: Any = None

    def asks_as(self, other: Request) -> bool:
        """Whether both ask for the same by the same version of HTTP."""
        return (
            self.target == other.target
            and self.method == other.method
            and self.host == other.host
            and self.http_1_0 is other.http_1_0
        )


class Response:
    """The head of a response. `note` is as in `Request`."""

    __slots__ = ("content_length", "fields", "is_chunked", "keep_alive", "note", "raw", "reason", "status")

    def __init__(self, raw: bytes, status: int, reason: bytes, fields: Headers, *, http_1_0: bool) -> None:
        self.raw = raw
        self.status = status
        self.reason = reason
        self.fields = fields
        self.content_length: int | None = None
        self.is_chunked = False
        self.keep_alive = not http_1_0
        self.note: Any = None


NO_REQUEST: Final = Request(b"", b"", b"", [], http_1_0=False)
"""Stands for a request that could not be read."""


def parse_request(raw: bytes) -> Request:
    """`raw` is a whole head, its empty line included.

    Raises:
        HeadMalformed: it breaks a rule; the message says which.
    """
    line = _REQUEST_LINE.match(raw)
    if line is None:
        raise _bad_request_line(raw)
    method, target, major, minor = line.groups()
    if major != b"1":
        raise HeadMalformed(f"version HTTP/{major.decode()}.{minor.decode()}: HTTP/1.1 and HTTP/1.0 are allowed", 505)
    request = Request(raw, method, target, _fields(raw, line.end()), http_1_0=minor == b"0")
    for name, value in request.fields:
        read = _REQUEST_FIELDS.get(name) or _REQUEST_FIELDS.get(name.lower())
        if read is not None:
            read(request, value)
    if request.host is None and not request.http_1_0:
        raise HeadMalformed("header Host is missing")
    if request.is_chunked:
        if request.content_length is not None:
            raise HeadMalformed("headers Content-Length and Transfer-Encoding: one of the two is allowed")
        if request.http_1_0:
            raise HeadMalformed("header Transfer-Encoding in HTTP/1.0: Content-Length is allowed")
    if not target.startswith(b"/"):
        request.target = _origin_form(request)
    return request


def parse_response(raw: bytes) -> Response:
    """`raw` is a whole head, its empty line included.

    Raises:
        HeadMalformed: it breaks a rule; the message says which.
    """
    line = _STATUS_LINE.match(raw)
    if line is None:
        shown = _shown(raw.partition(b"\r")[0])
        raise HeadMalformed(f"status line {shown}: HTTP/1.1 STATUS REASON is allowed")
    minor, status, reason = line.groups()
    response = Response(raw, int(status), reason or b"", _fields(raw, line.end()), http_1_0=minor == b"0")
    for name, value in response.fields:
        lower = name.lower()
        if lower == b"content-length":
            response.content_length = _length(response.content_length, value)
        elif lower == b"transfer-encoding":
            _read_coding(response, value)
        elif lower == b"connection":
            _read_connection(response, value)
    if response.is_chunked:
        if response.content_length is not None:
            raise HeadMalformed("headers Content-Length and Transfer-Encoding: one of the two is allowed")
        if minor == b"0":
            response.keep_alive = False  # whoever stands between may not know chunks (RFC 9112, section 6.1)
    return response


def parse_trailers(raw: bytes) -> Headers:
    """The fields after a chunked body; `raw` ends with the empty line.

    Raises:
        HeadMalformed: one of them is none.
    """
    return _fields(raw, 0)


def without_empty_lines(data: bytes) -> bytes:
    """What is behind the empty lines that `data` begins with, however many: they are taken off together."""
    found = _EMPTY_LINES.match(data)
    return data if found is None else data[found.end() :]


def check_begin_of_request(data: bytes, looked_at: int = 0) -> None:
    """Refuse what is no head already, though its end is not there: it would be waited for in vain.

    So many bytes of it were `looked_at` before, and are not looked at again but for a CR at their end.

    Raises:
        HeadMalformed: the first line is no request line, or a line ends with LF alone.
    """
    at = looked_at - 1 if looked_at and data[looked_at - 1] == _CR else looked_at
    if data.find(b"\r\n", at) >= 0 and data.find(b"\r\n") >= at and _REQUEST_LINE.match(data) is None:
        raise _bad_request_line(data)
    if data.count(b"\n", at) != data.count(b"\r\n", at):
        raise HeadMalformed("a line of the head ends with LF: CRLF is allowed")


def check_begin_of_response(data: bytes) -> None:
    """The same for a response.

    Raises:
        HeadMalformed: the first line is no status line, or a line ends with LF alone.
    """
    if not b"HTTP/1.".startswith(data[:7]):
        raise HeadMalformed(f"status line {_shown(data[:20])}: HTTP/1.1 STATUS REASON is allowed")
    if data.count(b"\n") != data.count(b"\r\n"):
        raise HeadMalformed("a line of the head ends with LF: CRLF is allowed")


# -- the fields that say how a message is read -------------------------------------------------------------------------


def _fields(raw: bytes, at: int) -> Headers:
    if _FIELDS.fullmatch(raw, at) is None:
        raise _bad_fields(raw[at:])
    return _FIELD.findall(raw, at)


def _read_host(request: Request, value: bytes) -> None:
    if request.host is not None:
        raise HeadMalformed("header Host is given more than once: once is allowed")
    if _HOST.fullmatch(value) is None:
        raise HeadMalformed(f"header Host {_shown(value)}: HOST[:PORT] is allowed")
    request.host = value


def _read_length(request: Request, value: bytes) -> None:
    request.content_length = _length(request.content_length, value)


def _length(known: int | None, value: bytes) -> int:
    if known is not None:
        raise HeadMalformed("header Content-Length is given more than once: once is allowed")
    if _LENGTH.fullmatch(value) is None:
        raise HeadMalformed(f"header Content-Length {_shown(value)}: 1 to 18 digits are allowed")
    return int(value)


def _read_coding(message: Request | Response, value: bytes) -> None:
    if message.is_chunked:
        raise HeadMalformed("header Transfer-Encoding is given more than once: once is allowed")
    if value.lower() != b"chunked":
        # A length is known only if chunked comes last, and once; 501 for other codings (RFC 9112, 6.1 and 6.3).
        codings = [coding.strip() for coding in value.lower().split(b",")]
        can_be_read = codings[-1] == b"chunked" and codings.count(b"chunked") == 1 and b"" not in codings
        raise HeadMalformed(
            f"header Transfer-Encoding {_shown(value)}: chunked is allowed", 501 if can_be_read else 400
        )
    message.is_chunked = True


def _read_connection(message: Request | Response, value: bytes) -> None:
    options = value.lower()
    if options == b"keep-alive":
        message.keep_alive = True
    elif b"close" in options and b"close" in [option.strip() for option in options.split(b",")]:
        message.keep_alive = False
    elif b"keep-alive" in options and b"keep-alive" in [option.strip() for option in options.split(b",")]:
        message.keep_alive = True


def _read_expect(request: Request, value: bytes) -> None:
    if value.lower() != b"100-continue":
        raise HeadMalformed(f"header Expect {_shown(value)}: 100-continue is allowed", 417)
    request.expects_continue = not request.http_1_0


def _read_upgrade(request: Request, value: bytes) -> None:
    connection = find(request.fields, b"connection") or b""
    named = b"upgrade" in [option.strip() for option in connection.lower().split(b",")]
    # By GET alone (RFC 6455, section 4.1): a body would be taken for the other protocol's first bytes.
    asks = request.method == b"GET" and not request.http_1_0
    request.upgrade = asks and named and value.lower() == b"websocket"


_REQUEST_FIELDS: Final = {
    written: read
    for name, read in (
        ("Host", _read_host),
        ("Content-Length", _read_length),
        ("Transfer-Encoding", _read_coding),
        ("Connection", _read_connection),
        ("Expect", _read_expect),
        ("Upgrade", _read_upgrade),
    )
    for written in (name.encode(), name.lower().encode())
}


def _origin_form(request: Request) -> bytes:
    """The path of `http://host/path`, as clients say to a proxy. Its host must be the Host header's.

    RFC 9112, section 3.2.2, lets the target's host win. A server behind that goes by the header would answer for
    another host than the one that was checked here, so two different ones are refused.
    """
    if request.target == b"*" and request.method == b"OPTIONS":
        return request.target
    scheme, separator, rest = request.target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise HeadMalformed(f"target {_shown(request.target)}: /PATH and http://HOST/PATH are allowed")
    at = min((place for place in (rest.find(b"/"), rest.find(b"?")) if place >= 0), default=len(rest))
    host, path = rest[:at], rest[at:]
    if request.host is None:
        request.host = host
    if host.lower() != request.host.lower():
        raise HeadMalformed(
            f"target {_shown(request.target)} with header Host {_shown(request.host)}: one host is allowed"
        )
    return path if path.startswith(b"/") else b"/" + path


# -- what is wrong -----------------------------------------------------------------------------------------------------


def _bad_request_line(raw: bytes) -> HeadMalformed:
    line = raw.partition(b"\r")[0]
    return HeadMalformed(f"request line {_shown(line)}: METHOD TARGET HTTP/1.1 is allowed, with one space between")


def _bad_fields(lines: bytes) -> HeadMalformed:
    for line in lines.split(b"\r\n"):
        if not line:
            break
        if line[:1] in (b" ", b"\t"):
            return HeadMalformed(f"header line {_shown(line)}: a value in several lines is not allowed")
        name, colon, _ = line.partition(b":")
        if not colon:
            return HeadMalformed(f"header line {_shown(line)}: NAME: VALUE is allowed")
        if re.fullmatch(TOKEN, name) is None:
            return HeadMalformed(f"header name {_shown(name)}: letters, digits and !#$%&'*+-.^_`|~ are allowed")
        if _FIELD.fullmatch(line + b"\r\n") is None:
            return HeadMalformed(f"header {_shown(name)} has a control character in its value: none is allowed")
    return HeadMalformed("the head does not end with an empty line")


def _shown(value: bytes) -> str:
    return repr(value[:100].decode("latin-1"))
