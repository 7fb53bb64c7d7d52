"""Several Prometheus servers, of which one hangs: what the others say is as fresh as ever."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.prometheus import ASKED_EVERY_S, Prometheus
from control_plane.prometheus_http import TIMEOUT_S
from provision.config import ProvisionConfig, parse
from tests.support.virtual_time import VirtualClock, in_virtual_time
from tests.unit.provision_story import tracking

GOOD, HUNG = "http://good:9090", "http://hung:9090"


def by_reading(url: str, query: str) -> ProvisionConfig:
    return parse({"targetTrackingPolicies": [tracking(metricType="Prometheus", url=url, query=query)]})


class Servers:
    """One answers at once, and one never does."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.at_once = self.most_at_once = 0

    async def value(self, url: str, query: str) -> float:
        if url == GOOD:
            return 7.0
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._clock.sleep(TIMEOUT_S)
        finally:
            self.at_once -= 1
        raise ValueError("no answer within 4 s")

    async def close(self) -> None:
        pass


@in_virtual_time
async def test_a_server_that_hangs_makes_nobody_elses_readings_old() -> None:
    clock = VirtualClock()
    servers = Servers(clock)
    prometheus = Prometheus(clock, [GOOD, HUNG], lambda: servers)
    configs = [by_reading(HUNG, f"q{number}") for number in range(100)]
    asking = asyncio.ensure_future(prometheus.run())
    for config in configs:
        prometheus.of(config)
    await clock.sleep(1.0)
    ages_s = []
    for _ in range(90):
        await clock.sleep(1.0)
        for config in configs:
            prometheus.of(config)
        (reading,) = prometheus.of(by_reading(GOOD, "up"))
        if reading.value is not None:
            ages_s.append(clock.utc_s() - reading.at)
    assert len(ages_s) >= 88, "a new query is asked at once"
    assert max(ages_s) <= ASKED_EVERY_S + 1.0
    assert servers.most_at_once == 8
    assert all(prometheus.of(config)[0].error for config in configs), "each of them was asked"
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await clock.sleep(0.1)
    assert servers.at_once == 0, "nothing is left behind"


@in_virtual_time
async def test_each_query_is_asked_every_few_seconds_however_often_there_is_a_new_one() -> None:
    clock = VirtualClock()
    asked: list[tuple[str, float]] = []

    class Noting:
        async def value(self, url: str, query: str) -> float:
            asked.append((query, clock.monotonic_s()))
            return 1.0

        async def close(self) -> None:
            pass

    prometheus = Prometheus(clock, [GOOD], Noting)
    asking = asyncio.ensure_future(prometheus.run())
    for number in range(60):
        prometheus.of(by_reading(GOOD, "first"))
        prometheus.of(by_reading(GOOD, f"new {number}"))
        await clock.sleep(0.5)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert 6 <= sum(query == "first" for query, _ in asked) <= 7
