"""Asynchronous invocations in Redis or Valkey: durable before anybody is told, changed only by who has read them last.

A queue is a stream with one consumer group, whose consumers are the gateways. An entry is taken out when nothing is
left to do for its invocation (or when its next attempt is due later, see `DUE`), so an entry whose consumer has died is
found among the pending ones and claimed. Every change of a record names the revision that it is based on: of two who
believe that an invocation is theirs, one is told that it is not.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from runtime.async_invocation.records import DUE, GROUP, PREFIX, QUEUES, Invocation, Queue, index_key, record_key
from runtime.async_invocation.scripts import CHANGE, FORGET, PROMOTE

PROMOTED_MAX: Final = 200  # at a time: the store does nothing else meanwhile
INDEX_KEPT_S: Final = 40 * 86_400.0  # longer than any record lives

Command = tuple[Any, ...]


class Outrun(Exception):
    """The record has changed since it was read, or is no more."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it was read."""

    record: Invocation
    revision: str
    payload: bytes
    result: bytes = b""
    request_head: bytes = b""  # of a request to an HTTP trigger, as it goes to the instance; b"" = InvokeFunction
    entry: str = ""  # its last entry in its queue


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in the hands of one consumer."""

    queue: Queue
    entry_id: str
    invocation_id: str
    enqueued_at_s: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """One queue: events that nobody has taken, events that somebody has, and the oldest of the former."""

    queue: Queue
    waiting: int
    taken: int
    oldest_enqueued_at_s: float | None


class AsyncStore:
    """The client speaks bytes; `close` closes it. Every method may raise RedisError or OSError."""

    def __init__(self, client: Redis) -> None:
        self._client: Any = client
        self._change = self._client.register_script(CHANGE)
        self._promote = self._client.register_script(PROMOTE)
        self._forget = self._client.register_script(FORGET)

    async def close(self) -> None:
        await self._client.aclose()

    # -- an invocation -------------------------------------------------------------------------------------------------

    async def enqueue(self, record: Invocation, payload: bytes, request_head: bytes = b"") -> tuple[Invocation, bool]:
        """Keep a new invocation and put it into its queue; durable on return.

        Gives the record and whether it is new: one that is there already under this id stays as it is.
        """
        index = index_key(record.service, record.function)
        enqueued_ms = round(record.enqueued_at_s * 1000)
        queue = record.queue
        commands: list[Command] = [
            _write(record, 1, payload=payload, head=request_head or None, enqueued=repr(record.enqueued_at_s)),
            ("ZADD", index, enqueued_ms, record.invocation_id),
            ("ZREMRANGEBYSCORE", index, "-inf", enqueued_ms - round(INDEX_KEPT_S * 1000)),
            *_into_queue(queue, record.invocation_id, record.enqueued_at_s),
        ]
        while True:
            if await self._run(record.key, "", commands):
                return record, True
            stored = await self.load(record.service, record.function, record.invocation_id)
            if stored is not None:
                return stored.record, False

    async def load(self, service: str, function: str, invocation_id: str) -> Stored | None:
        return _stored(await self._client.hgetall(record_key(service, function, invocation_id)))

    async def save(
        self,
        stored: Stored,
        record: Invocation,
        *,
        result: bytes | None = None,
        again_at_s: float | None = None,
        done: str = "",
        kept_s: float = 0.0,
    ) -> Stored:
        """Write the next state of a record that was read.

        `again_at_s`: its next attempt is due then. `done`: the entry that has served its purpose, and leaves the queue.
        `kept_s`: nothing will follow; the record is kept for so long, and for that time its payload if it is stateful.

        Raises:
            Outrun: somebody else has changed it.
        """
        revision = int(stored.revision) + 1
        commands: list[Command] = [_write(record, revision, result=result)]
        if done:
            commands += _out_of_queue(record.queue, done)
        if again_at_s is not None:
            due = f"{record.queue.name}/{record.invocation_id}"
            commands.append(("ZADD", DUE, round(again_at_s * 1000), due))
        if kept_s:
            commands.append(("EXPIRE", record.key, max(1, round(kept_s))))
            commands.append(("HDEL", record.key, "head"))  # a client's header fields are nobody's afterwards
            if not record.stateful:
                commands.append(("HDEL", record.key, "payload", "result"))
                commands.append(("ZREM", index_key(record.service, record.function), record.invocation_id))
        if not await self._run(record.key, stored.revision, commands):
            raise Outrun
        kept_result = stored.result if result is None else result
        return dataclasses.replace(stored, record=record, revision=str(revision), result=kept_result)

    async def save_stopped(self, stored: Stored, record: Invocation, *, kept_s: float) -> None:
        """As `save`, for one that waits: it leaves its queue, or the retries that are due later.

        Raises:
            Outrun: somebody else has changed it.
        """
        due = f"{record.queue.name}/{record.invocation_id}"
        commands: list[Command] = [_write(record, int(stored.revision) + 1), ("ZREM", DUE, due)]
        if stored.entry:
            commands += _out_of_queue(record.queue, stored.entry)
        commands.append(("HDEL", record.key, "head"))
        commands.append(("EXPIRE", record.key, max(1, round(kept_s))))
        if not await self._run(record.key, stored.revision, commands):
            raise Outrun

    # -- queues --------------------------------------------------------------------------------------------------------

    async def promote(self, now_s: float) -> float | None:
        """Put what is due into its queue; the UTC time at which the next is due, None without one."""
        next_ms = await self._promote(keys=[DUE, QUEUES], args=[round(now_s * 1000), PROMOTED_MAX, PREFIX, GROUP])
        return float(next_ms) / 1000.0 if next_ms else None

    async def backlogs(self) -> list[Backlog]:
        """All queues that have events. One that has none is forgotten on the way."""
        queues = [Queue.named(name.decode()) for name in await self._client.smembers(QUEUES)]
        async with self._client.pipeline(transaction=False) as pipe:
            for queue in queues:
                pipe.xlen(queue.key)
                pipe.xinfo_groups(queue.key)
            answers = await pipe.execute(raise_on_error=False) if queues else []
        found = []
        for at, queue in enumerate(queues):
            length, groups = answers[2 * at : 2 * at + 2]
            if length == 0:
                await self._forget(keys=[queue.key, QUEUES], args=[queue.name])
            elif isinstance(length, int) and isinstance(groups, list) and groups:
                found.append((queue, length, groups[0]))
            else:
                with contextlib.suppress(ResponseError):  # it was forgotten just now, or somebody took its group away
                    await self._client.xgroup_create(queue.key, GROUP, "0", mkstream=True)
        return await self._with_oldest(found)

    async def take(self, queue: Queue, consumer: str, count: int) -> list[Entry]:
        """Events that nobody has taken yet, the oldest first; they are this consumer's now."""
        try:
            answer = await self._client.xreadgroup(GROUP, consumer, {queue.key: ">"}, count=count)
        except ResponseError as error:
            if "NOGROUP" in str(error):  # the queue was empty and is forgotten
                return []
            raise
        # RESP2 gives a list of streams, RESP3 a mapping of them to lists of lists.
        streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer or []]
        return [_entry(queue, *pair) for pair in _pairs(streams)]

    async def claim(self, queue: Queue, consumer: str, idle_s: float, count: int) -> list[Entry]:
        """Events whose consumer has not said for `idle_s` that it lives; they are this consumer's now."""
        try:
            answer = await self._client.xautoclaim(
                queue.key, GROUP, consumer, min_idle_time=round(idle_s * 1000), count=count
            )
        except ResponseError as error:
            if "NOGROUP" in str(error):
                return []
            raise
        return [_entry(queue, *pair) for pair in answer[1] if pair[1]]

    async def keep(self, queue: Queue, consumer: str, entry_ids: Sequence[str]) -> None:
        """Say that these are in hand still, so that nobody claims them."""
        try:
            await self._client.xclaim(queue.key, GROUP, consumer, 0, list(entry_ids), justid=True)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise

    async def drop(self, entry: Entry) -> None:
        """Take an event out of its queue for which nothing is to be done."""
        async with self._client.pipeline(transaction=True) as pipe:
            for command in _out_of_queue(entry.queue, entry.entry_id):
                pipe.execute_command(*command)
            await pipe.execute()

    async def add_to_stream(self, key: str, event: bytes, length_max: int) -> None:
        """Append to a user's stream, which forgets its oldest entries above `length_max`."""
        await self._client.xadd(key, {"event": event}, maxlen=length_max, approximate=True)

    # -- looking -------------------------------------------------------------------------------------------------------

    async def ids(self, service: str, function: str, span_ms: tuple[float, float], *, newest_first: bool,
                  offset: int, count: int) -> list[tuple[str, int]]:  # fmt: skip
        """Ids with the milliseconds at which they were accepted, within a span of those, both ends included."""
        low, high = span_ms
        found = await self._client.zrange(
            index_key(service, function),
            high if newest_first else low,
            low if newest_first else high,
            desc=newest_first,
            byscore=True,
            withscores=True,
            offset=offset,
            num=count,
        )
        return [(name.decode(), round(float(score))) for name, score in found]

    async def load_many(self, service: str, function: str, ids: Iterable[str]) -> list[Stored | None]:
        async with self._client.pipeline(transaction=False) as pipe:
            for invocation_id in ids:
                pipe.hgetall(record_key(service, function, invocation_id))
            return [_stored(values) for values in await pipe.execute()]

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _run(self, key: str, revision: str, commands: Iterable[Command]) -> bool:
        words: list[Any] = [revision]
        for command in commands:
            words += (len(command), *command)
        return bool(await cast("Awaitable[Any]", self._change(keys=[key], args=words)))

    async def _with_oldest(self, found: list[tuple[Queue, int, dict[str, Any]]]) -> list[Backlog]:
        waiting = [max(0, length - int(group["pending"])) for _, length, group in found]
        async with self._client.pipeline(transaction=False) as pipe:
            for (queue, _, group), count in zip(found, waiting, strict=True):
                if count:
                    pipe.xrange(queue.key, b"(" + _bytes(group["last-delivered-id"]), "+", count=1)
            heads = iter(await pipe.execute() if any(waiting) else [])
        backlogs = []
        for (queue, _, group), count in zip(found, waiting, strict=True):
            head = next(heads) if count else []
            oldest = float(head[0][1][b"enqueued"]) if head else None
            backlogs.append(Backlog(queue, count if head else 0, int(group["pending"]), oldest))
        return backlogs


def _write(record: Invocation, revision: int, **more: bytes | str | None) -> Command:
    given = [part for name, value in more.items() if value is not None for part in (name, value)]
    return ("HSET", record.key, "record", record.to_json(), "revision", revision, *given)


def _into_queue(queue: Queue, invocation_id: str, enqueued_at_s: float) -> list[Command]:
    return [
        ("XGROUP", "CREATE", queue.key, GROUP, "0", "MKSTREAM"),
        ("XADD", queue.key, "*", "id", invocation_id, "enqueued", repr(enqueued_at_s)),
        ("SADD", QUEUES, queue.name),
    ]


def _out_of_queue(queue: Queue, entry_id: str) -> list[Command]:
    return [("XACK", queue.key, GROUP, entry_id), ("XDEL", queue.key, entry_id)]


def _stored(values: dict[bytes, bytes]) -> Stored | None:
    if b"record" not in values:
        return None
    return Stored(
        record=Invocation.from_json(values[b"record"]),
        revision=values[b"revision"].decode(),
        payload=values.get(b"payload", b""),
        result=values.get(b"result", b""),
        request_head=values.get(b"head", b""),
        entry=values.get(b"entry", b"").decode(),
    )


def _pairs(streams: Iterable[Any]) -> list[Any]:
    """Entries however deep the protocol's version has put them."""
    pairs: list[Any] = []
    for entries in streams:
        for each in entries:
            pairs += each if each and isinstance(each[0], (list, tuple)) else [each]
    return pairs


def _entry(queue: Queue, entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    return Entry(queue, entry_id.decode(), fields[b"id"].decode(), float(fields[b"enqueued"]))


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
