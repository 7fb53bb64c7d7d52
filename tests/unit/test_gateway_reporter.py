"""When a gateway reports, and of which time."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from runtime.contract import UsageReport
from runtime.gateway.reporter import Reporter


async def reports(count: int, every_s: float) -> list[UsageReport]:
    published: list[UsageReport] = []
    enough = asyncio.Event()

    async def publish(report: UsageReport) -> bool:
        published.append(report)
        if len(published) >= count:
            enough.set()
        return True

    reporter = asyncio.create_task(Reporter("g", {}, list, publish, every_s=every_s).run())
    await asyncio.wait_for(enough.wait(), 10.0)
    reporter.cancel()
    return published[:count]


async def test_an_idle_gateway_accounts_for_all_of_its_time() -> None:
    """Only what was covered by a report counts as seen, and only what was seen to be little is scaled in."""
    said = await reports(5, every_s=0.01)
    for before, after in itertools.pairwise(said):
        assert after.interval_s == pytest.approx(after.now_s - before.now_s, abs=0.005)
        assert after.sequence == before.sequence + 1
