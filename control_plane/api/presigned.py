"""URLs that may be fetched without a signature in a header, for a while: that of a function's code. Pure."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

GOOD_FOR_S: Final = 600


def presigned(path: str, key: bytes, now_s: float) -> str:
    """The path with the query that makes it good for ten minutes."""
    expires = int(now_s) + GOOD_FOR_S
    return f"{path}?expires={expires}&signature={_signature(path, expires, key)}"


def is_good(path: str, expires: str, signature: str, key: bytes, now_s: float) -> bool:
    if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12) or int(expires) < now_s:
        return False
    return hmac.compare_digest(_signature(path, int(expires), key).encode(), signature.encode())


def _signature(path: str, expires: int, key: bytes) -> str:
    return hmac.digest(key, f"GET {path} {expires}".encode(), hashlib.sha256).hex()
