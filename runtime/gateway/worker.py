"""Carries one event to its end: a slot, an attempt, what follows from it, the destination. Each step is durable first.

The record says where an invocation is, so the next step follows from it alone, whoever did the last one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from time import monotonic
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from runtime.async_invocation.records import Delivery, Status
from runtime.async_invocation.retry import Outcome, Policy, after_attempt, is_too_old
from runtime.async_invocation.store import Entry, Outrun, Stored
from runtime.contract import AsyncRoute
from runtime.gateway.attempt import attempt
from runtime.gateway.deliver import deliver
from runtime.gateway.gate import Lease
from runtime.gateway.refusal import Refusal
from runtime.gateway.resolve import Names
from runtime.gateway.routes import Destination

if TYPE_CHECKING:
    from runtime.async_invocation.records import Invocation
    from runtime.gateway.background import Feeder

log = logging.getLogger(__name__)

_SLOT_S: Final = 5.0  # then look whether the function is still there and the event not too old

# A slot is not held for longer than this while the store is asked.
SAVE_WITH_SLOT_S: Final = 1.0

STORE_AWAY: Final = (RedisError, OSError, TimeoutError)

# The gateway that accepted an event may have heard of its function a little before this one.
UNKNOWN_S: Final = 10.0


class Worker:
    def __init__(self, feeder: Feeder, entry: Entry) -> None:
        self._feeder = feeder
        self._all = feeder.all
        self._gateway = feeder.gateway
        self._entry = entry
        self._slotless = True

    async def run(self) -> None:
        """Until nothing is left to do here. One that another gateway has taken over is left to it."""
        stored = await self._load()
        while stored is not None:
            if self._all.stopping and self._slotless:
                return  # left to the gateway that comes after this one
            attempts = stored.record.attempts
            try:
                stored = await self._step(stored)
            except Outrun:
                stored = await self._load()
                if stored is not None and stored.record.attempts > attempts:
                    return
        await self._all.patiently(lambda: self._all.store.drop(self._entry))

    def needs_no_slot(self) -> None:
        if self._slotless:
            self._slotless = False
            self._feeder.has_slot()

    # -- one step ------------------------------------------------------------------------------------------------------

    async def _step(self, stored: Stored) -> Stored | None:
        """The record after the next step; None: nothing is left to do.

        Raises:
            Outrun: the record has changed meanwhile; nothing of this step has been written.
        """
        record, now_s = stored.record, time.time()
        names = Names(record.service, record.qualifier, record.function)
        route = self._gateway.routes.async_route(names)
        policy = Policy(route.retry_attempts_max, route.event_age_s_max)
        if record.status.is_final:
            return await self._deliver(stored, route)
        if record.status is Status.STOPPING:
            return await self._finish(stored, record.to(Status.STOPPED, now_s), route)
        try:
            destination = self._gateway.routes.destination_of_version(names, record.version)
        except Refusal as refusal:
            if now_s - record.enqueued_at_s < UNKNOWN_S:
                await self._feeder.change(_SLOT_S)
                return stored
            invalid = record.to(Status.INVALID, now_s, refusal.message, error=refusal.message)
            return await self._finish(stored, invalid, route)
        if is_too_old(record.enqueued_at_s, policy, now_s):
            why = "the function was disabled for" if destination.route.is_disabled else "no instance was free within"
            error = record.error or f"{why} {policy.age_s_max:g} s"
            return await self._finish(stored, record.to(Status.EXPIRED, now_s, error, error=error), route)
        if destination.route.is_disabled:
            await self._feeder.change(_SLOT_S)
            return stored
        lease = await self._feeder.slot(0.0)
        if lease is None:
            if record.status is not Status.DEQUEUED:
                stored = await self._save(stored, record.to(Status.DEQUEUED, now_s, _cut_short(record)))
            lease = await self._feeder.slot(_SLOT_S)
        if lease is None:
            return stored
        running, outcome = await self._attempt(stored, lease, destination)
        if outcome is None:
            return await self._after_store_was_away(stored, running)
        return await self._conclude(running, outcome, policy, route)

    async def _attempt(self, stored: Stored, lease: Lease, destination: Destination) -> tuple[Stored, Outcome | None]:
        """Say in the store that it runs, and run it. No outcome: the store is away, and no slot waits for it."""
        record, now_s = stored.record, time.time()
        running = record.to(
            Status.RUNNING,
            now_s,
            _cut_short(record),
            attempts=record.attempts + 1,
            started_at_s=record.started_at_s or now_s,
            instance_id=lease.instance.instance_id,
        )
        try:
            async with asyncio.timeout(SAVE_WITH_SLOT_S):
                saved = await self._all.store.save(stored, running)
        except STORE_AWAY as error:
            log.warning("async-store-away error=%r", str(error))
            self._give_back(lease)
            return dataclasses.replace(stored, record=running), None
        except BaseException:
            self._give_back(lease)
            raise
        self.needs_no_slot()
        try:
            return saved, await attempt(self._gateway, lease, destination, saved)
        finally:
            self._give_back(lease)

    def _give_back(self, lease: Lease) -> None:
        self._feeder.gate.usage.finished += 1
        self._gateway.give_back(lease, monotonic())

    async def _after_store_was_away(self, before: Stored, running: Stored) -> Stored | None:
        """Whether the last write went through is in the record; anything else there is another gateway's.

        Raises:
            Outrun: somebody else has written.
        """
        await asyncio.sleep(SAVE_WITH_SLOT_S)
        current = await self._load()
        if current is None or current.record in (before.record, running.record):
            return current
        raise Outrun

    async def _conclude(self, stored: Stored, outcome: Outcome, policy: Policy, route: AsyncRoute) -> Stored | None:
        """Write what came of an attempt. One that was told to stop meanwhile is still this gateway's."""
        attempts = stored.record.attempts
        while True:
            record, again_at_s = after_attempt(stored.record, outcome, policy, time.time())
            try:
                if again_at_s is None:
                    return await self._finish(stored, record, route, outcome.result)
                await self._save(stored, record, again_at_s=again_at_s, done=self._entry.entry_id)
                self._all.soon()
                return None
            except Outrun:
                current = await self._load()
                if current is None or current.record.attempts != attempts or current.record.status is Status.RUNNING:
                    log.warning("attempt-outrun request=%s", record.request_id)
                    raise
                stored = current

    async def _finish(
        self, stored: Stored, record: Invocation, route: AsyncRoute, result: bytes | None = None
    ) -> Stored | None:
        """Write a final state: all is done, or only the destination is left."""
        if _destination(record, route):
            pending = dataclasses.replace(record, delivery=Delivery.PENDING)
            return await self._save(stored, pending, result=result)
        await self._save(stored, record, result=result, done=self._entry.entry_id, kept_s=self._kept_s(record))
        return None

    async def _deliver(self, stored: Stored, route: AsyncRoute) -> Stored | None:
        record = stored.record
        if record.delivery is not Delivery.PENDING:
            return None
        self.needs_no_slot()
        text = _destination(record, route)  # "" where it was taken out of the configuration meanwhile
        async with self._all.deliveries:
            reason = await self._all.patiently(lambda: deliver(self._gateway, text, stored)) if text else ""
        delivery = Delivery.FAILED if reason else Delivery.SUCCEEDED if text else Delivery.NONE
        delivered = dataclasses.replace(record, delivery=delivery, error=record.error or reason)
        await self._save(stored, delivered, done=self._entry.entry_id, kept_s=self._kept_s(record))
        return None

    # -- the store -----------------------------------------------------------------------------------------------------

    async def _load(self) -> Stored | None:
        """The record, if this event is the one that stands for it."""
        queue, invocation_id = self._entry.queue, self._entry.invocation_id
        store = self._all.store
        stored = await self._all.patiently(lambda: store.load(queue.service, queue.function, invocation_id))
        return stored if stored is not None and stored.entry == self._entry.entry_id else None

    async def _save(
        self,
        stored: Stored,
        record: Invocation,
        *,
        result: bytes | None = None,
        again_at_s: float | None = None,
        done: str = "",
        kept_s: float = 0.0,
    ) -> Stored:
        """Write, however long the store is away. A write whose answer was lost is found in the record.

        Raises:
            Outrun: somebody else has written.
        """
        store = self._all.store
        try:
            return await self._all.patiently(
                lambda: store.save(stored, record, result=result, again_at_s=again_at_s, done=done, kept_s=kept_s)
            )
        except Outrun:
            queue = self._entry.queue
            there = await self._all.patiently(lambda: store.load(queue.service, queue.function, record.invocation_id))
            if there is not None and there.record == record:
                return there
            raise

    def _kept_s(self, record: Invocation) -> float:
        settings = self._gateway.settings
        return settings.async_stateful_record_s if record.stateful else settings.async_record_s


def _cut_short(record: Invocation) -> str:
    """What is said where an attempt was begun and nobody is left to end it."""
    return "the gateway of the attempt before has died" if record.status is Status.RUNNING else ""


def _destination(record: Invocation, route: AsyncRoute) -> str:
    """Where the result goes; one that was stopped has none."""
    if record.status is Status.STOPPED:
        return ""
    return route.on_success if record.status is Status.SUCCEEDED else route.on_failure
