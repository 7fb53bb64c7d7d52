"""What the autoscaler remembers, kept in the store so that a restart or another control plane forgets nothing."""

from __future__ import annotations

from typing import Any, Final, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from control_plane.errors import Unavailable

AUTOSCALER_KEY: Final = "stoke:autoscaler"


class MemoryStore(Protocol):
    """Memories by provision config, as JSON. Both methods raise Unavailable."""

    async def load(self) -> dict[str, str]: ...

    async def save(self, memories: dict[str, str]) -> None:
        """Replace all that is kept."""


class RedisMemoryStore:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._last: dict[str, str] = {}

    async def load(self) -> dict[str, str]:
        try:
            values: dict[Any, Any] = await self._redis.hgetall(AUTOSCALER_KEY)
        except RedisError as error:
            raise Unavailable(f"the store cannot be reached: {error}") from error
        self._last = {name.decode(): value.decode() for name, value in values.items()}
        return dict(self._last)

    async def save(self, memories: dict[str, str]) -> None:
        changed: dict[Any, Any] = {name: value for name, value in memories.items() if self._last.get(name) != value}
        gone = self._last.keys() - memories.keys()
        if not changed and not gone:
            return
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                if changed:
                    pipe.hset(AUTOSCALER_KEY, mapping=changed)
                if gone:
                    pipe.hdel(AUTOSCALER_KEY, *gone)
                await pipe.execute()
        except RedisError as error:
            raise Unavailable(f"the store cannot be reached: {error}") from error
        self._last = dict(memories)


class InProcessMemoryStore:
    """The same without a store behind it, for tests and simulations."""

    def __init__(self) -> None:
        self.memories: dict[str, str] = {}

    async def load(self) -> dict[str, str]:
        return dict(self.memories)

    async def save(self, memories: dict[str, str]) -> None:
        self.memories = dict(memories)
