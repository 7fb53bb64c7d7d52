"""Leases slots to the gateways: hears their reports, watches their processes, writes what `leases` decides.

With one gateway, which takes all slots by itself, nothing is heard and nothing is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

from control_plane.errors import Unavailable
from control_plane.fleet.lease_store import LeaseStore, Left
from control_plane.fleet.leases import LeaseBook
from control_plane.fleet.processes import Processes
from control_plane.fleet.sharing import TURN_S
from control_plane.fleet.usage import UsageBook
from control_plane.fleet.vitals import Vitals
from control_plane.ports import Clock
from runtime.contract import InstanceRecord
from runtime.leasing import Holder, LeaseQuestion, LeaseReport, LeaseWord

log = logging.getLogger(__name__)

WHOLE_EVERY_S = 1.0  # idle slots are evened out, and what was missed is made good
STORE_RETRY_S = 0.2
TIMER_RESOLUTION_S = 1e-3  # a timer may fire this much early


class Lessor:
    """`begin`, then `run` for ever; `hear` and `changed` may be called from the loop at any time."""

    def __init__(
        self,
        records: Callable[[], Iterable[InstanceRecord]],
        store: LeaseStore,
        processes: Processes,
        usage: UsageBook,
        clock: Clock,
    ) -> None:
        self._records = records
        self._store = store
        self._processes = processes
        self._usage = usage
        self._clock = clock
        self._wake = asyncio.Event()
        self._heard: list[LeaseReport] = []
        self._whole = True
        self._term = 0
        self._vitals = Vitals(0, 0.0)
        self.book = LeaseBook()

    async def begin(self) -> None:
        """Take over from an earlier lessor. Raises Unavailable."""
        left: Left = await self._store.begin()
        self._term = left.term
        self._vitals = Vitals(left.term, self._clock.monotonic_s())
        self.book = LeaseBook(left.epoch, left.grants, left.holders)
        self._bury()
        self._tell_usage()

    def hear(self, report: LeaseReport) -> None:
        self._heard.append(report)
        self._wake.set()

    def vouch(self, question: LeaseQuestion) -> LeaseWord:
        """The word that nobody gets the gateway's slots for a lease from now: whether the store is there or not, they
        are given away here or by a later lessor, who knows to wait. Raises Unavailable: it cannot be given."""
        known = self.book.holders.get(question.gateway)
        if self._term == 0:
            raise Unavailable("this control plane grants no slots: another one does, or none")
        if known is None:
            raise Unavailable(f"gateway {question.gateway!r}: it holds no slots, or is taken for gone")
        if not self._vitals.asked(question, self._clock.monotonic_s()):
            raise Unavailable(f"term {self._term} is over: gateway {question.gateway!r} knows {question.term}")
        log.debug("lease.word gateway=%s count=%d term=%d", question.gateway, question.count, self._term)
        return LeaseWord(question.gateway, question.count, self._term)

    def changed(self) -> None:
        """Instances have come, gone or changed their label; or a gateway may have ended."""
        self._whole = True
        if self.book.holders:
            self._wake.set()

    async def run(self) -> None:
        """Lease for ever. Raises Superseded when another control plane has begun."""
        next_s = self._clock.monotonic_s()
        while True:
            now_s = self._clock.monotonic_s()
            if now_s >= next_s - TIMER_RESOLUTION_S:
                self._whole, next_s = True, now_s + WHOLE_EVERY_S
            if self.book.holders or self._heard:
                await self._turn(now_s)
            timeout_s = TURN_S / 2 if self.book.unsettled else max(0.0, next_s - self._clock.monotonic_s())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout_s if self.book.holders else None)
            self._wake.clear()

    async def _turn(self, now_s: float) -> None:
        """Hear what was said, decide, and write. What could not be written is in the next turn's batch."""
        heard, self._heard = self._heard, []
        whole, self._whole = self._whole, False
        before = len(self.book.holders)
        keys = set(self.book.unsettled)
        for report in heard:
            keys |= self.book.hear(report, now_s)
        if whole or len(self.book.holders) != before:
            self._bury()
            await self._bury_distant()
            self.book.sync(self._records())
            keys = set(self.book.versions())
            here = {each.holder for each in self.book.holders.values() if self._processes.is_here(each.holder)}
            self._processes.watch(here, self.changed)
            self._tell_usage()
        for key in sorted(keys):
            self.book.settle(key, now_s, even=whole)
        batch = self.book.batch()
        if batch is None:
            return
        try:
            await self._store.write(self._term, batch)
        except Unavailable as error:
            log.warning("leases.not_written error=%s", error)
            self.book.not_written(batch)
            await self._clock.sleep(STORE_RETRY_S)
            self._wake.set()

    def _bury(self) -> None:
        for name, each in list(self.book.holders.items()):
            if self._processes.is_here(each.holder) and self._processes.is_gone(each.holder):
                self._gone(name, each.holder)

    async def _bury_distant(self) -> None:
        """Those on other machines whose leases have run out. What the store has is read first, so that time in which
        nobody looked counts for no one."""
        distant = {
            name: each.holder for name, each in self.book.holders.items() if not self._processes.is_here(each.holder)
        }
        if not distant:
            return
        try:
            asked_s = self._clock.monotonic_s()
            renewals = await self._store.renewals()
            gone = self._vitals.look(distant, renewals, asked_s=asked_s, answered_s=self._clock.monotonic_s())
            for name in gone:
                self._gone(name, distant[name])
            if gone:
                await self._store.drop_renewals(gone)
        except Unavailable as error:
            log.warning("leases.not_read error=%s", error)

    def _gone(self, name: str, holder: Holder) -> None:
        log.warning("gateway.gone gateway=%s pid=%d host=%s", name, holder.pid, holder.host)
        self.book.gone(name)
        self._usage.forget_gateway(name)

    def _tell_usage(self) -> None:
        self._usage.expected = frozenset(self.book.holders)
