"""A request as its signature sees it, and the body that it promises."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from runtime.signature.errors import SignatureRefused

_CHANGED: Final = "the body is not the one that was signed: header {} says another digest"


@dataclass(frozen=True, slots=True)
class RequestHead:
    """`path` and `query` are as in the request line. `base_path` is what of a trigger's path belongs to the URL's form;
    it is None for a request to the API."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    base_path: str | None = None

    @classmethod
    def of(
        cls,
        method: str,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        base_path: str | None = None,
    ) -> Self:
        """From what came over the wire. A header that is given twice counts as one list (RFC 9110, section 5.2)."""
        values: dict[str, str] = {}
        for name, value in headers:
            key = name.decode("latin-1").lower()
            text = value.decode("latin-1")
            values[key] = f"{values[key]},{text}" if key in values else text
        path, _, query = target.decode("latin-1").partition("?")
        return cls(method.upper(), path, query, values, base_path)

    def header(self, name: str) -> str:
        """ "" when it is not there; `name` in lower case."""
        return self.headers.get(name, "")


class BodyDigest:
    """What a body must be, told by a signed header. Fed piece by piece, asked at the end."""

    __slots__ = ("_allowed", "_hash", "_header")

    def __init__(self, header: str, algorithm: str, allowed: str) -> None:
        self._header = header
        self._allowed = allowed.encode()
        # MD5 is a checksum here: it is what the header is defined as.
        self._hash = hashlib.new(algorithm, usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        self._hash.update(piece)

    def check(self) -> None:
        """Raises SignatureRefused (SignatureNotMatch) when the whole body is another one."""
        if self._header == "x-acs-content-sha256":
            readings = [self._hash.hexdigest().encode()]
        else:
            # RFC 1864 has the digest itself in base64, one official client its hexadecimal form.
            readings = [base64.b64encode(each) for each in (self._hash.digest(), self._hash.hexdigest().encode())]
        if not any(hmac.compare_digest(reading, self._allowed) for reading in readings):
            raise SignatureRefused("SignatureNotMatch", _CHANGED.format(self._header))


def md5_of(head: RequestHead) -> BodyDigest | None:
    """The check of Content-MD5 where it was sent, which the schemes FC and acs sign."""
    value = head.header("content-md5").strip()
    return BodyDigest("content-md5", "md5", value) if value else None
