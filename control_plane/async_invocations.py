"""Asynchronous invocations as users see them: read, listed and stopped in the store that the gateways keep them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from redis.exceptions import RedisError

from control_plane.errors import InvalidArgument, NotFound, PreconditionFailed, Unavailable
from control_plane.listing import InvocationQuery, Page
from runtime.async_invocation.records import Invocation, Status
from runtime.async_invocation.store import AsyncStore, Outrun, Stored

_BATCH: Final = 100
SCANNED_MAX: Final = 5_000  # ids looked at for one page; where few of them fit, the page is short and has a token
_STOP_ATTEMPTS_MAX: Final = 50


class StoredInvocations:
    """Fills `ports.AsyncInvocations`. The store is the caller's to close."""

    def __init__(
        self, store: AsyncStore, utc_s: Callable[[], float], record_s: float, stateful_record_s: float
    ) -> None:
        self._store = store
        self._utc_s = utc_s
        self._record_s = record_s
        self._stateful_record_s = stateful_record_s

    async def get(self, service: str, function: str, invocation_id: str) -> Stored:
        with _translated():
            stored = await self._store.load(service, function, invocation_id)
        if stored is None:
            raise _unknown(function, invocation_id)
        return stored

    async def list(self, service: str, function: str, query: InvocationQuery) -> Page[Stored]:
        found: list[Stored] = []
        low, high = float(query.begin_ms), float("inf") if query.end_ms is None else float(query.end_ms - 1)
        after = _position(query.next_token) if query.next_token else None
        if after is not None:
            low, high = (low, min(high, after[0])) if query.newest_first else (max(low, after[0]), high)
        for offset in range(0, SCANNED_MAX, _BATCH):
            with _translated():
                ids = await self._store.ids(
                    service, function, (low, high), newest_first=query.newest_first, offset=offset, count=_BATCH
                )
                records = await self._store.load_many(service, function, [invocation_id for invocation_id, _ in ids])
            for (invocation_id, ms), stored in zip(ids, records, strict=True):
                if after is not None and _is_before((ms, invocation_id), after, newest_first=query.newest_first):
                    continue
                if stored is None or not matches(stored.record, query):
                    continue
                if len(found) == query.limit:
                    return Page(tuple(found), f"{ms}/{invocation_id}")
                found.append(stored)
            if len(ids) < _BATCH:
                return Page(tuple(found))
        last_id, last_ms = ids[-1]
        return Page(tuple(found), f"{last_ms}/{last_id}")

    async def stop(self, service: str, function: str, invocation_id: str) -> None:
        for _ in range(_STOP_ATTEMPTS_MAX):
            stored = await self.get(service, function, invocation_id)
            status = stored.record.status
            if status in (Status.STOPPED, Status.STOPPING):
                return
            if status.is_final:
                raise PreconditionFailed(f"invocation '{invocation_id}' is {status}: it can be stopped before it ends")
            try:
                with _translated():
                    await self._stop(stored)
                return
            except Outrun:
                continue
        raise Unavailable(f"invocation '{invocation_id}' changes faster than it can be stopped")

    async def _stop(self, stored: Stored) -> None:
        record, now_s = stored.record, self._utc_s()
        if record.status is Status.RUNNING:
            await self._store.save(stored, record.to(Status.STOPPING, now_s))
            return
        kept_s = self._stateful_record_s if record.stateful else self._record_s
        await self._store.save_stopped(stored, record.to(Status.STOPPED, now_s), kept_s=kept_s)


class NoInvocations:
    """Fills `ports.AsyncInvocations` where no gateway accepts any."""

    async def get(self, service: str, function: str, invocation_id: str) -> Stored:
        del service
        raise _unknown(function, invocation_id)

    async def list(self, service: str, function: str, query: InvocationQuery) -> Page[Stored]:
        del service, function, query
        return Page(())

    async def stop(self, service: str, function: str, invocation_id: str) -> None:
        await self.get(service, function, invocation_id)


def matches(record: Invocation, query: InvocationQuery) -> bool:
    """Whether a record is one of those asked for; its time is not looked at. Pure."""
    return (
        record.invocation_id.startswith(query.prefix)
        and query.status in ("", record.status)
        and query.qualifier in ("", record.qualifier)
    )


def _is_before(place: tuple[int, str], after: tuple[int, str], *, newest_first: bool) -> bool:
    return place > after if newest_first else place < after


def _position(token: str) -> tuple[int, str]:
    ms, _, invocation_id = token.partition("/")
    if not (ms.isascii() and ms.isdecimal() and len(ms) <= 15):
        raise InvalidArgument(f"nextToken is '{token[:80]}': must be one that a listing has given")
    return int(ms), invocation_id


def _unknown(function: str, invocation_id: str) -> NotFound:
    return NotFound("StatefulAsyncInvocation", f"invocation '{invocation_id}' of function '{function}' does not exist")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"the store does not answer: {error}") from error
