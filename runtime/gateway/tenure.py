"""How long this gateway may use slots where the control plane cannot see its process: its lease, renewed in the store.

A lease that is not renewed is given up before anybody else may get its slots: first nothing new is sent to instances,
then the process ends, and with it every connection to them. A thread sees to that, so that neither a loop that hangs
nor a machine that was asleep goes on with slots that are others' by now.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

log = logging.getLogger(__name__)

RENEWALS: Final = 10  # in the time of one lease
EVERY_S_MAX: Final = 1.0
LAST_SHARE: Final = 1 / 3  # of the lease is left for what is inside instances to end, once it seems lost
ATTEMPT_SHARE: Final = 1 / 6  # of the lease; a renewal that is silent for longer is lost, and made anew
EXIT_STATUS: Final = 75  # sysexits.h: try again


class Renewals(Protocol):
    """Where leases are written. Each raises OSError when that cannot be known to have been done."""

    async def renew(self, count: int) -> None: ...
    async def leave(self) -> None:
        """The gateway has ended: nothing of it is inside any instance."""


class Tenure:
    """`begin` before anything is asked for, then `run`; `lost` is set when nothing new may be sent."""

    def __init__(self, lease_s: float, renewals: Renewals, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.lease_s = lease_s
        self.ends_s = float("inf")  # monotonic; inf: it has not begun, and nothing was granted
        self.lost = asyncio.Event()
        self._renewals = renewals
        self._now = monotonic
        self._count = 0

    @property
    def left_s(self) -> float:
        """Until the process must have ended."""
        return max(0.0, self.ends_s - self._now())

    async def begin(self) -> None:
        """The first renewal, however long the store is away."""
        renewed = await self._renew()
        while not renewed:
            await asyncio.sleep(self._every_s)
            renewed = await self._renew()

    async def run(self) -> None:
        """Renew until the lease is lost."""
        while True:
            last_s = self.ends_s - self.lease_s * LAST_SHARE
            if self._now() >= last_s:
                break
            await asyncio.sleep(min(self._every_s, last_s - self._now()))
            if self._now() < last_s:
                await self._renew()
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
        return min(EVERY_S_MAX, self.lease_s / RENEWALS)

    async def _renew(self) -> bool:
        sent_s = self._now()
        self._count += 1  # one that was lost may have been written: the next is to be told from it
        try:
            async with asyncio.timeout(self.lease_s * ATTEMPT_SHARE):
                await self._renewals.renew(self._count)
        except (OSError, TimeoutError) as error:
            log.warning("lease.not_renewed left_s=%.1f error=%r", self.left_s, error)
            return False
        self.ends_s = sent_s + self.lease_s
        return True


def end_in_time(tenure: Tenure) -> None:
    """End this process, whatever it is doing, when its lease ends."""

    def watch() -> None:
        while (left_s := tenure.left_s) > 0:
            time.sleep(min(left_s, tenure.lease_s))
        os.write(2, b"the lease has ended: so does this gateway\n")
        os._exit(EXIT_STATUS)

    threading.Thread(target=watch, name="lease", daemon=True).start()
