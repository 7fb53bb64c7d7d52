"""How long this gateway may use slots where the control plane cannot see its process: its lease, renewed in the store,
or, while that is away, by the word of the control plane.

A lease that is not renewed is given up before anybody else may get its slots: first nothing new is sent to instances,
then the process ends, and with it every connection to them. The kernel sees to that by an alarm, so that a process that
stood still does nothing more when it goes on; and a thread, as the alarm's clock stands while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from runtime.gateway.lease_term import LeaseState, LeaseTerm
from runtime.leasing import LeaseQuestion, LeaseWord

log = logging.getLogger(__name__)

RENEWALS: Final = 10  # in the time of one lease
EVERY_S_MAX: Final = 1.0
LAST_SHARE: Final = 1 / 3  # of the lease is left for what is inside instances to end, once it seems lost
ATTEMPT_SHARE: Final = 1 / 6  # of the lease; a renewal that is silent for longer is lost, and made anew
WATCH_S: Final = 0.25  # a sleeping thread's clock stands while the machine sleeps, so it is not left to sleep for long
EXIT_STATUS: Final = int(signal.SIGALRM)  # what ends the process is the handler itself, and that is its argument
_ALARM_LEAST_S: Final = 1e-6  # 0 would be none


def awake_or_asleep_s() -> float:
    """A clock that is never set, and goes on while the machine sleeps, which Linux's monotonic one does not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Renewals(Protocol):
    """Where leases are written. Each raises OSError when that cannot be known to have been done."""

    async def renew(self, count: int, term: int) -> int:
        """Write the count and the newest lessor's term that is known; gives the term of the one there is now."""

    async def leave(self) -> None:
        """The gateway has ended: nothing of it is inside any instance."""


class Lessors(Protocol):
    """Where the control plane is asked."""

    async def ask(self, question: LeaseQuestion) -> LeaseWord:
        """Raises OSError when there is no answer, or none that gives the word."""


class Tenure:
    """`begin` before anything is asked for, then `run`; `lost` is set when nothing new may be sent."""

    def __init__(
        self,
        term: LeaseTerm,
        renewals: Renewals,
        lessors: Lessors | None,
        clock: Callable[[], float] = awake_or_asleep_s,
    ) -> None:
        """Without `lessors` the store alone renews."""
        self.term = term
        self.lost = asyncio.Event()
        self.extended: Callable[[], None] = lambda: None  # called when it lasts longer than before
        self._renewals = renewals
        self._lessors = lessors
        self._now = clock
        self._is_store_away = False
        self._is_by_word = False
        self._told_term = -1  # the lessor's that was written last

    @property
    def left_s(self) -> float:
        """Until the process must have ended."""
        return max(0.0, self.term.ends_s - self._now())

    @property
    def state(self) -> LeaseState | None:
        """None: it has not begun."""
        if self.term.ends_s == math.inf:
            return None
        return LeaseState(self.left_s, self._is_by_word, self.term.word_left_s(self._now()))

    async def begin(self) -> None:
        """The first renewal, however long the store is away."""
        renewed = await self._renew()
        while not renewed:
            await asyncio.sleep(self._every_s)
            renewed = await self._renew()
        await self._renew()  # the first answer has told whose word counts, and that is to be known there

    async def run(self) -> None:
        """Renew until the lease is lost."""
        while (early_s := self._early_s) > 0:
            is_told = self._told_term == self.term.lessor_term  # if not, the new lessor waits for that
            await asyncio.sleep(min(self._every_s, early_s) if is_told or self._is_store_away else 0.0)
            if self._early_s > 0:
                await self._extend()
        log.error("lease.lost left_s=%.1f", self.left_s)
        self.lost.set()

    async def leave(self) -> None:
        """Said last, so that others need not wait for the lease to run out."""
        try:
            await self._renewals.leave()
        except OSError as error:
            log.info("lease.not_left error=%s", error)

    @property
    def _every_s(self) -> float:
        return min(EVERY_S_MAX, self.term.lease_s / RENEWALS)

    @property
    def _early_s(self) -> float:
        """Until it is given up."""
        return self.term.ends_s - self.term.lease_s * LAST_SHARE - self._now()

    async def _extend(self) -> None:
        """By the store; once that was away, by both at once, so that its silence takes no time from the other."""
        if self._is_store_away:
            is_written, has_word = await asyncio.gather(self._renew(), self._ask())
        else:
            is_written = await self._renew()
            has_word = not is_written and await self._ask()
        if is_written or has_word:
            self._is_by_word = not is_written
        if is_written and self._is_store_away:
            log.info("lease.store_back")
        self._is_store_away = not is_written

    async def _renew(self) -> bool:
        sent_s, told_term = self._now(), self.term.lessor_term
        try:
            async with asyncio.timeout(self.term.lease_s * ATTEMPT_SHARE):
                lessor_term = await self._renewals.renew(self.term.next_count(), told_term)
        except (OSError, TimeoutError) as error:
            log.warning("lease.not_renewed left_s=%.1f error=%r", self.left_s, error)
            return False
        self.term.renewed(sent_s, lessor_term)
        self.extended()
        self._told_term = told_term
        return True

    async def _ask(self) -> bool:
        """Whether it got a word that counts."""
        sent_s = self._now()
        if self._lessors is None or not self.term.may_ask(sent_s):
            return False
        asked = self.term.question(self.term.next_count())
        try:
            async with asyncio.timeout(self.term.lease_s * ATTEMPT_SHARE):
                word = await self._lessors.ask(asked)
        except (OSError, TimeoutError) as error:
            log.warning("lease.no_word left_s=%.1f error=%r", self.left_s, error)
            return False
        if not self.term.vouched(sent_s, asked, word):
            log.warning("lease.word_of_an_earlier_term known=%d told=%d", self.term.lessor_term, word.term)
            return False
        self.extended()
        if not self._is_store_away:
            log.warning("lease.goes_on_by_word term=%d left_s=%.1f", word.term, self.left_s)
        return True


def end_in_time(tenure: Tenure) -> None:
    """End this process, whatever it is doing, when its lease ends.

    The alarm's handler is the C library's `_exit`: it runs before anything else does when a stopped process goes on,
    and needs neither the interpreter nor the loop. (By default a Pod's first process ignores the signal.)
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal(int(signal.SIGALRM), ctypes.cast(libc._exit, ctypes.c_void_p))

    def set_alarm() -> None:
        signal.setitimer(signal.ITIMER_REAL, max(tenure.left_s, _ALARM_LEAST_S))

    tenure.extended = set_alarm
    set_alarm()

    def watch() -> None:
        while (left_s := tenure.left_s) > 0:
            time.sleep(min(left_s, WATCH_S))
        os.write(2, b"the lease has ended: so does this gateway\n")
        os._exit(EXIT_STATUS)

    threading.Thread(target=watch, name="lease", daemon=True).start()
