"""What is said on the store's channels: heard for ever and handed to whom it concerns, whatever it is."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from control_plane.ports import Clock

log = logging.getLogger(__name__)

RECONNECT_S = 0.2


class Hearing:
    """`listeners` by channel: each takes the bytes of a message, and raises ValueError or TypeError where it cannot be
    read. `begun` is called whenever hearing begins: what was said before is not heard."""

    def __init__(
        self, redis: Redis, clock: Clock, listeners: Mapping[str, Callable[[bytes], None]], begun: Callable[[], None]
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._listeners = {channel.encode(): listener for channel, listener in listeners.items()}
        self._begun = begun

    async def run(self) -> None:
        while True:
            with contextlib.suppress(RedisError, OSError):
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(*self._listeners)
                    self._begun()
                    async for message in pubsub.listen():
                        self.heard(message)
            await self._clock.sleep(RECONNECT_S)

    def heard(self, message: Mapping[str, Any]) -> None:
        """One message as the client of the store gives it."""
        if message["type"] != "message":
            return
        try:
            self._listeners[message["channel"]](message["data"])
        except (ValueError, TypeError) as error:
            log.warning("channel.unreadable channel=%s error=%s", message["channel"].decode(), error)
