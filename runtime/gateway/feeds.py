"""Follows the registry's routes and the fleet's instances in the store.

First the two hashes and the last id of the stream of their changes, in one transaction; then the stream from that id.
Whenever the stream may have a gap (it was trimmed past us, it is not the one we followed, or the connection broke)
everything is read again. While the store is away the gateway goes on with what it knows.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from runtime.contract import FEED_KEY, INSTANCES_KEY, ROUTES_KEY, USAGE_CHANNEL, UsageReport
from runtime.leasing import (
    LEASE_CHANNEL,
    LEASE_ORDER_KEY,
    LEASE_RENEWALS_KEY,
    LEASES_KEY,
    LEFT,
    LeaseReport,
    renewal,
)

log = logging.getLogger(__name__)

_BATCH_MAX: Final = 500
_BLOCK_S: Final = 2.0  # then ask whether the stream is still the one that was followed
_CONNECT_S: Final = 2.0
_ANSWER_S: Final = 5.0  # a store that is silent for longer is taken for away
_BACK_OFF_S_MAX: Final = 1.0

Entry = tuple[str, dict[str, str]]
Position = tuple[int, int]


class Listener(Protocol):
    def load(self, routes: Mapping[str, str], instances: Mapping[str, str]) -> None:
        """Everything there is: what is not in it is no more."""

    def load_leases(self, grants: Mapping[str, str]) -> None:
        """All grants of slots, told before the rest where the listener shares instances with others."""

    def change(self, key: str, field: str, value: str) -> None:
        """One change; `value` is "" for what was removed."""


class Store:
    """The gateway's two connections to the store: one that follows the feed, one that publishes."""

    def __init__(self, url: str, *, with_leases: bool = False, gateway_id: str = "") -> None:
        """`gateway_id` is whose lease is renewed."""
        self._with_leases = with_leases
        self._gateway_id = gateway_id
        # redis-py's own retries would keep a lost connection from being noticed; `follow` has its own.
        self._client = redis.asyncio.Redis.from_url(
            url,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=2.0,
        )
        self.is_away = False

    async def follow(self, listener: Listener, back_off: Callable[[], float] = random.random) -> None:
        """Tell the listener of everything, then of each change, until cancelled. `back_off` is in [0, 1)."""
        wait_s = 0.05
        while True:
            try:
                position = await self._load(listener)
                wait_s, self.is_away = 0.05, False
                log.info("feed-loaded position=%s", _shown(position))
                await self._follow_from(position, listener)
                log.warning("feed-gap")
                continue
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("store-away error=%r", str(error))
                self.is_away = True
            except Exception:
                # What cannot be read is passed over by reading everything: without its feed a gateway would go on for
                # ever with what it knew, and nobody would notice.
                log.exception("feed-broken")
            await self._client.connection_pool.disconnect()
            await asyncio.sleep(wait_s * (0.5 + back_off() / 2))
            wait_s = min(wait_s * 2, _BACK_OFF_S_MAX)

    async def publish(self, report: UsageReport) -> bool:
        """Whether anybody listened. Raises OSError when the store is away; the report is lost then."""
        try:
            listeners: int = await self._client.publish(USAGE_CHANNEL, report.to_json())
            return listeners > 0
        except (RedisError, TimeoutError) as error:
            raise ConnectionError(str(error)) from error

    async def publish_lease(self, report: LeaseReport) -> None:
        """Raises OSError when the store is away; the report is lost then."""
        try:
            await self._client.publish(LEASE_CHANNEL, report.to_json())
        except (RedisError, TimeoutError) as error:
            raise ConnectionError(str(error)) from error

    async def renew(self, count: int, term: int) -> int:
        """As `tenure.Renewals` has it."""
        try:
            async with self._client.pipeline(transaction=True) as transaction:
                transaction.hset(LEASE_RENEWALS_KEY, self._gateway_id, renewal(count, term))
                transaction.hget(LEASE_ORDER_KEY, "term")
                _, newest = await transaction.execute()
        except (RedisError, TimeoutError) as error:
            raise ConnectionError(str(error)) from error
        return int(newest or 0)

    async def leave(self) -> None:
        try:
            await self._client.hset(LEASE_RENEWALS_KEY, self._gateway_id, LEFT)
        except (RedisError, TimeoutError) as error:
            raise ConnectionError(str(error)) from error

    async def close(self) -> None:
        await self._client.aclose()

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _load(self, listener: Listener) -> Position:
        async with self._client.pipeline(transaction=True) as transaction:
            transaction.hgetall(ROUTES_KEY)
            transaction.hgetall(INSTANCES_KEY)
            transaction.xinfo_stream(FEED_KEY)
            if self._with_leases:
                transaction.hgetall(LEASES_KEY)
            routes, instances, info, *leases = await transaction.execute(raise_on_error=False)
        for answer in (routes, instances, *leases):
            if isinstance(answer, Exception):
                raise answer
        for grants in leases:
            listener.load_leases(grants)
        listener.load(routes, instances)
        return _position(info)

    async def _follow_from(self, position: Position, listener: Listener) -> None:
        """Returns when the stream may have a gap."""
        while True:
            answer: Any = await self._client.xread(
                {FEED_KEY: _shown(position)}, count=_BATCH_MAX, block=int(_BLOCK_S * 1000)
            )
            entries: list[Entry] = answer[0][1] if answer else []
            if len(entries) in (0, _BATCH_MAX) and not await self._is_whole_since(position):
                return
            for entry_id, fields in entries:
                listener.change(fields["key"], fields["field"], fields["value"])
                position = _parse(entry_id)

    async def _is_whole_since(self, position: Position) -> bool:
        """Whether nothing after `position` was taken from the stream, and it is the same stream."""
        try:
            info: dict[str, Any] = await self._client.xinfo_stream(FEED_KEY)
        except ResponseError as error:
            return _position(error) == position
        last = _position(info)
        if last <= position:
            return last == position
        return _parse(info["first-entry"][0]) <= position or int(info["entries-added"]) == int(info["length"])


def _position(info: dict[str, Any] | Exception) -> Position:
    """The id of the last entry that was ever added; 0-0 of a stream that does not exist yet."""
    if isinstance(info, Exception):
        if "no such key" in str(info).lower():
            return (0, 0)
        raise info
    return _parse(info["last-generated-id"])


def decode(value: str) -> dict[str, Any]:
    """Raises ValueError for what is no JSON object."""
    decoded = json.loads(value)
    if not isinstance(decoded, dict):
        raise ValueError(f"{value[:100]!r}: a JSON object is allowed")
    return decoded


def _parse(entry_id: str) -> Position:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


def _shown(position: Position) -> str:
    return f"{position[0]}-{position[1]}"
