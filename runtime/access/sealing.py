"""Encrypts what an access key's owner alone should know, with a key that is never in the store.

AES-256-GCM; the id of the access key is bound to it, so that sealed secrets cannot be exchanged for one another.
`cryptography` is imported when something is sealed or opened, not before: a gateway that meets only the local key does
without its memory.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Final

FILE_NAME: Final = "secret.key"
KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class SealBroken(Exception):
    """It was not sealed with this key, or not for this id, or was changed since."""


class Box:
    """Seals and opens with one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key has {len(key)} bytes: {KEY_BYTES} are allowed")
        self._key = key

    def seal(self, text: str, bound_to: str) -> str:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._key).encrypt(nonce, text.encode(), bound_to.encode())
        return base64.b64encode(nonce + sealed).decode()

    def open(self, sealed: str, bound_to: str) -> str:
        """Raises SealBroken."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            data = base64.b64decode(sealed, validate=True)
            return AESGCM(self._key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound_to.encode()).decode()
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise SealBroken("it cannot be opened with this secret.key") from error

    def derive(self, purpose: str) -> bytes:
        """Another key, for one purpose, that tells nothing of this one."""
        return hmac.digest(self._key, purpose.encode(), hashlib.sha256)


def new_key() -> str:
    """The text of a new key file."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode() + "\n"


def read_box(path: Path) -> Box:
    """Raises OSError when the file cannot be read, ValueError when it holds no key."""
    try:
        return Box(base64.b64decode(path.read_text().strip(), validate=True))
    except binascii.Error as error:
        raise ValueError(f"{path} is not base64: {KEY_BYTES} bytes in base64 are allowed") from error
