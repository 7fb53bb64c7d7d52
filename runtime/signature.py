"""Function Compute's request signature, `Authorization: FC <id>:<signature>`: what is signed, and whether it holds.

Pure; the time is passed in. The rules are those of FC's "signature authentication" page; where its clients differ among
themselves (encoded or decoded paths, sorted or unsorted queries), a verifier accepts each of their readings.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from calendar import timegm
from collections.abc import Iterator, Mapping
from email.utils import parsedate
from typing import Final
from urllib.parse import unquote, unquote_plus

SKEW_S_MAX: Final = 900.0  # between the client's clock and ours
_SCHEME: Final = "FC "
_ALLOWED: Final = "'FC <AccessKeyId>:<Signature>' is allowed"


class SignatureRefused(Exception):
    """A request is not signed as it must be. `code` is FC's ErrorCode; the status is always 403."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


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
    return f"{_SCHEME}{access_key_id}:{sign(secret, text)}"


def verify(
    method: str,
    path: str,
    headers: Mapping[str, str],
    *,
    access_key_id: str,
    secret: str,
    now_s: float,
    resource_query: str | None = None,
    base_path: str = "",
) -> None:
    """Return if the request is signed by this key within the last quarter of an hour.

    `path` and `resource_query` are as in the request line. `base_path` is the prefix of the path that names the
    trigger: one official client signs only what comes after it.

    Raises:
        SignatureRefused: no signature, another key, a date that is missing or too far off, or a wrong signature.
    """
    given_id, given = _parse_authorization(headers)
    if not hmac.compare_digest(given_id.encode(), access_key_id.encode()):
        raise SignatureRefused("InvalidAccessKeyID", f"access key id '{given_id}' does not exist")
    _check_date(headers, now_s)
    # Every reading is compared, and each in constant time, so that time tells nothing of the right one.
    matches = [
        hmac.compare_digest(sign(secret, text).encode(), given.encode())
        for text in _readings(method, path, headers, resource_query, base_path)
    ]
    if not any(matches):
        message = (
            "the signature does not match the request; it is made of the method, Content-MD5, Content-Type, Date, "
        )
        raise SignatureRefused("SignatureNotMatch", message + "the x-fc-* headers, the path and a trigger's query")


def _resource(path: str, query: str | None, sort_query: bool) -> str:
    if query is None:
        return path
    if not sort_query:
        return path + "\n" + "\n".join(unquote(query).split("&"))
    pairs = [unquote_plus(pair) if "=" in pair else f"{unquote_plus(pair)}=" for pair in query.split("&") if pair]
    return path + "\n" + "\n".join(sorted(pairs))


def _readings(method: str, path: str, headers: Mapping[str, str], query: str | None, base_path: str) -> Iterator[str]:
    paths = [path]
    if base_path and path.startswith(base_path):
        paths.append(path[len(base_path) :] or "/")
    for signed_path in dict.fromkeys(reading for each in paths for reading in (each, unquote(each))):
        for sort_query in (True, False) if query else (True,):
            yield string_to_sign(method, signed_path, headers, resource_query=query, sort_query=sort_query)


def _parse_authorization(headers: Mapping[str, str]) -> tuple[str, str]:
    value = _value(headers, "authorization")
    if not value:
        raise SignatureRefused("AccessDenied", f"header Authorization is missing: {_ALLOWED}")
    key_id, colon, signature = value.removeprefix(_SCHEME).partition(":")
    if not value.startswith(_SCHEME) or not colon:
        raise SignatureRefused("AccessDenied", f"header Authorization '{value[:20]}…': {_ALLOWED}")
    return key_id.strip(), signature.strip()


def _check_date(headers: Mapping[str, str], now_s: float) -> None:
    # A browser's client cannot set Date, and says x-fc-date, which is signed as all x-fc-* are.
    value = _value(headers, "x-fc-date") or _value(headers, "date")
    parsed = parsedate(value)
    if parsed is None:
        message = f"header Date '{value}': a date like 'Sat, 21 Nov 2026 09:00:00 GMT' is allowed"
        raise SignatureRefused("AccessDenied", message)
    try:
        skew_s = abs(timegm(parsed) - now_s)
    except (ValueError, OverflowError):
        skew_s = math.inf
    if skew_s > SKEW_S_MAX:
        message = f"header Date '{value}' is more than {SKEW_S_MAX / 60:g} minutes from this machine's time"
        raise SignatureRefused("AccessDenied", message)


def _value(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")
