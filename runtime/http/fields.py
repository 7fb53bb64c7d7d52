"""Which header fields a proxy passes on, and which are only for the next hop or for the proxy itself. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from runtime.http.framing import Headers


class Use(IntEnum):
    """What a header field means to a proxy. PLAIN ones are passed on as they are."""

    PLAIN = 0
    HOP = 1  # for this connection only
    CONNECTION = 2  # for this connection, and it names others that are too
    CONTENT_LENGTH = 3
    TRANSFER_ENCODING = 4
    HOST = 5
    EXPECT = 6
    AUTHORIZATION = 7
    FC = 8  # x-fc-*: ours to say
    UPGRADE = 9
    STEERING = 10  # for the function, and it says how the request is to be treated on its way


# RFC 9110, section 7.6.1, and the two Proxy-* fields that concern a proxy and its neighbour only.
_USES: Final[dict[bytes, Use]] = {
    b"keep-alive": Use.HOP,
    b"proxy-connection": Use.HOP,
    b"proxy-authenticate": Use.HOP,
    b"proxy-authorization": Use.HOP,
    b"te": Use.HOP,
    b"connection": Use.CONNECTION,
    b"content-length": Use.CONTENT_LENGTH,
    b"transfer-encoding": Use.TRANSFER_ENCODING,
    b"host": Use.HOST,
    b"expect": Use.EXPECT,
    b"authorization": Use.AUTHORIZATION,
    b"upgrade": Use.UPGRADE,
    b"x-stoke-priority": Use.STEERING,
    b"request-timeout": Use.STEERING,
    b"x-request-timeout": Use.STEERING,
}

# Clients write the same few names over and over, each in its own case: remembered as written, a name costs one lookup.
# What an attacker can put in here is bounded in number and length.
_REMEMBERED_MAX: Final = 4096
_REMEMBERED_BYTES_MAX: Final = 64
_remembered: Final[dict[bytes, Use]] = {}


def use_of(name: bytes) -> Use:
    """What a field of this name, in any case, means to a proxy."""
    known = _remembered.get(name)
    if known is not None:
        return known
    lower = name.lower()
    use = _use_of(lower)
    if use is Use.PLAIN and b"_" in lower and _use_of(lower.replace(b"_", b"-")) is not Use.PLAIN:
        use = Use.HOP  # a server of the CGI kind (WSGI) would take it for the field that has hyphens
    if len(_remembered) < _REMEMBERED_MAX and len(name) <= _REMEMBERED_BYTES_MAX:
        _remembered[name] = use
    return use


def _use_of(lower: bytes) -> Use:
    return Use.FC if lower.startswith(b"x-fc-") else _USES.get(lower, Use.PLAIN)


def named_by_connection(value: bytes) -> set[bytes]:
    """The fields that a Connection header names, in lower case; `close` and `keep-alive` are options, not fields."""
    names = {token.strip().lower() for token in value.split(b",")}
    return names - {b"close", b"keep-alive", b"upgrade", b""}


def find(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a field; `name` in lower case."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None
