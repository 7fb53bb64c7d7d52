"""Between what happens and what is kept: hears of records and reports, writes every few seconds, answers questions.

What a kill -9 can lose is what was heard since the last write: requests, and the time of instances that were launched
and ended in between. The time of all others is counted on from the last write, however long nobody counted.
"""

from __future__ import annotations

import asyncio
import logging
from statistics import median
from typing import Any

from control_plane.errors import NotFound, Unavailable
from control_plane.fleet.usage import VersionKey
from control_plane.metering.bill import bill
from control_plane.metering.meter import Batch, Meter, Size
from control_plane.metering.prices import Prices
from control_plane.metering.recorded import RecordedRow, rows
from control_plane.metering.recorder import Recorder
from control_plane.metering.store import By, Counted, UsageStore
from control_plane.ports import Clock, Recorded, Registry
from control_plane.registry.launching import gpu_memory_mib
from runtime.contract import FunctionUsage, InstanceRecord, InstanceState, Kind, LaunchSpec, UsageReport

log = logging.getLogger(__name__)


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
        self._meter = Meter()
        self._recorder = Recorder()
        self._ready: set[str] = set()  # instances whose launch time is recorded
        self._unwritten: Batch | None = None  # sent, but whether it arrived is not known
        self._writing = asyncio.Lock()

    # -- being told -------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Find out until when everything is counted. Raises Unavailable."""
        self._meter = Meter(*await self._store.load())

    def saw(self, record: InstanceRecord, now_s: float) -> None:
        self._meter.saw(record, now_s)
        is_fresh = record.state is InstanceState.READY and now_s - record.ready_at_s < self._saved_every_s
        if is_fresh and record.instance_id not in self._ready:
            key = (record.service, record.version, record.function)
            self._recorder.launched(key, record.ready_at_s, record.ready_at_s - record.launched_at_s)
            self._ready.add(record.instance_id)

    def ended(self, instance_id: str, now_s: float) -> None:
        self._meter.ended(instance_id, now_s)
        self._ready.discard(instance_id)

    def launching(self, spec: LaunchSpec) -> None:
        """What the instances of this revision are given from now on."""
        size = Size(round(spec.cpu * 1000), spec.memory_mib, spec.gpu_memory_mib)
        self._meter.sized((spec.service, spec.version, spec.function), spec.revision, size)

    def heard(self, report: UsageReport) -> None:
        """Take a gateway's report in, at the time at which it is heard."""
        now_s = self._clock.utc_s()
        for values in report.functions:
            usage = FunctionUsage.from_dict(values)
            key = (usage.service, usage.version, usage.function)
            self._meter.served(key, Kind.PROVISIONED, usage.served_provisioned, now_s)
            self._meter.served(key, Kind.ON_DEMAND, usage.served_on_demand, now_s)
            if usage.arrivals:
                self._recorder.arrived(key, usage.arrivals)
            if served := usage.served_provisioned + usage.served_on_demand:
                self._recorder.served(key, report.now_s, served, usage.service_s_sum)

    # -- writing down -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write for ever. While the store is away, all is kept here."""
        while True:
            await self._clock.sleep(self._saved_every_s)
            try:
                await self.flush()
            except Unavailable as error:
                log.warning("usage.unwritten error=%s", error)

    async def flush(self) -> None:
        """Write down all until now. Raises Unavailable."""
        async with self._writing:
            if self._unwritten is not None:
                await self._write(self._unwritten)
            await self._learn_sizes()
            batch = self._meter.take(self._clock.utc_s())
            batch.entries = self._recorder.take()
            await self._write(batch)

    async def _write(self, batch: Batch) -> None:
        self._unwritten = batch
        refused = await self._store.write(batch)
        self._unwritten = None
        if refused is not None:
            log.warning("usage.counted_elsewhere until_ms=%d", refused)
            self._meter.counted_until(refused)

    async def _learn_sizes(self) -> None:
        """Of instances whose launch nobody here has seen, and that no note was found of."""
        for key, revision in self._meter.unsized():
            service, version, name = key
            try:
                function = await self._registry.get_function(service, name, version)
            except NotFound:
                self._meter.sized(key, revision, Size())
                continue
            size = Size(round((function.cpu or 0.0) * 1000), function.memory_size, gpu_memory_mib(function))
            self._meter.sized(key, revision, size)

    # -- being asked ------------------------------------------------------------------------------------------------

    async def usage(self, by: str, since_s: float, until_s: float, wanted: VersionKey) -> dict[str, Any]:
        now_s = self._clock.utc_s()
        if until_s >= now_s - self._saved_every_s:
            await self.flush()
        until_s = min(until_s, now_s)
        counted = await self._store.read(By(by), since_s, until_s, wanted)
        return {"by": by, "since_s": since_s, "until_s": until_s} | bill(counted, self._prices, until_s)

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
