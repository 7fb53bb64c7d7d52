"""Remembers which nonces were used, so that a signed request that was overheard cannot be sent again. Pure."""

from __future__ import annotations

import hashlib
from typing import Final

from runtime.signature import SKEW_S_MAX

# A request may be dated a quarter of an hour ahead, and is good for another one after its date.
REMEMBERED_S: Final = 2 * SKEW_S_MAX
NONCES_MAX: Final = 200_000


class Nonces:
    """Two generations: the younger takes in, the older only remembers. At most `nonces_max` are held in both.

    Only requests whose signature holds are entered, so nobody without a key can push others out. When a key's owner
    brings more than fit, the oldest are forgotten first: their own requests might then be sent again.
    """

    def __init__(self, nonces_max: int = NONCES_MAX) -> None:
        self._half_max = max(1, nonces_max // 2)
        self._younger: set[bytes] = set()
        self._older: set[bytes] = set()
        self._turned_at_s = 0.0

    def __len__(self) -> int:
        return len(self._younger) + len(self._older)

    def use(self, access_key_id: str, nonce: str, now_s: float) -> bool:
        """True the first time, False when it was used before."""
        if now_s - self._turned_at_s >= REMEMBERED_S or len(self._younger) >= self._half_max:
            is_past = now_s - self._turned_at_s >= 2 * REMEMBERED_S
            self._older, self._younger, self._turned_at_s = set() if is_past else self._younger, set(), now_s
        digest = nonce_digest(access_key_id, nonce)
        if digest in self._younger or digest in self._older:
            return False
        self._younger.add(digest)
        return True


def nonce_digest(access_key_id: str, nonce: str) -> bytes:
    """16 bytes for a nonce of any length; neither part can be moved into the other."""
    text = f"{len(access_key_id)}:{access_key_id}{nonce}"
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()
