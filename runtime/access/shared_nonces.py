"""Which nonces of signed requests were used: in the store, where all processes must agree, and in this one as well.

While the store is away, or silent, a process goes on with what it remembers itself: nonces that it takes meanwhile are
known to no other, and one that another took before is good here once more.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Final

import redis.asyncio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from runtime.access.nonces import REMEMBERED_S, Nonces, nonce_digest

log = logging.getLogger(__name__)

KEY_PREFIX: Final = "stoke:nonce:"
ANSWER_S: Final = 1.0  # a store that is silent for longer is not waited for
AGAIN_S: Final = 1.0  # after which a store that was away is asked again
_CONNECTIONS_MAX: Final = 32


def connect(url: str) -> Redis:
    """A client for `SharedNonces` alone. Nothing is connected yet."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url, max_connections=_CONNECTIONS_MAX, timeout=ANSWER_S, retry=Retry(NoBackoff(), 0)
    )
    return Redis.from_pool(pool)


class SharedNonces:
    """Fills `api.auth.SpentNonces`. The client is the caller's to close."""

    def __init__(self, redis: Redis, own: Nonces | None = None, *, answer_s: float = ANSWER_S) -> None:
        self._redis = redis
        self._own = own or Nonces()
        self._answer_s = answer_s
        self._away_until_s = 0.0  # monotonic

    async def use(self, access_key_id: str, nonce: str, now_s: float) -> bool:
        """True the first time, False when it was used before, here or at another process."""
        return self.use_here(access_key_id, nonce, now_s) and await self.use_everywhere(access_key_id, nonce)

    def use_here(self, access_key_id: str, nonce: str, now_s: float) -> bool:
        """The half of `use` that waits for nothing: False when this process has seen it."""
        return self._own.use(access_key_id, nonce, now_s)

    async def use_everywhere(self, access_key_id: str, nonce: str) -> bool:
        """The other half: False when another process has seen it. True while the store cannot say."""
        if monotonic() < self._away_until_s:
            return True
        key = KEY_PREFIX + nonce_digest(access_key_id, nonce).hex()
        try:
            async with asyncio.timeout(self._answer_s):
                return bool(await self._redis.set(key, b"", nx=True, px=int(REMEMBERED_S * 1000)))
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until_s = monotonic() + AGAIN_S
            log.warning("nonces.local_only error=%r", str(error))
            return True
