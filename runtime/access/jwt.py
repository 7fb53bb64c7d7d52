"""HTTP triggers of authType jwt: what `authConfig` says, and whether a request's token holds. Does no I/O.

PyJWT does the cryptography and reads the clock; it is imported with the first token. A key set names the algorithm of
each of its keys, and a token is only ever tried with that, so a token cannot choose how it is checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

KEYS_MAX: Final = 20
LEEWAY_S: Final = 30.0  # between the clocks of whoever made the token and ours
TOKEN_CHARS_MAX: Final = 16_384
_ALLOWED: Final = ("jwks", "jwksUrl", "tokenLookup", "claimPassBy", "issuer", "audience", "requiredClaims")
_DEFAULT_LOOKUP: Final = "header:Authorization:Bearer"


class Place(NamedTuple):
    """Where a token is looked for: `header`, `query` or `cookie`, its name, and a prefix that is taken off."""

    where: str
    name: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class JwtConfig:
    """An `authConfig` that was checked. The key set stands in it, or is found under a URL."""

    keys: tuple[Mapping[str, Any], ...]
    url: str
    lookups: tuple[Place, ...]
    claim_headers: tuple[tuple[str, str], ...]  # (header in lower case, claim)
    issuer: str
    audience: tuple[str, ...]
    required: tuple[str, ...]


class TokenRefused(Exception):
    """The token is missing, or does not hold."""


def parse_config(given: Any) -> JwtConfig:
    """`authConfig` as FC's clients send it: an object or its JSON in a string, its keys in any case.

    Raises:
        ValueError: the field, its value, and what is allowed.
    """
    values = _object(given, "authConfig")
    known = {name.lower(): name for name in _ALLOWED}
    for key in values:
        if key.lower() not in known:
            raise ValueError(f"authConfig.{key} is not served here: allowed are {', '.join(_ALLOWED)}")
    named = {known[key.lower()]: value for key, value in values.items() if value not in (None, "")}
    url = str(named.get("jwksUrl", ""))
    if bool(url) == ("jwks" in named):
        raise ValueError("authConfig needs jwks or jwksUrl, and not both")
    if url and not url.startswith(("http://", "https://")):
        raise ValueError(f"authConfig.jwksUrl is '{url[:80]}': http://… and https://… are allowed")
    return JwtConfig(
        keys=() if url else parse_keys(named["jwks"]),
        url=url,
        lookups=tuple(_lookups(str(named.get("tokenLookup", _DEFAULT_LOOKUP)))),
        claim_headers=tuple(_claim_headers(str(named.get("claimPassBy", "")))),
        issuer=str(named.get("issuer", "")),
        audience=_texts(named.get("audience", [])),
        required=_texts(named.get("requiredClaims", [])),
    )


def parse_keys(given: Any) -> tuple[Mapping[str, Any], ...]:
    """The keys of a JWKS that tokens may be signed with. Raises ValueError."""
    keys = _object(given, "jwks").get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= KEYS_MAX:
        raise ValueError(f"jwks.keys must be a list of 1 to {KEYS_MAX} keys")
    for at, key in enumerate(keys):
        if not isinstance(key, dict) or not isinstance(key.get("kty"), str):
            raise ValueError(f"jwks.keys[{at}] is no JSON Web Key: it needs kty")
        if key["kty"] == "oct":
            raise ValueError(f"jwks.keys[{at}] is a shared secret: public keys are allowed")
    return tuple(key for key in keys if key.get("use", "sig") == "sig")


def find_token(config: JwtConfig, headers: Iterable[tuple[bytes, bytes]], query: str) -> str:
    """The first place that has one. Raises TokenRefused."""
    values = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    for where, name, prefix in config.lookups:
        if where == "header":
            found = values.get(name.lower(), "")
        elif where == "query":
            found = next((value for key, value in parse_qsl(query) if key == name), "")
        else:
            found = _cookie(values.get("cookie", ""), name)
        if found and found.lower().startswith(prefix.lower()):
            return found[len(prefix) :].strip()
    places = ", ".join(f"{where} {name}" for where, name, _ in config.lookups)
    raise TokenRefused(f"the trigger asks for a JSON Web Token: there is none in {places}")


def check_token(config: JwtConfig, keys: Sequence[Mapping[str, Any]], token: str) -> dict[str, Any]:
    """The claims of a token that is signed by one of the keys and holds now: exp, nbf and iat where it has them, iss
    and aud where they are configured, and all claims that are required.

    Raises:
        TokenRefused: with the reason.
    """
    import jwt

    if len(token) > TOKEN_CHARS_MAX:
        raise TokenRefused(f"the token has {len(token)} characters: at most {TOKEN_CHARS_MAX} are allowed")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        fitting = [key for key in keys if kid is None or key.get("kid") in (None, kid)]
        reason: Exception = jwt.InvalidKeyError(f"no key of the trigger has the kid {str(kid)[:80]!r}")
        for key in fitting:
            try:
                public = jwt.PyJWK.from_dict(dict(key))
                claims: dict[str, Any] = jwt.decode(
                    token,
                    public,
                    algorithms=[public.algorithm_name],
                    issuer=config.issuer or None,
                    audience=config.audience or None,
                    leeway=LEEWAY_S,
                    options={"require": list(config.required), "verify_aud": bool(config.audience)},
                )
            except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.PyJWKError) as error:
                reason = error
            else:
                return claims
        raise reason
    except jwt.PyJWTError as error:
        raise TokenRefused(f"the token does not hold: {error}") from None


def has_kid(keys: Sequence[Mapping[str, Any]], token: str) -> bool:
    """Whether one of the keys may be the token's. False asks for a newer key set. Raises TokenRefused."""
    import jwt

    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError as error:
        raise TokenRefused(f"the token does not hold: {error}") from None
    return any(kid is None or key.get("kid") in (None, kid) for key in keys)


def passed_claims(config: JwtConfig, claims: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers that tell the function of claims. A claim that a header cannot hold is left out."""
    told = []
    for header, claim in config.claim_headers:
        value = claims.get(claim)
        text = value if isinstance(value, str) else json.dumps(value)
        if value is not None and text.isascii() and text.isprintable():
            told.append((header, text))
    return told


def _object(given: Any, name: str) -> dict[str, Any]:
    try:
        value = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object")
    return value


def _texts(given: Any) -> tuple[str, ...]:
    return tuple(map(str, given)) if isinstance(given, list) else (str(given),)


def _lookups(text: str) -> Iterable[Place]:
    for each in text.split(","):
        where, _, rest = each.strip().partition(":")
        name, _, prefix = rest.partition(":")
        if where not in ("header", "query", "cookie") or not name:
            allowed = "header:NAME[:PREFIX], query:NAME and cookie:NAME"
            raise ValueError(f"authConfig.tokenLookup is '{each[:80]}': {allowed} are allowed")
        yield Place(where, name, prefix)


def _claim_headers(text: str) -> Iterable[tuple[str, str]]:
    for each in filter(None, text.split(",")):
        where, _, rest = each.strip().partition(":")
        claim, _, header = rest.partition(":")
        header = (header or claim).lower()
        is_name = header.isascii() and header.replace("-", "").replace("_", "").isalnum()
        if where != "header" or not claim or not is_name or header.startswith("x-fc-") or header in _OURS:
            raise ValueError(f"authConfig.claimPassBy is '{each[:80]}': header:CLAIM:NAME is allowed")
        yield header, claim


_OURS: Final = ("host", "content-length", "transfer-encoding", "connection", "authorization")


def _cookie(header: str, name: str) -> str:
    from http.cookies import CookieError, SimpleCookie

    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""
