"""Grants in Redis: written in the order of their epochs by one lessor, and told to gateways through the feed."""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from redis.asyncio import Redis

from control_plane.fleet.leases import Batch
from control_plane.reaching import reaching_the_store
from runtime.contract import FEED_KEY, FEED_LENGTH_MAX
from runtime.leasing import LEASE_ORDER_KEY, LEASE_RENEWALS_KEY, LEASEHOLDERS_KEY, LEASES_KEY, Grants, Holder

# KEYS: order, leases, holders, feed. ARGV: term, first epoch, last epoch, length of the feed, how many grants, then for
# each instance and value, then for each holder and value; "" = is no more. Gives 1; 0 for a write that was made already
# or comes after later ones; -1 when another lessor has begun.
WRITE: Final = """
if redis.call('HGET', KEYS[1], 'term') ~= ARGV[1] then return -1 end
if tonumber(ARGV[2]) <= tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0') then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[3])
local at, grants_end = 6, 5 + 2 * tonumber(ARGV[5])
while at < #ARGV do
  local key = at <= grants_end and KEYS[2] or KEYS[3]
  if ARGV[at + 1] == '' then
    redis.call('HDEL', key, ARGV[at])
  else
    redis.call('HSET', key, ARGV[at], ARGV[at + 1])
  end
  if at <= grants_end then
    redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[4], '*', 'key', key, 'field', ARGV[at], 'value', ARGV[at + 1])
  end
  at = at + 2
end
return 1
"""


class Superseded(Exception):
    """Another lessor has begun: what this one knows does not count any more."""


@dataclass(frozen=True, slots=True)
class Left:
    """What an earlier lessor has left."""

    term: int
    epoch: int
    grants: dict[str, Grants]
    holders: dict[str, Holder]


class LeaseStore(Protocol):
    """Where grants live. Both methods raise Unavailable when the store is away."""

    async def begin(self) -> Left:
        """Become the lessor: nothing that an earlier one has sent is written after this."""

    async def write(self, term: int, batch: Batch) -> None:
        """Durable on return, as a whole. After Unavailable it may have been written, or may be yet, but not after a
        later batch. Raises Superseded."""

    async def renewals(self) -> dict[str, str]:
        """What gateways with leases have written, by gateway. Raises Unavailable."""

    async def drop_renewals(self, gateways: Collection[str]) -> None:
        """Of gateways that are no more. Raises Unavailable."""


class RedisLeaseStore:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._write: Any = redis.register_script(WRITE)

    async def begin(self) -> Left:
        with reaching_the_store():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hincrby(LEASE_ORDER_KEY, "term", 1)
                pipe.hget(LEASE_ORDER_KEY, "epoch")
                pipe.hgetall(LEASES_KEY)
                pipe.hgetall(LEASEHOLDERS_KEY)
                term, epoch, grants, holders = await pipe.execute()
        return Left(
            int(term),
            int(epoch or 0),
            {name.decode(): Grants.from_json(value) for name, value in grants.items()},
            {name.decode(): Holder.from_json(value) for name, value in holders.items()},
        )

    async def write(self, term: int, batch: Batch) -> None:
        words: list[Any] = [term, batch.first_epoch, batch.epoch, FEED_LENGTH_MAX, len(batch.grants)]
        for name, value in (*batch.grants, *batch.holders):
            words += (name, "" if value is None else value.to_json())
        keys = [LEASE_ORDER_KEY, LEASES_KEY, LEASEHOLDERS_KEY, FEED_KEY]
        with reaching_the_store():
            answer = await cast("Awaitable[Any]", self._write(keys=keys, args=words))
        if int(answer) < 0:
            raise Superseded(f"term {term} is over")

    async def renewals(self) -> dict[str, str]:
        with reaching_the_store():
            found = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(LEASE_RENEWALS_KEY))
        return {name.decode(): count.decode() for name, count in found.items()}

    async def drop_renewals(self, gateways: Collection[str]) -> None:
        with reaching_the_store():
            await self._redis.hdel(LEASE_RENEWALS_KEY, *gateways)


class MemoryLeaseStore:
    """The same promises without a store behind them, for tests and simulations. `feed` has what gateways are told."""

    def __init__(self) -> None:
        self.term = self.epoch = 0
        self.grants: dict[str, Grants] = {}
        self.holders: dict[str, Holder] = {}
        self.feed: list[tuple[str, Grants | None]] = []
        self.renewed: dict[str, str] = {}

    async def begin(self) -> Left:
        self.term += 1
        return Left(self.term, self.epoch, dict(self.grants), dict(self.holders))

    async def write(self, term: int, batch: Batch) -> None:
        self.take(term, batch)

    def take(self, term: int, batch: Batch) -> None:
        """A write that arrives, late or again perhaps. Raises Superseded."""
        if term != self.term:
            raise Superseded(f"term {term} is over")
        if batch.first_epoch <= self.epoch:
            return
        self.epoch = batch.epoch
        for instance_id, grants in batch.grants:
            self.feed.append((instance_id, grants))
            if grants is None:
                self.grants.pop(instance_id, None)
            else:
                self.grants[instance_id] = grants
        for name, holder in batch.holders:
            if holder is None:
                self.holders.pop(name, None)
            else:
                self.holders[name] = holder

    async def renewals(self) -> dict[str, str]:
        return dict(self.renewed)

    async def drop_renewals(self, gateways: Collection[str]) -> None:
        for name in gateways:
            self.renewed.pop(name, None)
