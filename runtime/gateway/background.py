"""Runs asynchronous invocations: an event leaves its queue only for a slot that no request wants.

`AsyncInvocations` looks after all queues of the store: what is due again, what has waited for whom, whose gateway has
died. A `Feeder` takes the events of one queue, as many as there are idle slots; `worker` carries each to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from runtime.async_invocation.records import Invocation, Queue
from runtime.async_invocation.retry import Policy, is_too_old
from runtime.async_invocation.store import AsyncStore, Backlog, Entry
from runtime.contract import version_key
from runtime.gateway.gate import Gate, Lease
from runtime.gateway.sharing import part_of
from runtime.gateway.worker import STORE_AWAY, UNKNOWN_S, Worker

if TYPE_CHECKING:
    from runtime.gateway.gateway import Gateway

log = logging.getLogger(__name__)

T = TypeVar("T")

TAKEN_MAX: Final = 64  # at a time
_ANSWER_S: Final = 5.0  # a store that is silent for longer is taken for away
_CONNECTIONS_MAX: Final = 64  # more would only queue in the store
_AGAIN_S: Final = 0.2
_AGAIN_S_MAX: Final = 1.0


def connect(url: str) -> AsyncStore:
    """Nothing is connected yet. Whoever asks decides about asking again, so the client itself does not."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS_MAX,
        timeout=_ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=_ANSWER_S,
        socket_connect_timeout=2.0,
    )
    return AsyncStore(redis.asyncio.Redis.from_pool(pool))


class AsyncInvocations:
    """All queues, as one gateway sees them. `run` goes on until cancelled."""

    def __init__(self, gateway: Gateway, store: AsyncStore) -> None:
        self.gateway = gateway
        self.store = store
        self.deliveries = asyncio.Semaphore(gateway.settings.async_deliveries_max)
        self.stopping = False
        self._feeders: dict[Queue, Feeder] = {}
        self._soon = asyncio.Event()
        self._claimed_at_s = 0.0

    async def enqueue(self, record: Invocation, payload: bytes, request_head: bytes = b"") -> Invocation:
        """Keep an invocation durably; gives the record that stands under its id. Errors of the store pass through."""
        kept, is_new = await self.store.enqueue(record, payload, request_head)
        if is_new and not self.stopping:
            self._feeder(record.queue).arrived()
        return kept

    def is_full(self, queue: Queue) -> bool:
        """Whether as many events wait as may, by what was last known of the queue."""
        feeder = self._feeders.get(queue)
        return feeder is not None and feeder.waiting >= self.gateway.settings.async_queue_length_max

    async def run(self) -> None:
        settings = self.gateway.settings
        await self.gateway.news.loaded.wait()
        while True:
            wait_s = settings.async_poll_s
            try:
                next_due_s = await self._look()
                if next_due_s is not None:
                    wait_s = min(wait_s, max(0.005, next_due_s - time.time()))
            except STORE_AWAY as error:
                log.warning("async-store-away error=%r", str(error))
                # The other gateways could not say that they live either: they get the time to.
                self._claimed_at_s = monotonic()
            except Exception:
                log.exception("async-look-failed")  # one bad entry must not end the looking after all others
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._soon.wait()
            self._soon.clear()

    def soon(self) -> None:
        """Something is due earlier than was known."""
        self._soon.set()

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, and let what runs come to its end."""
        self.stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                for feeder in list(self._feeders.values()):
                    await feeder.let_go()

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store until it answers: what is known here would be lost otherwise."""
        wait_s = _AGAIN_S
        while True:
            try:
                return await ask()
            except STORE_AWAY as error:
                log.warning("async-store-away error=%r", str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _AGAIN_S_MAX)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _feeder(self, queue: Queue) -> Feeder:
        feeder = self._feeders.get(queue)
        if feeder is None:
            feeder = self._feeders[queue] = Feeder(self, queue)
        return feeder

    async def _look(self) -> float | None:
        """Everything once; gives the UTC time at which the next retry is due."""
        if self.stopping:
            return None
        await self._keep_all()
        next_due_s = await self.store.promote(time.time())
        arrivals = {queue: feeder.arrivals for queue, feeder in self._feeders.items()}
        backlogs = {backlog.queue: backlog for backlog in await self.store.backlogs()}
        for queue in {*backlogs, *self._feeders}:
            feeder = self._feeder(queue)
            if feeder.arrivals != arrivals.get(queue, 0):
                continue  # what came meanwhile may be missing in the answer
            feeder.heard(backlogs.get(queue) or Backlog(queue, 0, 0, None))
            if queue not in backlogs and feeder.is_done:
                feeder.end()
                del self._feeders[queue]
        await self._claim(backlogs)
        return next_due_s

    async def _keep_all(self) -> None:
        """Before anything is claimed: that a gateway lives is said by itself, however late."""
        for queue, feeder in list(self._feeders.items()):
            if feeder.in_hand:
                await self.store.keep(queue, self.gateway.settings.id, list(feeder.in_hand))

    async def _claim(self, backlogs: dict[Queue, Backlog]) -> None:
        settings = self.gateway.settings
        claim_after_s = settings.async_claim_after_s
        if monotonic() - self._claimed_at_s < max(claim_after_s / 4, 2 * settings.async_poll_s):
            return
        self._claimed_at_s = monotonic()
        for queue, backlog in backlogs.items():
            if backlog.taken > len(self._feeder(queue).in_hand):
                entries = await self.store.claim(queue, settings.id, claim_after_s, TAKEN_MAX)
                self._feeder(queue).claimed(entries)


class Feeder:
    """One queue at one gateway."""

    def __init__(self, all_of_them: AsyncInvocations, queue: Queue) -> None:
        self.all = all_of_them
        self.gateway = all_of_them.gateway
        self.queue = queue
        self.key = version_key(queue)
        self.in_hand: dict[str, None] = {}  # entry ids that this gateway works on
        self.arrivals = 0  # by this gateway's own clients
        self.waiting = 0  # in the queue, as last known
        self._own = 0  # of those, by this gateway's own clients since it looked last
        self._slotless = 0  # taken, and without a slot yet
        self._oldest_s: float | None = None
        self._taking = False
        self._changed = asyncio.Event()

    # -- what is heard -------------------------------------------------------------------------------------------------

    def arrived(self) -> None:
        """One more event, from this gateway's own client."""
        self.arrivals += 1
        self.waiting += 1
        self._own += 1
        self._count()
        self._take_soon()

    def heard(self, backlog: Backlog) -> None:
        self.waiting, self._own = backlog.waiting, 0
        self._oldest_s = backlog.oldest_enqueued_at_s
        self._count()
        self._changed.set()
        self._take_soon()

    def claimed(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.entry_id not in self.in_hand:
                log.warning("event-claimed queue=%s invocation=%s", self.queue.name, entry.invocation_id)
                self._begin(entry)

    @property
    def is_done(self) -> bool:
        return not self.in_hand and not self._taking

    def end(self) -> None:
        """The queue is no more."""
        self.waiting = 0
        self._count()
        self.gate.on_idle = None

    async def let_go(self) -> None:
        """Until nothing is in hand any more; what waits for a slot here is told to give that up."""
        self._changed.set()
        while self.in_hand:
            self._changed.clear()
            await self._changed.wait()

    # -- slots ---------------------------------------------------------------------------------------------------------

    @property
    def gate(self) -> Gate:
        """Looked up each time: a gate that nobody needs is dropped, and made anew."""
        gate = self.gateway.gate(self.key)
        gate.on_idle = self._changed.set
        return gate

    async def slot(self, within_s: float) -> Lease | None:
        """A slot for one of the events in hand; None: none was idle in time."""
        deadline_s = monotonic() + within_s
        while (lease := self.gate.reserve_idle(monotonic())) is None:
            if self.all.stopping or not await self.change(deadline_s - monotonic()):
                return None
        return lease

    async def change(self, within_s: float) -> bool:
        """Whether something happened that concerns this queue: a slot, an event, the end."""
        self._changed.clear()
        if within_s <= 0.0:
            return False
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def has_slot(self) -> None:
        """An event in hand has got its slot, or needs none any more."""
        self._slotless -= 1
        self._count()
        self._changed.set()

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _is_disabled(self) -> bool:
        """By the function's owner: its events wait until it is enabled, or they are too old."""
        route = self.gateway.routes.function(self.key)
        return route is not None and route.is_disabled

    def _count(self) -> None:
        """Tell the gate's usage of what waits; the first of them is reported at once."""
        usage = self.gate.usage
        settings = self.gateway.settings
        most = 0 if self._is_disabled else part_of(settings.async_demand_max, settings)
        own = min(self._own, self.waiting)  # the others may not know of these yet; the rest all of them see
        waiting = min(own + part_of(self.waiting - own, settings) + self._slotless, most)
        if waiting != usage.background:
            if waiting and not usage.background and not self.gate.idle_slots:
                self.gateway.reporter.soon()
            usage.set_background(monotonic(), waiting)

    def _take_soon(self) -> None:
        if self.waiting and not self._taking and not self.all.stopping:
            self._taking = True
            self.gateway.spawn(self._take())

    async def _take(self) -> None:
        """Take events until the queue is empty or nothing is idle."""
        try:
            while self.waiting and not self.all.stopping:
                count = self._takeable()
                if count <= 0:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                entries = await self.all.store.take(self.queue, self.gateway.settings.id, count)
                self.waiting = max(0, self.waiting - len(entries)) if entries else 0
                self._oldest_s = entries[-1].enqueued_at_s if entries else None
                for entry in entries:
                    self._begin(entry)
        except STORE_AWAY as error:
            log.warning("async-store-away error=%r", str(error))
        finally:
            self._taking = False

    def _takeable(self) -> int:
        """How many may leave the queue: one for each idle slot; those that will not run need none."""
        idle = 0 if self._is_disabled else min(self.gate.idle_slots - self._slotless, TAKEN_MAX)
        if idle > 0 or self._oldest_s is None or self._slotless:
            return idle
        now_s = time.time()
        if self.gateway.routes.function(self.key) is None:
            return int(now_s - self._oldest_s > UNKNOWN_S)
        return int(is_too_old(self._oldest_s, self._youngest_policy(), now_s))

    def _youngest_policy(self) -> Policy:
        """The shortest age that any qualifier of this function gives; the worker asks for the event's own."""
        return Policy(age_s_max=self.gateway.routes.async_age_s_min(self.queue.service, self.queue.function))

    def _begin(self, entry: Entry) -> None:
        self.in_hand[entry.entry_id] = None
        self._slotless += 1
        self.gateway.spawn(self._work(entry))

    async def _work(self, entry: Entry) -> None:
        worker = Worker(self, entry)
        try:
            await worker.run()
        except Exception:
            # It stays in the queue, is claimed again, and so does not get lost.
            log.exception("event-failed queue=%s invocation=%s", self.queue.name, entry.invocation_id)
        finally:
            worker.needs_no_slot()
            self.in_hand.pop(entry.entry_id, None)
            self._changed.set()
