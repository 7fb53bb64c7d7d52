"""Usage in Redis: a hash for each hour and each day, and a stream of recorded usage for each function version.

A batch is written by one script that compares where the last one ended, so it counts once however often it is sent, and
of two control planes only one counts a moment.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from redis.asyncio import Redis

from control_plane.metering.meter import HOUR_S, Amounts, Batch, Line, Size
from control_plane.reaching import reaching_the_store
from runtime.contract import Kind, VersionKey

UNTIL_KEY: Final = "stoke:usage:until"
SIZES_KEY: Final = "stoke:usage:sizes"
RECORDED_PREFIX: Final = "stoke:recorded:"
DAY_S: Final = 86_400
HASHES_AT_ONCE: Final = 48
ENTRIES_AT_ONCE: Final = 1000
_PEAK: Final = "peak"
_FIRST: Final = "first"
_TIME: Final = "t"  # …:CPU:MEMORY:GPU, milliseconds of instances of that size
_REQUESTS: Final = "n"

# A shard of the function versions at a time, so that one script is short.
# 1. Written already: say so. 2. Somebody else went on from another moment: say from which. 3. Add it all.
_WRITE: Final = """
local batch = cjson.decode(ARGV[1])
local until_ms = redis.call('HGET', KEYS[1], batch['shard']) or ''
if until_ms == batch['until'] then return 'ok' end
if until_ms ~= batch['from'] then return until_ms end
for _, add in ipairs(batch['adds']) do redis.call('HINCRBY', add[1], add[2], add[3]) end
for _, peak in ipairs(batch['peaks']) do
  if tonumber(redis.call('HGET', peak[1], peak[2]) or '0') < tonumber(peak[3]) then
    redis.call('HSET', peak[1], peak[2], peak[3])
  end
end
for _, first in ipairs(batch['firsts']) do redis.call('HSETNX', first[1], first[2], first[3]) end
for _, expiry in ipairs(batch['expiries']) do redis.call('EXPIREAT', expiry[1], expiry[2]) end
for _, size in ipairs(batch['sizes']) do redis.call('HSET', KEYS[2], size[1], size[2]) end
for _, gone in ipairs(batch['sizes_gone']) do redis.call('HDEL', KEYS[2], gone) end
for _, entry in ipairs(batch['entries']) do
  redis.call('XADD', entry[1], 'MINID', '=', batch['oldest'], batch['until'] .. '-0', 'e', entry[2])
  redis.call('EXPIRE', entry[1], batch['recorded_s'])
end
redis.call('HSET', KEYS[1], batch['shard'], batch['until'])
return 'ok'
"""


class By(StrEnum):
    HOUR = "hour"
    DAY = "day"

    @property
    def length_s(self) -> int:
        return HOUR_S if self is By.HOUR else DAY_S

    def end_s(self, until_s: float) -> float:
        """The end of the last hour or day that a span until then touches."""
        return float(math.ceil(until_s / self.length_s) * self.length_s)


@dataclass(frozen=True, slots=True)
class Kept:
    """For how long, in seconds."""

    hours_s: int = 14 * DAY_S
    days_s: int = 400 * DAY_S
    recorded_s: int = 6 * HOUR_S

    def of(self, by: By) -> int:
        return self.hours_s if by is By.HOUR else self.days_s


@dataclass(slots=True)
class Counted:
    """What was read: amounts by line, and of each hour or day and function version the most instances and the first."""

    lines: dict[Line, Amounts] = field(default_factory=dict)
    peaks: dict[tuple[int, VersionKey], int] = field(default_factory=dict)
    firsts_ms: dict[tuple[int, VersionKey], int] = field(default_factory=dict)


class UsageStore:
    """Every method raises Unavailable while the store does not answer."""

    def __init__(self, redis: Redis, kept: Kept) -> None:
        self._redis = redis
        self.kept = kept

    async def load(self) -> tuple[dict[int, int], dict[tuple[VersionKey, str], Size]]:
        """Until when (ms) all of each shard was counted, and the sizes of the revisions that lived then."""
        with reaching_the_store():
            until: dict[Any, Any] = await self._redis.hgetall(UNTIL_KEY)
            sizes: dict[Any, Any] = await self._redis.hgetall(SIZES_KEY)
        known = {_revision_of(name.decode()): Size(*json.loads(value)) for name, value in sizes.items()}
        return {int(shard): int(ms) for shard, ms in until.items()}, known

    async def write(self, shard: int, batch: Batch) -> int | None:
        """Write a batch down; once, however often it is sent. Not None: refused, as somebody else has counted until
        that time (ms)."""
        command = json.dumps(_command(shard, batch, self.kept), separators=(",", ":"))
        with reaching_the_store():
            answer: Any = await self._redis.eval(_WRITE, 2, UNTIL_KEY, SIZES_KEY, command)
        return None if answer == b"ok" else int(answer or 0)

    async def read(self, by: By, since_s: float, until_s: float, wanted: VersionKey = ("", "", "")) -> Counted:
        """All hours or days that [since, until) touches. `wanted`: service, version, function; "" is any."""
        counted = Counted()
        first = max(int(since_s), int(until_s) - self.kept.of(by)) // by.length_s * by.length_s
        begins = range(first, math.ceil(until_s), by.length_s)  # without one that begins when the span ends
        for at in range(0, len(begins), HASHES_AT_ONCE):
            some = begins[at : at + HASHES_AT_ONCE]
            with reaching_the_store():
                async with self._redis.pipeline(transaction=False) as pipe:
                    for begin_s in some:
                        pipe.hgetall(_hash_key(by, begin_s))
                    answers: list[dict[bytes, bytes]] = await pipe.execute()
            for begin_s, values in zip(some, answers, strict=True):
                _take_in(counted, begin_s, values, wanted)
        return counted

    async def recorded(self, key: VersionKey, since_s: float) -> list[bytes]:
        """The entries that were written after a time, the oldest first."""
        entries: list[bytes] = []
        start = str(int(since_s * 1000))
        while True:
            with reaching_the_store():
                page: Any = await self._redis.xrange(_stream_key(key), min=start, count=ENTRIES_AT_ONCE)
            entries += [fields[b"e"] for _, fields in page]
            if len(page) < ENTRIES_AT_ONCE:
                return entries
            start = f"({page[-1][0].decode()}"


def _command(shard: int, batch: Batch, kept: Kept) -> dict[str, Any]:
    """All numbers as text: Lua's have no more than 53 bits, and are written with an exponent."""
    adds, hashes = [], set[tuple[By, int]]()
    used = [(line, f"{_TIME}:{':'.join(map(str, size))}", ms) for (line, size), ms in batch.instance_ms.items()]
    used += [(line, _REQUESTS, requests) for line, requests in batch.requests.items()]
    for line, what, number in used:
        name, text = f"{'/'.join(line.key)}/{line.kind.value}/{what}", str(number)
        for by in By:
            begin_s = _begin_s(by, line.begin_s)
            hashes.add((by, begin_s))
            adds.append([_hash_key(by, begin_s), name, text])
    peaks, firsts = [], []
    for by in By:
        for (hour_s, of), most in batch.peaks.items():
            peaks.append([_hash_key(by, _begin_s(by, hour_s)), f"{'/'.join(of)}//{_PEAK}", str(most)])
        for (hour_s, of), at_ms in sorted(batch.firsts_ms.items(), key=lambda item: item[1]):
            firsts.append([_hash_key(by, _begin_s(by, hour_s)), f"{'/'.join(of)}//{_FIRST}", str(at_ms)])
            hashes.add((by, _begin_s(by, hour_s)))
    return {
        "shard": str(shard),
        "from": "" if batch.from_ms is None else str(batch.from_ms),
        "until": str(batch.until_ms),
        "adds": adds,
        "peaks": peaks,
        "firsts": firsts,
        "expiries": [[_hash_key(by, b), str(b + by.length_s + kept.of(by))] for by, b in sorted(hashes)],
        "sizes": [[_revision_name(*at), json.dumps(size)] for at, size in batch.sizes.items()],
        "sizes_gone": [_revision_name(*at) for at in batch.sizes_gone],
        "entries": [[_stream_key(key), text] for key, text in batch.entries.items()],
        "oldest": str(max(0, batch.until_ms - kept.recorded_s * 1000)),
        "recorded_s": str(kept.recorded_s),
    }


def _take_in(counted: Counted, begin_s: int, values: dict[bytes, bytes], wanted: VersionKey) -> None:
    for written, value in values.items():
        service, version, function, kind, what = written.decode().split("/")
        key = (service, version, function)
        if any(name not in ("", of) for name, of in zip(wanted, key, strict=True)):
            continue
        if what == _PEAK:
            counted.peaks[begin_s, key] = int(value)
        elif what == _FIRST:
            counted.firsts_ms[begin_s, key] = int(value)
        else:
            line = Line(begin_s, key, Kind(kind))
            used = Amounts(requests=int(value)) if what == _REQUESTS else Amounts.of_time(int(value), _size_of(what))
            counted.lines[line] = counted.lines.get(line, Amounts()).plus(used)


def _size_of(what: str) -> Size:
    return Size(*map(int, what.split(":")[1:]))


def _begin_s(by: By, at_s: int) -> int:
    return at_s // by.length_s * by.length_s


def _hash_key(by: By, begin_s: int) -> str:
    return f"stoke:usage:{by.value}:{begin_s}"


def _stream_key(key: VersionKey) -> str:
    return RECORDED_PREFIX + "/".join(key)


def _revision_name(key: VersionKey, revision: str) -> str:
    return "/".join((*key, revision))


def _revision_of(name: str) -> tuple[VersionKey, str]:
    service, version, function, revision = name.split("/", 3)
    return (service, version, function), revision
