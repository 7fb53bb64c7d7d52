"""The real clock. Only `main.py` makes one."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """UTC that never steps back: a wall clock set to an earlier time is held at the last time seen."""

    def __init__(self) -> None:
        self._last_utc_s = 0.0

    def utc_s(self) -> float:
        self._last_utc_s = max(self._last_utc_s, time.time())
        return self._last_utc_s

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
