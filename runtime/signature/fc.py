"""The scheme `Authorization: FC <id>:<signature>`: HMAC-SHA256 of what FC's "signature authentication" page lists.

Where FC's clients differ among themselves (encoded or decoded paths, sorted or unsorted queries), a verifier accepts
each of their readings.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote, unquote_plus

from runtime.signature.errors import missing, not_matching
from runtime.signature.request import RequestHead

SCHEME: Final = "FC "
MADE_OF: Final = "the method, Content-MD5, Content-Type, Date, the x-fc-* headers, the path and a trigger's query"


def string_to_sign(
    method: str, path: str, headers: Mapping[str, str], *, resource_query: str | None = None, sort_query: bool = True
) -> str:
    """What the signature is made of.

    `resource_query` is None for API requests, whose query is not signed; for HTTP triggers it is the query as in the
    URL ("" if there is none), signed as decoded `key=value` lines, sorted, or by one client as they come. `path` is
    signed as given.
    """
    values = {name.lower(): value for name, value in headers.items()}
    signed = sorted((name, value) for name, value in values.items() if name.startswith("x-fc-"))
    return "\n".join(
        (
            method.upper(),
            values.get("content-md5", ""),
            values.get("content-type", ""),
            values.get("date", ""),
            "".join(f"{name}:{value}\n" for name, value in signed) + _resource(path, resource_query, sort_query),
        )
    )


def sign(secret: str, text: str) -> str:
    """HMAC-SHA256 in base64."""
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), hashlib.sha256)).decode()


def authorization(
    method: str,
    path: str,
    headers: Mapping[str, str],
    access_key_id: str,
    secret: str,
    *,
    resource_query: str | None = None,
) -> str:
    """The value of the Authorization header. `headers` must have the Date that is sent with it."""
    text = string_to_sign(method, path, headers, resource_query=resource_query)
    return f"{SCHEME}{access_key_id}:{sign(secret, text)}"


def date_of(head: RequestHead) -> str:
    """The date that counts. A browser's client cannot set Date, and says x-fc-date, which is signed as all x-fc-* are.

    Raises:
        SignatureRefused: 400, there is none.
    """
    date = head.header("x-fc-date") or head.header("date")
    if not date:
        raise missing("Date", "a date like 'Sat, 21 Nov 2026 09:00:00 GMT'")
    return date


def check(head: RequestHead, signature: str, secret: str) -> None:
    """Raises SignatureRefused when no reading of the request has this signature."""
    # Every reading is compared, and each in constant time, so that time tells nothing of the right one.
    matches = [
        hmac.compare_digest(sign(secret, text).encode(), signature.encode("utf-8", "surrogateescape"))
        for text in _readings(head)
    ]
    if not any(matches):
        raise not_matching(MADE_OF)


def _resource(path: str, query: str | None, sort_query: bool) -> str:
    if query is None:
        return path
    if not sort_query:
        return path + "\n" + "\n".join(unquote(query).split("&"))
    pairs = [unquote_plus(pair) if "=" in pair else f"{unquote_plus(pair)}=" for pair in query.split("&") if pair]
    return path + "\n" + "\n".join(sorted(pairs))


def _readings(head: RequestHead) -> Iterator[str]:
    query = None if head.base_path is None else head.query
    paths = [head.path]
    if head.base_path and head.path.startswith(head.base_path):
        below = head.path[len(head.base_path) :] or "/"
        paths.append(below)
        if below.startswith("//"):  # a trigger's URL ends with a slash, and one client puts its whole path behind it
            paths.append(below[1:])
    for signed_path in dict.fromkeys(reading for each in paths for reading in (each, unquote(each))):
        for sort_query in (True, False) if query else (True,):
            yield string_to_sign(head.method, signed_path, head.headers, resource_query=query, sort_query=sort_query)
