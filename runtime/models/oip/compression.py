"""Bodies that are compressed: gzip, and deflate, which means zlib's format (RFC 9110, section 8.4.1). Pure."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from runtime.models.oip.binary import Buffer
from runtime.models.oip.problems import TOO_LARGE, OipError

GZIP: Final = "gzip"
DEFLATE: Final = "deflate"
IDENTITY: Final = "identity"
_WINDOW: Final = {GZIP: 16 + zlib.MAX_WBITS, DEFLATE: zlib.MAX_WBITS}
_LEVEL: Final = 1  # tensors compress little: time is what is saved
WORTH_BYTES: Final = 1024  # below this a compressed body is no shorter


def decompressed(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """The body that was sent, at most `bytes_max` of it unpacked. Raises OipError."""
    name = encoding.strip().lower()
    if name in ("", IDENTITY):
        return body
    if name not in _WINDOW:
        raise OipError(f"Content-Encoding {encoding!r}: {GZIP} and {DEFLATE} are allowed")
    reader = zlib.decompressobj(_WINDOW[name])
    try:
        plain = reader.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise OipError(f"the body is not {name}, as Content-Encoding says: {error}") from error
    if len(plain) > bytes_max:
        raise OipError(
            f"the body has more than {bytes_max} bytes when it is unpacked, which is the most allowed", TOO_LARGE
        )
    if not reader.eof or reader.unused_data:
        raise OipError(f"the body is not one whole stream of {name}, as Content-Encoding says")
    return plain


def accepted(header: str) -> str:
    """The encoding an answer may have by its request's Accept-Encoding: what the client likes best, gzip of equals."""
    best, best_weight = IDENTITY, 0.0
    for item in header.lower().split(","):
        name, _, parameters = item.strip().partition(";")
        weight = _weight(parameters)
        name = name.strip()
        if name in _WINDOW and (weight > best_weight or (weight == best_weight > 0 and name == GZIP)):
            best, best_weight = name, weight
    return best


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return min(1.0, max(0.0, float(value)))
    except ValueError:
        return 0.0


def compressed(buffers: Sequence[Buffer], encoding: str) -> list[Buffer]:
    writer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW[encoding])
    parts: list[Buffer] = [part for buffer in buffers if (part := writer.compress(buffer))]
    parts.append(writer.flush())
    return parts
