"""Usage in a real store: written once however often it is sent, by one writer at a time, and read back as it was."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from control_plane.errors import Unavailable
from control_plane.metering.meter import Amounts, Batch, Line, Size
from control_plane.metering.store import DAY_S, By, Kept, UsageStore
from runtime.contract import Kind
from tests.support.store import PrivateStore

KEY = ("svc", "LATEST", "f")
OTHER = ("svc", "1", "g")
DAY = int(time.time()) // DAY_S * DAY_S  # the store drops what is over for long, by its own clock
NOW_S = DAY + 7200.0
NOW_MS = round(NOW_S * 1000)


@pytest.fixture
async def redis(store_url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(store_url)
    yield client
    await client.aclose()


@pytest.fixture
async def store(redis: Redis) -> UsageStore:
    return UsageStore(redis, Kept())


def batch(from_ms: int | None, until_ms: int, *, instance_ms: int = 5000, requests: int = 2) -> Batch:
    """An hour that ended and the next one, of two functions."""
    size, line, next_line = Size(2, 2**40, 0), Line(DAY, KEY, Kind.PROVISIONED), Line(DAY + 3600, KEY, Kind.PROVISIONED)
    times = {(line, size): instance_ms, (next_line, size): instance_ms, (next_line, Size(1, 0, 0)): 1}
    times[Line(DAY + 3600, OTHER, Kind.ON_DEMAND), Size()] = 1
    counts = {line: requests, next_line: requests, Line(DAY + 3600, OTHER, Kind.ON_DEMAND): 1}
    return Batch(
        from_ms,
        until_ms,
        times,
        counts,
        peaks={(DAY, KEY): 3, (DAY + 3600, KEY): 2},
        firsts_ms={(DAY + 3600, KEY): DAY * 1000 + 3_600_000, (DAY, KEY): DAY * 1000 + 5},
        sizes={(KEY, "r/1"): Size(1000, 512, 8)},
        entries={KEY: '{"t":0,"a":[],"s":[],"l":[]}'},
    )


async def test_what_was_written_is_read_by_hour_and_by_day_exactly(store: UsageStore) -> None:
    assert await store.write(7, batch(None, NOW_MS)) is None
    hours = await store.read(By.HOUR, DAY, NOW_S, KEY)
    assert hours.lines == {
        Line(DAY, KEY, Kind.PROVISIONED): Amounts(5000, 10_000, 5000 * 2**40, 0, 2),
        Line(DAY + 3600, KEY, Kind.PROVISIONED): Amounts(5001, 10_001, 5000 * 2**40, 0, 2),
    }
    assert hours.peaks == {(DAY, KEY): 3, (DAY + 3600, KEY): 2}
    days = await store.read(By.DAY, DAY, NOW_S)
    assert days.lines[Line(DAY, KEY, Kind.PROVISIONED)] == Amounts(10_001, 20_001, 10_000 * 2**40, 0, 4)
    assert days.lines[Line(DAY, OTHER, Kind.ON_DEMAND)] == Amounts(1, 0, 0, 0, 1)
    assert (days.peaks[DAY, KEY], days.firsts_ms[DAY, KEY]) == (3, DAY * 1000 + 5)


async def test_a_batch_that_is_sent_again_counts_once(store: UsageStore) -> None:
    first = batch(None, NOW_MS)
    assert await store.write(7, first) is None
    assert await store.write(7, first) is None
    assert (await store.read(By.HOUR, DAY, NOW_S)).lines[Line(DAY, KEY, Kind.PROVISIONED)].requests == 2


async def test_the_next_batch_adds_to_the_first_and_the_larger_peak_stays(store: UsageStore) -> None:
    await store.write(7, batch(None, NOW_MS))
    second = batch(NOW_MS, NOW_MS + 5000)
    second.peaks = {(DAY, KEY): 1, (DAY + 3600, KEY): 9}
    second.firsts_ms = {(DAY, KEY): DAY * 1000 + 9}
    assert await store.write(7, second) is None
    found = await store.read(By.HOUR, DAY, NOW_S, KEY)
    assert found.lines[Line(DAY, KEY, Kind.PROVISIONED)].instance_ms == 10_000
    assert found.peaks == {(DAY, KEY): 3, (DAY + 3600, KEY): 9}
    assert found.firsts_ms[DAY, KEY] == DAY * 1000 + 5


async def test_of_two_writers_only_one_counts_a_moment(store: UsageStore) -> None:
    await store.write(7, batch(None, NOW_MS))
    assert await store.write(7, batch(NOW_MS, NOW_MS + 5000)) is None
    assert await store.write(7, batch(NOW_MS, NOW_MS + 6000)) == NOW_MS + 5000
    assert (await store.read(By.HOUR, DAY, NOW_S)).lines[Line(DAY, KEY, Kind.PROVISIONED)].requests == 4


async def test_where_counting_stands_and_the_sizes_of_the_living_are_kept(store: UsageStore) -> None:
    assert await store.load() == ({}, {})
    await store.write(7, batch(None, NOW_MS))
    assert await store.load() == ({7: NOW_MS}, {(KEY, "r/1"): Size(1000, 512, 8)})
    gone = Batch(NOW_MS, NOW_MS + 1, sizes_gone=[(KEY, "r/1")])
    await store.write(7, gone)
    assert await store.load() == ({7: NOW_MS + 1}, {})


async def test_hours_days_and_recorded_usage_expire(store: UsageStore, redis: Redis) -> None:
    await store.write(7, batch(None, NOW_MS))
    hour, day = f"stoke:usage:hour:{DAY}", f"stoke:usage:day:{DAY}"
    assert await redis.expiretime(hour) == DAY + 3600 + 14 * DAY_S
    assert await redis.expiretime(day) == DAY + DAY_S + 400 * DAY_S
    assert 0 < await redis.ttl("stoke:recorded:svc/LATEST/f") <= 6 * 3600


async def test_recorded_entries_come_in_the_order_they_were_written_and_old_ones_go(redis: Redis) -> None:
    short = UsageStore(redis, Kept(recorded_s=60))
    until_ms: int | None = None
    now_ms = round((await redis.time())[0] * 1000)
    for number in range(3):
        one = Batch(until_ms, now_ms + number, entries={KEY: str(number)})
        assert await short.write(7, one) is None
        until_ms = one.until_ms
    assert await short.recorded(KEY, 0.0) == [b"0", b"1", b"2"]
    later = Batch(until_ms, now_ms + 120_000, entries={KEY: "3"})
    await short.write(7, later)
    assert await short.recorded(KEY, 0.0) == [b"3"]
    assert await short.recorded(OTHER, 0.0) == []


async def test_a_store_that_is_away_is_said_to_be(private_store: PrivateStore) -> None:
    client = Redis.from_url(private_store.url)
    away = UsageStore(client, Kept())
    private_store.kill()
    for call in (away.load(), away.write(7, batch(None, 1)), away.read(By.HOUR, 0.0, 10.0), away.recorded(KEY, 0.0)):
        with pytest.raises(Unavailable, match="the store cannot be reached"):
            await call
    await client.aclose()


async def test_an_hour_that_begins_when_the_span_ends_is_not_in_it(store: UsageStore) -> None:
    await store.write(7, batch(None, NOW_MS))
    begins = [line.begin_s for line in (await store.read(By.HOUR, DAY, DAY + 3600.0)).lines]
    assert begins == [DAY]
    assert len((await store.read(By.HOUR, DAY, DAY + 3600.001)).lines) == 3
    assert (await store.read(By.DAY, DAY - DAY_S, float(DAY))).lines == {}
