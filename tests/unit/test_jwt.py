"""What a jwt trigger is told by authConfig, and which tokens hold."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from runtime.access.jwt import (
    JwtConfig,
    TokenRefused,
    check_token,
    find_token,
    has_kid,
    parse_config,
    passed_claims,
)
from runtime.gateway.key_sets import FRESH_S, RETRY_S, KeySets

PRIVATE = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())


def jwk(private: ec.EllipticCurvePrivateKey = PRIVATE, **more: str) -> dict[str, Any]:
    values: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return {**values, "alg": "ES256", "use": "sig", **more}


def config(**more: Any) -> JwtConfig:
    return parse_config({"jwks": {"keys": [jwk(kid="a")]}, **more})


def token(private: ec.EllipticCurvePrivateKey = PRIVATE, kid: str | None = "a", **claims: Any) -> str:
    return jwt.encode(claims, private, "ES256", {"kid": kid} if kid else None)


def claims_of(held: str, **more: Any) -> dict[str, Any]:
    asked = config(**more)
    return check_token(asked, asked.keys, held)


def test_what_fcs_clients_send_is_understood() -> None:
    text = json.dumps({
        "JWKS": {"keys": [jwk()]},
        "TokenLookup": "header:Authorization:Bearer,cookie:AuthorizationCookie",
        "ClaimPassBy": "header:name:X-Name",
    })  # fmt: skip
    asked = parse_config(text)
    assert [tuple(place) for place in asked.lookups] == [
        ("header", "Authorization", "Bearer"),
        ("cookie", "AuthorizationCookie", ""),
    ]
    assert asked.claim_headers == (("x-name", "name"),)
    assert len(asked.keys) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{", "authConfig is not valid JSON"),
        ([], "authConfig must be an object"),
        ({}, "jwks or jwksUrl, and not both"),
        ({"jwks": {"keys": [{"kty": "EC"}]}, "jwksUrl": "https://x"}, "and not both"),
        ({"jwksUrl": "file:///etc/passwd"}, "http://… and https://… are allowed"),
        ({"jwks": {"keys": []}}, "1 to 20 keys"),
        ({"jwks": {"keys": [{}]}}, "no JSON Web Key"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "x"}]}}, "public keys are allowed"),
        ({"jwksUrl": "https://x", "tokenLookup": "form:t"}, "tokenLookup is 'form:t'"),
        ({"jwksUrl": "https://x", "claimPassBy": "query:a:b"}, "header:CLAIM:NAME is allowed"),
        ({"jwksUrl": "https://x", "claimPassBy": "header:a:x-fc-account-id"}, "header:CLAIM:NAME is allowed"),
        ({"jwksUrl": "https://x", "whitelist": ["/a"]}, "authConfig.whitelist is not served here"),
    ],
)
def test_what_is_wrong_is_named(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        parse_config(given)


def test_a_token_that_is_signed_by_a_key_of_the_set_holds() -> None:
    assert claims_of(token(sub="me"))["sub"] == "me"
    assert claims_of(token(kid=None, sub="me"))["sub"] == "me"


@pytest.mark.parametrize(
    ("held", "more"),
    [
        (token(OTHER), {}),
        (token(kid="b"), {}),
        (token(exp=1), {}),
        (token(nbf=time.time() + 3600), {}),
        (token(iss="other"), {"issuer": "me"}),
        (token(), {"issuer": "me"}),
        (token(aud="other"), {"audience": ["a", "b"]}),
        (token(), {"audience": "a"}),
        (token(), {"requiredClaims": ["exp"]}),
        (jwt.encode({"sub": "me"}, "", "none"), {}),
        (jwt.encode({"sub": "me"}, "x" * 32, "HS256", {"kid": "a"}), {}),
        ("no token", {}),
        ("x" * 20_000, {}),
    ],
)
def test_a_token_that_does_not_hold_is_refused(held: str, more: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        claims_of(held, **more)


def test_issuer_and_audience_hold_when_they_are_those_that_are_configured() -> None:
    held = token(iss="me", aud=["b"], exp=time.time() + 60)
    assert claims_of(held, issuer="me", audience=["a", "b"], requiredClaims=["exp"])["iss"] == "me"
    assert claims_of(held)["aud"] == ["b"], "nothing is asked of an audience where none is configured"


def test_a_token_is_found_in_the_places_that_are_named_in_their_order() -> None:
    asked = config(tokenLookup="header:Authorization:Bearer,query:t,cookie:c")
    headers = [(b"Cookie", b"a=1; c=from-cookie")]
    assert find_token(asked, [(b"authorization", b"bearer from-header"), *headers], "t=q") == "from-header"
    assert find_token(asked, [(b"authorization", b"Basic x"), *headers], "x=1&t=q") == "q"
    assert find_token(asked, headers, "") == "from-cookie"
    with pytest.raises(TokenRefused, match="there is none in header Authorization, query t, cookie c"):
        find_token(asked, [], "t2=q")


def test_claims_are_told_as_headers_where_a_header_can_hold_them() -> None:
    asked = config(claimPassBy="header:sub:x-user,header:roles:x-roles,header:odd:x-odd,header:none:x-none")
    told = passed_claims(asked, {"sub": "me", "roles": ["a"], "odd": "a\r\nb: c"})
    assert told == [("x-user", "me"), ("x-roles", '["a"]')]


def test_a_token_whose_kid_is_new_asks_for_a_newer_set() -> None:
    keys = config().keys
    assert has_kid(keys, token())
    assert has_kid(keys, token(kid=None))
    assert not has_kid(keys, token(kid="new"))


class Fetched:
    """A key set at a URL, and the clock."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.asked = 0
        self.answer: bytes | None = json.dumps({"keys": [jwk()]}).encode()
        self.pending: list[Coroutine[Any, Any, None]] = []
        self.sets = KeySets(self.pending.append, self.fetch, lambda: self.now_s)

    def fetch(self, url: str) -> bytes:
        self.asked += 1
        if self.answer is None:
            raise OSError("away")
        return self.answer

    def run(self) -> None:
        while self.pending:
            asyncio.run(self.pending.pop())


def test_a_key_set_is_fetched_beside_the_requests_and_renewed_when_it_is_no_longer_fresh() -> None:
    at = Fetched()
    assert at.sets.keys("u") == (), "the first request does not wait"
    assert at.sets.keys("u") == ()
    at.run()
    assert (len(at.sets.keys("u")), at.asked) == (1, 1)
    at.now_s += FRESH_S
    at.answer = None
    assert len(at.sets.keys("u")) == 1, "the old set is used meanwhile"
    at.run()
    assert (len(at.sets.keys("u")), at.asked) == (1, 2), "and while its URL is away"


def test_a_key_set_is_not_fetched_again_and_again() -> None:
    at = Fetched()
    for _ in range(5):
        at.sets.refresh("u")
        at.run()
    assert at.asked == 1
    at.now_s += RETRY_S
    at.sets.refresh("u")
    at.run()
    assert at.asked == 2
