"""Whether a request is signed, by any of the three schemes. Pure: the key and the time are passed in.

`read_claim` tells whose signature a request bears, so that the caller can look the key up; `verify` tells whether it
holds. What is left to the caller is in the `Proof`: a nonce that may be used once, and a body that is still to come.
"""

from __future__ import annotations

import hmac
import math
from calendar import timegm
from datetime import UTC, datetime
from email.utils import parsedate
from typing import Final, NamedTuple

from runtime.signature import acs, acs3, fc
from runtime.signature.errors import SKEW_S_MAX, SignatureRefused, missing
from runtime.signature.request import BodyDigest, RequestHead, md5_of

ALLOWED: Final = f"'FC <AccessKeyId>:<Signature>', {acs3.ALLOWED} or 'acs <AccessKeyId>:<Signature>'"


class Claim(NamedTuple):
    """Whose signature a request bears. Nothing of it is proven yet."""

    scheme: str
    access_key_id: str
    signature: str
    signed_headers: tuple[str, ...] = ()


class Proof(NamedTuple):
    """What a signature that holds leaves to do."""

    nonce: str  # may be used once by this key; "" where the scheme has none
    signed_at_s: float
    body: BodyDigest | None  # what the body must be; None where nothing was said of it


def read_claim(head: RequestHead) -> Claim:
    """Raises SignatureRefused: 400 without the header, 403 when it has none of the three forms."""
    value = head.header("authorization")
    if not value:
        raise missing("Authorization", ALLOWED)
    for scheme in (fc.SCHEME, acs.SCHEME):
        if value.startswith(scheme):
            key_id, colon, signature = value.removeprefix(scheme).partition(":")
            if colon:
                return Claim(scheme, key_id.strip(), signature.strip())
    if value.startswith(acs3.SCHEME):
        parts = acs3.parse(value.removeprefix(acs3.SCHEME))
        if parts is not None:
            return Claim(acs3.SCHEME, parts.access_key_id, parts.signature, parts.signed_headers)
    raise SignatureRefused("AccessDenied", f"header Authorization '{value[:20]}…': {ALLOWED} is allowed")


def verify(head: RequestHead, claim: Claim, *, secret: str, token: str = "", now_s: float) -> Proof:
    """Check a request against the secret of the key that it names, and the token of that key if it has one.

    Raises:
        SignatureRefused: 400 for a header that is missing; 403 for a date that is more than a quarter of an hour off, a
            token that is not the key's, or a signature that does not match.
    """
    body, nonce = md5_of(head), ""
    if claim.scheme == fc.SCHEME:
        signed_at_s = _check_date(fc.date_of(head), now_s)
        _check_token(head.header("x-fc-security-token"), token)
        fc.check(head, claim.signature, secret)
    elif claim.scheme == acs.SCHEME:
        signed_at_s = _check_date(acs.date_of(head), now_s)
        _check_token(head.header("x-acs-security-token"), token)
        acs.check(head, claim.signature, secret)
        nonce = head.header("x-acs-signature-nonce")
    else:
        acs3.check_headers(head, claim.signed_headers)
        signed_at_s = _check_date(head.header("x-acs-date"), now_s)
        _check_token(head.header("x-acs-security-token"), token)
        acs3.check(head, acs3.Parts(claim.access_key_id, claim.signed_headers, claim.signature), secret)
        body, nonce = acs3.body_of(head), head.header("x-acs-signature-nonce")
    return Proof(nonce, signed_at_s, body)


def _check_token(given: str, token: str) -> None:
    # A key without a token takes any: it is signed, and says nothing here.
    if token and not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode()):
        raise SignatureRefused("AccessDenied", "the security token is not that of the access key")


def _check_date(value: str, now_s: float) -> float:
    at_s = _parse_date(value)
    if abs(at_s - now_s) > SKEW_S_MAX:
        message = f"date '{value}' is more than {SKEW_S_MAX / 60:g} minutes from this machine's time"
        raise SignatureRefused("AccessDenied", message)
    return at_s


def _parse_date(value: str) -> float:
    """RFC 1123 as in `Date`, or RFC 3339 as in `x-acs-date`."""
    try:
        if value[:4].isdecimal():
            return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        parsed = parsedate(value)
        if parsed is not None:
            return float(timegm(parsed))
    except OverflowError:
        return math.inf
    except ValueError:
        pass
    allowed = "'Sat, 21 Nov 2026 09:00:00 GMT' and '2026-11-21T09:00:00Z'"
    raise SignatureRefused("AccessDenied", f"date '{value}': dates like {allowed} are allowed")
