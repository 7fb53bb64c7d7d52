"""Publishes usage reports: once a second, and at once when somebody waits.

An idle gateway reports too: that there was nothing is what scaling in needs to know, and a message that is not stored
costs next to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from runtime.contract import UsageReport, VersionKey
from runtime.gateway.gate import Gate
from runtime.gateway.report import Moment, make_report
from runtime.gateway.usage import Served

log = logging.getLogger(__name__)

# A burst arrives over a few milliseconds: one report that has all of it is worth more than one per request.
DEBOUNCE_S: Final = 0.02
# While requests go on queueing, what is new is said ten times a second.
PAUSE_S: Final = 0.1


class Reporter:
    """Runs until cancelled. `publish` says whether anybody heard it, or raises OSError.

    A report that nobody heard is lost, and the next has its own interval; only what is to be written down (requests
    served, arrivals) is told again.
    """

    def __init__(
        self,
        gateway_id: str,
        gates: Mapping[VersionKey, Gate],
        unreachable: Callable[[], list[str]],
        publish: Callable[[UsageReport], Awaitable[bool]],
        *,
        every_s: float,
        also: Callable[[], None] = lambda: None,
    ) -> None:
        """`also` is called whenever something should be known at once."""
        self._also = also
        self._gateway_id = gateway_id
        self._gates = gates
        self._unreachable = unreachable
        self._publish = publish
        self._every_s = every_s
        self._wanted = asyncio.Event()
        self._sequence = 0
        self._since = _now()

    def soon(self) -> None:
        """Something should be known at once: a request waits, an instance is empty or does not answer."""
        self._wanted.set()
        self._also()

    async def run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._wanted.wait()
                since_last_s = time.monotonic() - self._since.monotonic_s
                await asyncio.sleep(max(DEBOUNCE_S, PAUSE_S - since_last_s))
            self._wanted.clear()
            await self._report()

    async def _report(self) -> None:
        now = _now()
        told: dict[VersionKey, Served] = {}
        report = make_report(
            self._gateway_id, self._sequence, self._gates, self._unreachable(), since=self._since, now=now, told=told
        )
        self._since = now
        self._sequence += 1
        heard = False
        try:
            heard = await self._publish(report)
        except OSError as error:
            log.debug("report-lost sequence=%d reason=%r", report.sequence, str(error))
        if not heard:
            self._keep(told)

    def _keep(self, told: dict[VersionKey, Served]) -> None:
        for key, served in told.items():
            gate = self._gates.get(key)
            if gate is not None:
                gate.usage.give_back(served)


def _now() -> Moment:
    return Moment(utc_s=time.time(), monotonic_s=time.monotonic())
