"""What the autoscaler remembers, kept in the store so that a restart or another control plane forgets nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

from redis.asyncio import Redis

from control_plane.reaching import reaching_the_store

AUTOSCALER_KEY: Final = "stoke:autoscaler"
SAVED_AT_ONCE_LEAST: Final = 100  # memories in one write; more than that are spread over the ticks until all are due
# A memory is 4 kB of text. With more than five thousand busy functions each has its turn later, and a restart forgets
# more than five of its last seconds.
SAVED_AT_ONCE_MOST: Final = 1000

Name = TypeVar("Name")


class MemoryStore(Protocol):
    """Memories by provision config, as JSON. Both methods raise Unavailable."""

    async def load(self) -> dict[str, str]: ...

    async def save(self, memories: Mapping[str, str], gone: Collection[str] = ()) -> None:
        """Put these in the place of what is kept of them, and drop those that are gone; the others stay."""


class Unsaved(Generic[Name]):
    """Whose memory the store does not have as it is now. Each is due after `every_s`; many at once take turns."""

    def __init__(self, every_s: float, tick_s: float) -> None:
        self._every_s = every_s
        self._part = min(1.0, tick_s / every_s) if every_s > 0.0 else 1.0
        self._since_s: dict[Name, float] = {}  # the oldest first

    def note(self, name: Name, now: float) -> None:
        """Its memory has changed."""
        self._since_s.setdefault(name, now)

    def due(self, now: float) -> list[Name]:
        """Who is to be saved in a tick at `now`."""
        most = max(SAVED_AT_ONCE_LEAST, min(SAVED_AT_ONCE_MOST, math.ceil(len(self._since_s) * self._part)))
        oldest = itertools.islice(self._since_s.items(), most)
        return [name for name, since_s in oldest if now - since_s >= self._every_s]

    def saved(self, names: Iterable[Name]) -> None:
        """Nothing of these is left to save."""
        for name in names:
            self._since_s.pop(name, None)


class MemoryBook(Generic[Name]):
    """Who has a memory that the store is to have, and who had one that it need not have any more."""

    def __init__(self, store: MemoryStore, every_s: float, tick_s: float) -> None:
        self._store = store
        self._left: dict[str, str] | None = None  # by an earlier control plane; None = not read yet
        self._unsaved: Unsaved[Name] = Unsaved(every_s, tick_s)
        self._gone: set[str] = set()

    async def load(self) -> None:
        """Read what an earlier control plane has left, the first time. Raises Unavailable."""
        if self._left is None:
            self._left = await self._store.load()

    def take(self, names: Collection[Name]) -> dict[str, str]:
        """What was left of all there are, by their names as text; it is there once, and of others it is dropped."""
        left, self._left = self._left or {}, {}
        self._gone |= left.keys() - {str(name) for name in names}
        return left

    def changed(self, name: Name, now: float) -> None:
        self._unsaved.note(name, now)

    def forget(self, names: Collection[Name]) -> None:
        """They are no more, and take no turn from those that are."""
        self._gone |= {str(name) for name in names}
        self._unsaved.saved(names)

    async def save(self, now: float, at_once: Collection[Name], text_of: Callable[[Name], str]) -> None:
        """These at once, the rest in turn. Raises Unavailable: what is not saved stays due."""
        names = {*at_once, *self._unsaved.due(now)}
        memories = {str(name): text_of(name) for name in names}
        if memories or self._gone:
            await self._store.save(memories, self._gone - memories.keys())
        self._gone.clear()
        self._unsaved.saved(names)


class RedisMemoryStore:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def load(self) -> dict[str, str]:
        with reaching_the_store():
            values: dict[Any, Any] = await self._redis.hgetall(AUTOSCALER_KEY)
        return {name.decode(): value.decode() for name, value in values.items()}

    async def save(self, memories: Mapping[str, str], gone: Collection[str] = ()) -> None:
        if not memories and not gone:
            return
        changed: dict[Any, Any] = dict(memories)
        with reaching_the_store():
            async with self._redis.pipeline(transaction=True) as pipe:
                if changed:
                    pipe.hset(AUTOSCALER_KEY, mapping=changed)
                if gone:
                    pipe.hdel(AUTOSCALER_KEY, *gone)
                await pipe.execute()


class InProcessMemoryStore:
    """The same without a store behind it, for tests and simulations."""

    def __init__(self) -> None:
        self.memories: dict[str, str] = {}

    async def load(self) -> dict[str, str]:
        return dict(self.memories)

    async def save(self, memories: Mapping[str, str], gone: Collection[str] = ()) -> None:
        self.memories.update(memories)
        for name in gone:
            self.memories.pop(name, None)
