"""Between what happens and what is kept: hears of records and reports, writes every few seconds, answers questions.

What a kill -9 can lose is what was heard since the last write: requests, and the time of instances that were launched
and ended in between. The time of all others is counted on from the last write, however long nobody counted.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from control_plane.errors import NotFound, Unavailable
from control_plane.metering.bill import bill
from control_plane.metering.meter import Batch, Meter, Size
from control_plane.metering.prices import Prices
from control_plane.metering.recorded import RecordedRow, rows
from control_plane.metering.recorder import Recorder
from control_plane.metering.store import By, Counted, UsageStore
from control_plane.ports import Clock, Recorded, Registry
from control_plane.registry.launching import gpu_memory_mib
from runtime.contract import FunctionUsage, InstanceRecord, InstanceState, Kind, UsageReport, VersionKey, version_key
from runtime.node_contract import LaunchSpec

log = logging.getLogger(__name__)


# Function versions are written a shard at a time, so that the store answers others in between, however many there are.
SHARDS: Final = 64
WRITING_PART_MAX: Final = 4.0  # of the time at most a fifth goes into writing, however much there is to write


def shard_of(key: VersionKey) -> int:
    return zlib.crc32("/".join(key).encode()) % SHARDS


@dataclass(slots=True)
class _Shard:
    meter: Meter = field(default_factory=Meter)
    recorder: Recorder = field(default_factory=Recorder)
    unwritten: Batch | None = None  # sent, but whether it arrived is not known

    @property
    def is_idle(self) -> bool:
        return self.meter.is_idle and self.recorder.is_idle


class UsageAccounts:
    """Fills `ports.Accounts`. `load` comes before the first record."""

    def __init__(
        self, store: UsageStore, registry: Registry, clock: Clock, prices: Prices | None, saved_every_s: float
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._prices = prices
        self._saved_every_s = saved_every_s
        self._shards = [_Shard() for _ in range(SHARDS)]
        self._living: dict[str, _Shard] = {}
        self._ready: set[str] = set()  # instances whose launch time is recorded
        self._writing = asyncio.Lock()

    # -- being told -------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Find out until when everything is counted. Raises Unavailable."""
        counted_until_ms, sizes = await self._store.load()
        shards: defaultdict[int, dict[tuple[VersionKey, str], Size]] = defaultdict(dict)
        for (key, revision), size in sizes.items():
            shards[shard_of(key)][key, revision] = size
        self._shards = [_Shard(Meter(counted_until_ms.get(n), shards[n])) for n in range(SHARDS)]

    def saw(self, record: InstanceRecord, now_s: float) -> None:
        shard = self._shard(version_key(record))
        self._living[record.instance_id] = shard
        shard.meter.saw(record, now_s)
        is_fresh = record.state is InstanceState.READY and now_s - record.ready_at_s < self._saved_every_s
        if is_fresh and record.instance_id not in self._ready:
            key = version_key(record)
            shard.recorder.launched(key, record.ready_at_s, record.ready_at_s - record.launched_at_s)
            self._ready.add(record.instance_id)

    def ended(self, instance_id: str, now_s: float) -> None:
        shard = self._living.pop(instance_id, None)
        if shard is not None:
            shard.meter.ended(instance_id, now_s)
        self._ready.discard(instance_id)

    def launching(self, spec: LaunchSpec) -> None:
        """What the instances of this revision are given from now on."""
        size = Size(round(spec.cpu * 1000), spec.memory_mib, spec.gpu_memory_mib)
        key = version_key(spec)
        self._shard(key).meter.sized(key, spec.revision, size)

    def heard(self, report: UsageReport) -> None:
        """Take a gateway's report in, at the time at which it is heard."""
        now_s = self._clock.utc_s()
        for values in report.functions:
            usage = FunctionUsage.from_dict(values)
            key = version_key(usage)
            shard = self._shard(key)
            shard.meter.served(key, Kind.PROVISIONED, usage.served_provisioned, now_s)
            shard.meter.served(key, Kind.ON_DEMAND, usage.served_on_demand, now_s)
            if usage.arrivals:
                shard.recorder.arrived(key, usage.arrivals)
            if served := usage.served_provisioned + usage.served_on_demand:
                shard.recorder.served(key, report.now_s, served, usage.service_s_sum)

    def _shard(self, key: VersionKey) -> _Shard:
        return self._shards[shard_of(key)]

    # -- writing down -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write for ever. While the store is away, all is kept here."""
        took_s = 0.0
        while True:
            await self._clock.sleep(max(self._saved_every_s, WRITING_PART_MAX * took_s))
            began_s = self._clock.monotonic_s()
            try:
                await self.flush()
            except Unavailable as error:
                log.warning("usage.unwritten error=%s", error)
            took_s = self._clock.monotonic_s() - began_s

    async def flush(self) -> None:
        """Write down all until now. Raises Unavailable."""
        async with self._writing:
            for number, shard in enumerate(self._shards):
                if shard.unwritten is not None:
                    await self._write(number, shard, shard.unwritten)
                if shard.is_idle:
                    continue
                await self._learn_sizes(shard.meter)
                now_s = self._clock.utc_s()
                if not shard.meter.is_due(now_s):
                    continue  # the next one has it
                batch = shard.meter.take(now_s)
                batch.entries = shard.recorder.take()
                await self._write(number, shard, batch)

    async def _write(self, number: int, shard: _Shard, batch: Batch) -> None:
        shard.unwritten = batch
        refused = await self._store.write(number, batch)
        shard.unwritten = None
        if refused is not None:
            log.warning("usage.counted_elsewhere shard=%d until_ms=%d", number, refused)
            shard.meter.counted_until(refused)

    async def _learn_sizes(self, meter: Meter) -> None:
        """Of instances whose launch nobody here has seen, and that no note was found of."""
        for key, revision in meter.unsized():
            service, version, name = key
            try:
                function = await self._registry.get_function(service, name, version)
            except NotFound:
                meter.sized(key, revision, Size())
                continue
            size = Size(round((function.cpu or 0.0) * 1000), function.memory_size, gpu_memory_mib(function))
            meter.sized(key, revision, size)

    # -- being asked ------------------------------------------------------------------------------------------------

    async def usage(self, by: str, since_s: float, until_s: float, wanted: VersionKey) -> dict[str, Any]:
        now_s = self._clock.utc_s()
        if until_s >= now_s - self._saved_every_s:
            await self.flush()
        until_s = min(until_s, now_s)
        counted = await self._store.read(By(by), since_s, until_s, wanted)
        told_until_s = min(By(by).end_s(until_s), now_s)  # whole hours or days are told of
        gone_s = await self._gone_s(counted, By(by), told_until_s)
        return {"by": by, "since_s": since_s, "until_s": until_s} | bill(counted, self._prices, told_until_s, gone_s)

    async def _gone_s(self, counted: Counted, by: By, until_s: float) -> dict[VersionKey, float]:
        """Of function versions that are deleted, when the last hour or day ended in which they were used."""
        ended_s: dict[VersionKey, float] = {}
        for line in counted.lines:
            ended_s[line.key] = max(ended_s.get(line.key, 0.0), float(line.begin_s + by.length_s))
        return {key: at_s for key, at_s in ended_s.items() if at_s < until_s and not await self._is_there(key)}

    async def _is_there(self, key: VersionKey) -> bool:
        service, version, name = key
        try:
            await self._registry.get_function(service, name, version)
        except NotFound:
            return False
        return True

    async def recorded(self, key: VersionKey, since_s: float, until_s: float) -> Recorded:
        await self.flush()
        until_s = min(until_s, self._clock.utc_s())
        since_s = min(max(since_s, until_s - self._store.kept.recorded_s), until_s)
        # What is told of a moment is written a little after it.
        found = rows(await self._store.recorded(key, since_s), since_s, until_s)
        return Recorded(since_s, until_s, found, _median([row.launch_s for row in found]))


class NoAccounts:
    """Where nothing is metered: no usage, and nothing recorded."""

    async def usage(self, by: str, since_s: float, until_s: float, wanted: VersionKey) -> dict[str, Any]:
        del wanted
        return {"by": by, "since_s": since_s, "until_s": until_s} | bill(Counted(), None, until_s)

    async def recorded(self, key: VersionKey, since_s: float, until_s: float) -> Recorded:
        del key
        return Recorded(since_s, until_s, [RecordedRow(since_s, 0), RecordedRow(until_s, 0)], None)


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
