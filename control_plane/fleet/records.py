"""Instance records in Redis: written before the node is asked, read by gateways through the feed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from redis.asyncio import Redis

from control_plane.reaching import reaching_the_store
from runtime.contract import FEED_KEY, FEED_LENGTH_MAX, INSTANCES_KEY, InstanceRecord


class RecordStore(Protocol):
    """Where instance records live. Each method returns when the change is durable; raises Unavailable otherwise."""

    async def load(self) -> list[InstanceRecord]: ...

    async def put(self, records: Iterable[InstanceRecord]) -> None: ...

    async def remove(self, instance_ids: Iterable[str]) -> None: ...

    async def tell(self, failed: InstanceRecord) -> None:
        """Gateways hear why an instance that they never knew has failed. Nothing of it is kept."""


class RedisRecordStore:
    """The hash `stoke:instances` and the feed, changed together in one transaction."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def load(self) -> list[InstanceRecord]:
        with reaching_the_store():
            values = await self._redis.hvals(INSTANCES_KEY)
        return [InstanceRecord.from_json(value) for value in values]

    async def put(self, records: Iterable[InstanceRecord]) -> None:
        await self._write({record.instance_id: record.to_json() for record in records})

    async def remove(self, instance_ids: Iterable[str]) -> None:
        await self._write(dict.fromkeys(instance_ids, ""))

    async def tell(self, failed: InstanceRecord) -> None:
        entry: dict[Any, Any] = {"key": INSTANCES_KEY, "field": failed.instance_id, "value": failed.to_json()}
        with reaching_the_store():
            await self._redis.xadd(FEED_KEY, entry, maxlen=FEED_LENGTH_MAX, approximate=True)

    async def _write(self, values: dict[str, str]) -> None:
        if not values:
            return
        kept: dict[Any, Any] = {name: value for name, value in values.items() if value}
        gone = [name for name, value in values.items() if not value]
        with reaching_the_store():
            async with self._redis.pipeline(transaction=True) as pipe:
                if kept:
                    pipe.hset(INSTANCES_KEY, mapping=kept)
                if gone:
                    pipe.hdel(INSTANCES_KEY, *gone)
                for name, value in values.items():
                    entry: dict[Any, Any] = {"key": INSTANCES_KEY, "field": name, "value": value}
                    pipe.xadd(FEED_KEY, entry, maxlen=FEED_LENGTH_MAX, approximate=True)
                await pipe.execute()


class MemoryRecordStore:
    """The same promises without a store behind them, for tests and simulations."""

    def __init__(self) -> None:
        self.records: dict[str, InstanceRecord] = {}
        self.told: list[InstanceRecord] = []

    async def load(self) -> list[InstanceRecord]:
        return list(self.records.values())

    async def put(self, records: Iterable[InstanceRecord]) -> None:
        self.records.update({record.instance_id: record for record in records})

    async def remove(self, instance_ids: Iterable[str]) -> None:
        for instance_id in list(instance_ids):
            self.records.pop(instance_id, None)

    async def tell(self, failed: InstanceRecord) -> None:
        self.told.append(failed)
