"""The registry's store in Redis or Valkey: WATCH what a change reads, then one MULTI/EXEC with all it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from control_plane.errors import ConcurrentUpdate, Unavailable
from control_plane.registry.transaction import ALL, Span, Transaction, Writes
from runtime.contract import FEED_KEY, FEED_LENGTH_MAX, ROUTES_KEY

T = TypeVar("T")

# Of any changes that meet, one goes through at each attempt: so many may meet at one record before a caller is told.
ATTEMPTS_MAX: Final = 100
# Each change holds a connection while it is watching.
CHANGES_AT_ONCE_MAX: Final = 32


class RedisStore:
    """Fills `transaction.Store`. The client is the caller's to close."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._free = asyncio.Semaphore(CHANGES_AT_ONCE_MAX)

    async def get(self, *keys: str) -> list[str | None]:
        with _translated():
            return await _get(self._redis, keys)

    async def names(self, index: str, span: Span = ALL) -> list[str]:
        with _translated():
            return await _names(self._redis, index, span)

    async def change(self, plan: Callable[[Transaction], Awaitable[T]]) -> T:
        async with self._free:
            for _ in range(ATTEMPTS_MAX):
                try:
                    with _translated():
                        return await self._attempt(plan)
                except _Outrun:
                    continue
        raise ConcurrentUpdate(f"other changes were first at {ATTEMPTS_MAX} attempts: try again")

    async def _attempt(self, plan: Callable[[Transaction], Awaitable[T]]) -> T:
        async with self._redis.pipeline(transaction=True) as pipe:
            transaction = Transaction(_WatchingReader(pipe))
            result = await plan(transaction)
            if transaction.writes:
                pipe.multi()  # type: ignore[no-untyped-call]
                _queue(pipe, transaction.writes)
                await pipe.execute()
            return result


class _WatchingReader:
    """Reads on the connection that will write, so that EXEC fails if any of it changes in between."""

    def __init__(self, pipe: Pipeline) -> None:
        self._pipe = pipe

    async def get(self, *keys: str) -> list[str | None]:
        if keys:
            await self._pipe.watch(*keys)
        return await _get(self._pipe, keys)

    async def names(self, index: str, span: Span = ALL) -> list[str]:
        await self._pipe.watch(index)
        return await _names(self._pipe, index, span)


def _queue(pipe: Pipeline, writes: Writes) -> None:
    for key, value in writes.records.items():
        if value is None:
            pipe.delete(key)
        else:
            pipe.set(key, value)
    for (index, name), present in writes.indexed.items():
        if present:
            pipe.zadd(index, {name: 0})
        else:
            pipe.zrem(index, name)
    for route_field, value in writes.routes.items():
        if value is None:
            pipe.hdel(ROUTES_KEY, route_field)
        else:
            pipe.hset(ROUTES_KEY, route_field, value)
        entry = {"key": ROUTES_KEY, "field": route_field, "value": value or ""}
        pipe.xadd(FEED_KEY, cast("Any", entry), maxlen=FEED_LENGTH_MAX, approximate=True)


async def _get(redis: Redis, keys: tuple[str, ...]) -> list[str | None]:
    if not keys:
        return []
    return [None if value is None else _text(value) for value in await redis.mget(keys)]


async def _names(redis: Redis, index: str, span: Span) -> list[str]:
    low = f"[{span.low}" if span.low else "-"
    high = f"[{span.high}" if span.high else "+"
    first, last = (high, low) if span.backward else (low, high)
    offset = None if span.limit is None else 0
    members = await redis.zrange(
        index, cast("Any", first), cast("Any", last), desc=span.backward, bylex=True, offset=offset, num=span.limit
    )
    return [_text(cast("bytes | str", member)) for member in members]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


class _Outrun(Exception):
    """Something that was read has changed before it was written."""


@contextmanager
def _translated() -> Iterator[None]:
    """The client's exceptions become ours here, at the edge."""
    try:
        yield
    except redis_errors.WatchError as error:
        # The client also calls it so when the connection broke while watching, and then nobody knows whether the
        # change went through: only the caller may try again.
        lost = error.__context__
        if isinstance(lost, (redis_errors.ConnectionError, redis_errors.TimeoutError)):
            raise Unavailable(f"the store does not answer: {lost}") from error
        raise _Outrun from error
    except redis_errors.RedisError as error:
        raise Unavailable(f"the store does not answer: {error}") from error
