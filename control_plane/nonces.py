"""Which nonces of signed requests were used: in the store, where several processes must agree, and here as well.

While the store is away the process goes on with what it remembers itself.
"""

from __future__ import annotations

import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

from runtime.access.nonces import REMEMBERED_S, Nonces, nonce_digest

log = logging.getLogger(__name__)

KEY_PREFIX = "stoke:nonce:"


class SharedNonces:
    """Fills `api.auth.SpentNonces`. The client is the caller's to close."""

    def __init__(self, redis: Redis, own: Nonces | None = None) -> None:
        self._redis = redis
        self._own = own or Nonces()

    async def use(self, access_key_id: str, nonce: str, now_s: float) -> bool:
        if not self._own.use(access_key_id, nonce, now_s):
            return False
        key = KEY_PREFIX + nonce_digest(access_key_id, nonce).hex()
        try:
            return bool(await self._redis.set(key, b"", nx=True, px=int(REMEMBERED_S * 1000)))
        except (RedisError, OSError) as error:
            log.warning("nonces.local_only error=%s", error)
            return True
