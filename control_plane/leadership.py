"""Which of several control planes leads: one holds a lease in the store, and its term fences what it writes.

The leader alone decides, launches and stops. The lease runs out by the store's clock when it is not renewed, so another
takes over after `lease_s` and one look at most. A new leader has a larger term, for ever: what an earlier one still
writes is refused by the store (`control_plane.fleet.fencing`), and by its own clock it asks backends for nothing
from `SURE_SHARE` of the lease after its last renewal was sent. A store that is away ends no leadership: nobody can
take over meanwhile, and on its return the old leader goes on if no other term has begun.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from redis.asyncio import Redis

from control_plane.errors import Unavailable
from control_plane.ports import Clock
from control_plane.reaching import reaching_the_store

log = logging.getLogger(__name__)

LEADER_KEY: Final = "stoke:leader"  # a hash, expiring: holder, address
TERM_KEY: Final = "stoke:leader:term"  # how often the leader has changed; never goes
LOOKS_PER_LEASE: Final = 5  # renewals of the leader, and looks of those that wait
# What is under way when a check says yes has the rest of the lease to arrive.
SURE_SHARE: Final = 0.8

# KEYS: leader, term. ARGV: holder, address, ms of the lease, its term ("0" before it has led).
# Gives: whether it leads now, the term, the leader's address.
TAKE: Final = """
local holder = redis.call('HGET', KEYS[1], 'holder')
local term = tonumber(redis.call('GET', KEYS[2]) or '0')
local mine = tonumber(ARGV[4])
if holder and holder ~= ARGV[1] then return {0, term, redis.call('HGET', KEYS[1], 'address')} end
if mine ~= 0 and mine ~= term then return {0, term, ''} end
if mine == 0 and not holder then term = redis.call('INCR', KEYS[2]) end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'address', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, term, ARGV[2]}
"""
GIVE: Final = """
if redis.call('HGET', KEYS[1], 'holder') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""


class Superseded(Exception):
    """Another control plane leads: what this one knows does not count any more."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The lease as it is after an attempt to take it."""

    leads: bool
    term: int
    address: str  # of who leads; "" = nobody


class LeaderStore(Protocol):
    """Where the lease is. Both methods raise Unavailable when the store is away."""

    async def take(self, holder: str, address: str, lease_s: float, term: int) -> Taken:
        """Take or renew it, if it is nobody's or this holder's. `term` is the holder's own, 0 before it has led: it is
        never given another one."""

    async def give(self, holder: str) -> None:
        """Give it back at once. Who does not hold it does nothing."""


class RedisLeaderStore:
    def __init__(self, redis: Redis) -> None:
        self._take: Any = redis.register_script(TAKE)
        self._give: Any = redis.register_script(GIVE)

    async def take(self, holder: str, address: str, lease_s: float, term: int) -> Taken:
        words = [holder, address, max(1, round(lease_s * 1000.0)), term]
        leads, term, leader = await _asked(self._take(keys=[LEADER_KEY, TERM_KEY], args=words))
        return Taken(bool(leads), int(term), leader.decode() if leader else "")

    async def give(self, holder: str) -> None:
        await _asked(self._give(keys=[LEADER_KEY], args=[holder]))


async def _asked(question: Any) -> Any:
    with reaching_the_store():
        return await cast("Awaitable[Any]", question)


class Leadership:
    """One control plane's part in it: `campaign` until it leads, then `keep` for ever."""

    def __init__(self, store: LeaderStore, clock: Clock, holder: str, address: str, lease_s: float) -> None:
        self._store = store
        self._clock = clock
        self._holder = holder
        self._address = address
        self._lease_s = lease_s
        self._sure_until_s = float("-inf")  # monotonic
        self.term = 0
        self.leader_address = ""  # of another one, as far as is known
        self.serves = False  # it has taken over what the one before it has left

    @property
    def holds(self) -> bool:
        """No other control plane can lead at this moment."""
        return self.term > 0 and self._clock.monotonic_s() < self._sure_until_s

    async def campaign(self) -> None:
        """Wait until this one leads."""
        while not await self._look():
            await self._clock.sleep(self._lease_s / LOOKS_PER_LEASE)
        log.info("leader.begins holder=%s term=%d", self._holder, self.term)

    async def keep(self) -> None:
        """Renew for ever. Raises Superseded once another leads."""
        while True:
            await self._clock.sleep(self._lease_s / LOOKS_PER_LEASE)
            await self._look()

    async def resign(self) -> None:
        """Let another one take over at once; nothing is done by this one after that. Raises Unavailable."""
        self._sure_until_s = float("-inf")
        await self._store.give(self._holder)

    async def _look(self) -> bool:
        asked_at_s = self._clock.monotonic_s()
        try:
            taken = await self._store.take(self._holder, self._address, self._lease_s, self.term)
        except Unavailable as error:
            log.warning("leader.store_away term=%d error=%s", self.term, error)
            return False
        if not taken.leads:
            self.leader_address = taken.address
            if self.term:
                self._sure_until_s, self.serves = float("-inf"), False
                raise Superseded(f"term {self.term} is over: {taken.term} has begun")
            return False
        self.term = taken.term
        self._sure_until_s = asked_at_s + SURE_SHARE * self._lease_s
        return True


class MemoryLeaderStore:
    """The same promises without a store behind them, for tests and simulations."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holder = self._address = ""
        self._until_s = float("-inf")
        self.term = 0
        self.away = False

    async def take(self, holder: str, address: str, lease_s: float, term: int) -> Taken:
        self._reach()
        now_s = self._clock.monotonic_s()
        is_held = now_s < self._until_s
        if is_held and self._holder != holder:
            return Taken(False, self.term, self._address)
        if term not in (0, self.term):
            return Taken(False, self.term, "")
        if term == 0 and not is_held:
            self.term += 1
        self._holder, self._address, self._until_s = holder, address, now_s + lease_s
        return Taken(True, self.term, address)

    async def give(self, holder: str) -> None:
        self._reach()
        if holder == self._holder:
            self._until_s = float("-inf")

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("the store is away")
