"""The scheme `Authorization: acs <id>:<signature>` (HMAC-SHA1) that Alibaba Cloud's SDKs had before ACS3."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import parse_qsl, unquote

from runtime.signature.errors import missing, not_matching
from runtime.signature.request import RequestHead

SCHEME: Final = "acs "
MADE_OF: Final = "the method, Accept, Content-MD5, Content-Type, Date, the x-acs-* headers, the path and the query"


def date_of(head: RequestHead) -> str:
    date = head.header("date")
    if not date:
        raise missing("Date", "a date like 'Sat, 21 Nov 2026 09:00:00 GMT'")
    return date


def string_to_sign(head: RequestHead, path: str) -> str:
    lines = [head.method, *(head.header(name) for name in ("accept", "content-md5", "content-type", "date"))]
    lines += [f"{name}:{head.header(name).strip()}" for name in sorted(head.headers) if name.startswith("x-acs-")]
    pairs = sorted(parse_qsl(head.query, keep_blank_values=True))
    query = "&".join(f"{key}={value}" if value else key for key, value in pairs)
    return "\n".join((*lines, f"{path}?{query}" if query else path))


def sign(secret: str, text: str) -> str:
    """HMAC-SHA1, which is what the scheme is; as a keyed hash it is not known to be broken."""
    digest = hmac.digest(secret.encode(), text.encode("utf-8", "surrogateescape"), hashlib.sha1)
    return base64.b64encode(digest).decode()


def check(head: RequestHead, signature: str, secret: str) -> None:
    """Raises SignatureRefused when the signature is another one."""
    matches = [
        hmac.compare_digest(
            sign(secret, string_to_sign(head, path)).encode(), signature.encode("utf-8", "surrogateescape")
        )
        for path in dict.fromkeys((head.path, unquote(head.path)))
    ]
    if not any(matches):
        raise not_matching(MADE_OF)
