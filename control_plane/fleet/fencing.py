"""What a control plane that leads no more can still do: nothing.

The store compares its term with the newest one, and the backend is asked only while no other control plane can lead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, cast

from redis.asyncio import Redis

from control_plane.errors import Unavailable
from control_plane.fleet.memories import MemoryStore
from control_plane.fleet.records import RedisRecordStore
from control_plane.leadership import TERM_KEY, Leadership
from control_plane.ports import Backend
from control_plane.reaching import reaching_the_store
from runtime.contract import FEED_KEY, FEED_LENGTH_MAX, INSTANCES_KEY
from runtime.node_contract import InstanceSample, InstanceStatus, LaunchSpec, NodeInfo

# KEYS: term, records, feed. ARGV: term, length of the feed, then for each record its id and value; "" = is no more.
# Gives 0, and does nothing, when another term has begun.
WRITE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for at = 3, #ARGV, 2 do
  if ARGV[at + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[at])
  else
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  end
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'key', KEYS[2], 'field', ARGV[at], 'value', ARGV[at + 1])
end
return 1
"""


class FencedRecordStore(RedisRecordStore):
    """Writes as a whole, in this control plane's term or not at all."""

    def __init__(self, redis: Redis, term: Callable[[], int]) -> None:
        super().__init__(redis)
        self._term = term
        self._script: Any = redis.register_script(WRITE)

    async def _write(self, values: dict[str, str]) -> None:
        if not values:
            return
        words: list[Any] = [self._term(), FEED_LENGTH_MAX]
        for name, value in values.items():
            words += (name, value)
        keys = [TERM_KEY, INSTANCES_KEY, FEED_KEY]
        with reaching_the_store():
            written = await cast("Awaitable[Any]", self._script(keys=keys, args=words))
        if not written:
            raise Unavailable(f"term {self._term()} is over: another control plane leads")


class FencedMemoryStore:
    """Saves while no other control plane can lead."""

    def __init__(self, memories: MemoryStore, leadership: Leadership) -> None:
        self._memories = memories
        self._leadership = leadership

    async def load(self) -> dict[str, str]:
        return await self._memories.load()

    async def save(self, memories: Mapping[str, str], gone: Collection[str] = ()) -> None:
        _check(self._leadership)
        await self._memories.save(memories, gone)


class FencedBackend:
    """Fills `ports.Backend`: reads always, and changes something while no other control plane can lead."""

    def __init__(self, backend: Backend, leadership: Leadership) -> None:
        self._backend = backend
        self._leadership = leadership

    async def info(self) -> NodeInfo:
        return await self._backend.info()

    async def prepare(self, runtime: str) -> None:
        _check(self._leadership)
        await self._backend.prepare(runtime)

    async def launch(self, spec: LaunchSpec) -> None:
        _check(self._leadership)
        await self._backend.launch(spec)

    async def stop(self, instance_id: str, grace_s: float) -> None:
        _check(self._leadership)
        await self._backend.stop(instance_id, grace_s)

    async def forget(self, instance_id: str) -> None:
        _check(self._leadership)
        await self._backend.forget(instance_id)

    async def list(self) -> Sequence[InstanceStatus]:
        return await self._backend.list()

    def watch(self) -> AsyncIterator[InstanceStatus]:
        return self._backend.watch()

    async def samples(self) -> Sequence[InstanceSample]:
        return await self._backend.samples()

    def logs(self, instance_id: str, *, tail_bytes: int, follow: bool) -> AsyncIterator[bytes]:
        return self._backend.logs(instance_id, tail_bytes=tail_bytes, follow=follow)


def _check(leadership: Leadership) -> None:
    if not leadership.holds:
        raise Unavailable(f"the lease of term {leadership.term} is not sure: another control plane may lead")
