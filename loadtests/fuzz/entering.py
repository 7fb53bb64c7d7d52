"""What the gateway makes of a request's head: whatever a client writes, it is read or refused, never more."""

from __future__ import annotations

import contextlib
from typing import Final

from runtime.access.jwt import TokenRefused, check_token, find_token, parse_config, passed_claims
from runtime.gateway.claim import claim_of
from runtime.gateway.headers import RequestHead, sort_request, sort_response, sort_trailers
from runtime.gateway.refusal import Refusal
from runtime.gateway.resolve import ask
from runtime.gateway.spans import parent_of
from runtime.http.fields import Use, find, use_of
from runtime.http.framing import Headers, last_chunk
from runtime.http.head import Request, parse_request, parse_response, parse_trailers
from runtime.signature.errors import SignatureRefused
from runtime.signature.request import RequestHead as SignedHead
from runtime.signature.verify import read_claim, verify
from runtime.traffic.asked import Asked

# The curve's own generator (SEC 2, 2.4.2) as a public key.
_KEY: Final = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "k",
    "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
    "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
}
_TOKENS: Final = parse_config(
    {"jwks": {"keys": [_KEY]}, "tokenLookup": "header:authorization:Bearer ,cookie:a,query:b"}
)
_SECRET: Final = "secret"  # noqa: S105 - nobody's
_NOW_S: Final = 1_795_284_000.0  # 21 November 2026, 18:00
_OURS_OR_FOR_ONE_HOP: Final = (Use.HOP, Use.CONNECTION, Use.FC, Use.UPGRADE, Use.AUTHORIZATION, Use.EXPECT)


def enter(request: Request) -> None:
    """As far as a request is read before it is known whether what it asks for exists. An exception is a finding."""
    head = sort_request(request)
    _check_passed(request, head)
    target = request.target
    with contextlib.suppress(Refusal):
        wanted = head.fc_value(b"x-fc-invocation-target")
        ask(request.method, target, head.host or b"", wanted, {b"f"}, {b"d.example"})
    with contextlib.suppress(Refusal):
        assert 0 <= claim_of(head, is_known=True).priority <= 9
    asked = Asked(request.fields, target)
    for kind in ("Header", "Cookie", "Param"):
        asked.value(kind, "a")
    parent_of(find(request.fields, b"traceparent") or b"")
    _enter_signed(request)
    _enter_with_token(request)


def _enter_signed(request: Request) -> None:
    for base_path in (None, "/2016-08-15/proxy/s/f"):
        head = SignedHead.of(request.method.decode("latin-1"), request.target, request.fields, base_path)
        with contextlib.suppress(SignatureRefused):
            verify(head, read_claim(head), secret=_SECRET, token=_SECRET, now_s=_NOW_S)


def _enter_with_token(request: Request) -> None:
    query = request.target.decode("latin-1").partition("?")[2]
    with contextlib.suppress(TokenRefused):
        token = find_token(_TOKENS, request.fields, query)
        passed_claims(_TOKENS, check_token(_TOKENS, _TOKENS.keys, token))


def _check_passed(request: Request, head: RequestHead) -> None:
    """What goes on reads as it was read here, and has nothing in it that is ours to say or for one hop only."""
    names = set()
    for at in range(0, len(head.passed), 4):
        name = head.passed[at]
        names.add(name.lower())
        assert use_of(name) not in _OURS_OR_FOR_ONE_HOP, name
        assert name.replace(b"_", b"-").lower() not in (b"content-length", b"transfer-encoding"), name
    again = parse_request(b"GET / HTTP/1.1\r\n" + b"".join(head.passed) + b"".join(_host_if_none(head)) + b"\r\n")
    kept = [(name, value) for name, value in request.fields if name.lower() in names]
    had_host = any(name.lower() == b"host" for name, _ in kept)
    passed = [pair for pair in again.fields if had_host or pair[0].lower() != b"host"]
    assert passed == kept, f"{passed} goes on, of {kept}"


def _host_if_none(head: RequestHead) -> list[bytes]:
    return [] if b"host" in [name.lower() for name in head.passed[::4]] else [b"host: x\r\n"]


def go_back(fields: Headers, trailers: Headers) -> None:
    """The same for an answer on its way to the client."""
    passed = sort_response(fields, frozenset((b"x-fc-request-id",)))
    again = parse_response(b"HTTP/1.1 200 OK\r\n" + passed + b"\r\n")
    assert all(use_of(name) not in (Use.HOP, Use.CONNECTION, Use.UPGRADE) for name, _ in again.fields)
    assert not again.is_chunked
    assert again.content_length is None
    kept = sort_trailers(trailers)
    assert parse_trailers(last_chunk(kept).removeprefix(b"0\r\n")) == kept
