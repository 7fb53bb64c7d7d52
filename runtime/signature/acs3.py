"""The scheme `Authorization: ACS3-HMAC-SHA256 Credential=…,SignedHeaders=…,Signature=…` of the newer SDKs."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, quote

from runtime.signature.errors import SignatureRefused, missing, not_matching
from runtime.signature.request import BodyDigest, RequestHead

SCHEME: Final = "ACS3-HMAC-SHA256"
ALLOWED: Final = "'ACS3-HMAC-SHA256 Credential=<AccessKeyId>,SignedHeaders=<a;b>,Signature=<hex>'"
MADE_OF: Final = "the method, the path, the query, the headers that SignedHeaders names and x-acs-content-sha256"
_REQUIRED: Final = ("x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256")
_NONCE_CHARS_MAX: Final = 256


class Parts(NamedTuple):
    access_key_id: str
    signed_headers: tuple[str, ...]
    signature: str


def parse(rest: str) -> Parts | None:
    """What follows the scheme's name; None when it has not the form."""
    fields = dict(re.findall(r"(\w+)=([^,\s]+)", rest))
    try:
        names = tuple(fields["SignedHeaders"].lower().split(";"))
        return Parts(fields["Credential"], names, fields["Signature"])
    except KeyError:
        return None


def check_headers(head: RequestHead, signed_headers: tuple[str, ...]) -> None:
    """All that decides about a request must be there, and be signed.

    Raises:
        SignatureRefused: 400 for a header that is missing, 403 for one that SignedHeaders leaves out.
    """
    for name in _REQUIRED:
        if not head.header(name):
            raise missing(name, "a signed request has it; a value")
    nonce = head.header("x-acs-signature-nonce")
    if len(nonce) > _NONCE_CHARS_MAX:
        message = f"header x-acs-signature-nonce has {len(nonce)} characters: at most {_NONCE_CHARS_MAX} are allowed"
        raise SignatureRefused("InvalidArgument", message, 400)
    # A header that nobody signed could be changed on the way. x-acs-content-sha256 is signed in a place of its own.
    left_out = [
        name
        for name in head.headers
        if name.startswith("x-acs-") and name != "x-acs-content-sha256" and name not in signed_headers
    ]
    if left_out:
        raise SignatureRefused("SignatureNotMatch", f"header {left_out[0]} is not among SignedHeaders: it must be")


def string_to_sign(head: RequestHead, signed_headers: tuple[str, ...]) -> str:
    pairs = sorted(parse_qsl(head.query, keep_blank_values=True))
    query = "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in pairs)
    headers = "".join(f"{name}:{head.header(name).strip()}\n" for name in signed_headers)
    canonical = "\n".join(
        (head.method, head.path, query, headers, ";".join(signed_headers), head.header("x-acs-content-sha256"))
    )
    return f"{SCHEME}\n{hashlib.sha256(canonical.encode('utf-8', 'surrogateescape')).hexdigest()}"


def check(head: RequestHead, parts: Parts, secret: str) -> None:
    """Raises SignatureRefused when the signature is another one."""
    text = string_to_sign(head, parts.signed_headers)
    expected = hmac.digest(secret.encode(), text.encode(), hashlib.sha256).hex()
    if not hmac.compare_digest(expected.encode(), parts.signature.lower().encode("utf-8", "surrogateescape")):
        raise not_matching(MADE_OF)


def body_of(head: RequestHead) -> BodyDigest:
    return BodyDigest("x-acs-content-sha256", "sha256", head.header("x-acs-content-sha256").strip().lower())
