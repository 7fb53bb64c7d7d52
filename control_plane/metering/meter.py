"""Adds up what instances and requests come to, by hour. Pure: told of records and reports, and when.

Time is counted in whole milliseconds, so that sums are exact however often they are written down. An instance counts
from its launch until its record goes: it is paid for while it starts and while it drains.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from runtime.contract import InstanceRecord, Kind, VersionKey, version_key

HOUR_S: Final = 3600
HOUR_MS: Final = HOUR_S * 1000


class Size(NamedTuple):
    """What one instance is given."""

    cpu_milli: int = 0  # thousandths of a vCPU
    memory_mib: int = 0
    gpu_memory_mib: int = 0


class Line(NamedTuple):
    """What amounts are kept by: an hour or a day (UTC seconds of its beginning), a function version, a kind."""

    begin_s: int
    key: VersionKey
    kind: Kind


class Amounts(NamedTuple):
    """What was used. Time in milliseconds: of instances, and of what each was given."""

    instance_ms: int = 0
    cpu_milli_ms: int = 0
    memory_mib_ms: int = 0
    gpu_memory_mib_ms: int = 0
    requests: int = 0

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(*(a + b for a, b in zip(self, other, strict=True)))

    @staticmethod
    def of_time(instance_ms: int, size: Size) -> Amounts:
        return Amounts(instance_ms, *(instance_ms * each for each in size))


@dataclass(slots=True)
class Batch:
    """What came together between two moments, to be written down once. `entries` are the recorder's."""

    from_ms: int | None  # None: nothing was ever counted before
    until_ms: int
    instance_ms: dict[tuple[Line, Size], int] = field(default_factory=dict)
    requests: dict[Line, int] = field(default_factory=dict)
    peaks: dict[tuple[int, VersionKey], int] = field(default_factory=dict)  # most instances at once, by hour
    firsts_ms: dict[tuple[int, VersionKey], int] = field(default_factory=dict)  # since when there were any, by hour
    sizes: dict[tuple[VersionKey, str], Size] = field(default_factory=dict)  # new ones of living revisions
    sizes_gone: list[tuple[VersionKey, str]] = field(default_factory=list)
    entries: dict[VersionKey, str] = field(default_factory=dict)

    @property
    def lines(self) -> dict[Line, Amounts]:
        """What all of it comes to."""
        lines = {line: Amounts(requests=requests) for line, requests in self.requests.items()}
        for (line, size), instance_ms in self.instance_ms.items():
            lines[line] = lines.get(line, Amounts()).plus(Amounts.of_time(instance_ms, size))
        return lines


class _Group(NamedTuple):
    """Instances that are counted alike."""

    key: VersionKey
    kind: Kind
    revision: str


@dataclass(slots=True)
class _Standing:
    count: int
    since_ms: int


class Meter:
    """Everything since the last `take`. `counted_until_ms`: what happened before has been written down already."""

    def __init__(self, counted_until_ms: int | None = None, sizes: dict[tuple[VersionKey, str], Size] | None = None):
        self._counted_until_ms = counted_until_ms
        self._living: dict[str, _Group] = {}
        self._standings: dict[_Group, _Standing] = {}
        self._totals: defaultdict[VersionKey, int] = defaultdict(int)
        self._instance_ms: defaultdict[tuple[int, _Group], int] = defaultdict(int)
        self._requests: defaultdict[Line, int] = defaultdict(int)
        self._peaks: dict[tuple[int, VersionKey], int] = {}
        self._firsts_ms: dict[tuple[int, VersionKey], int] = {}
        self._peaks_told: dict[tuple[int, VersionKey], int] = {}  # what a batch had already, of the last hours
        self._sizes: dict[tuple[VersionKey, str], Size] = dict(sizes or {})
        self._sizes_kept: set[tuple[VersionKey, str]] = set(self._sizes)  # written down

    # -- being told -------------------------------------------------------------------------------------------------

    def sized(self, key: VersionKey, revision: str, size: Size) -> None:
        """What instances of a revision are given; known before it is taken, or they count as nothing but time."""
        self._sizes[key, revision] = size

    def unsized(self) -> set[tuple[VersionKey, str]]:
        """The revisions of living instances of which no size is known."""
        return {(g.key, g.revision) for g in self._standings if (g.key, g.revision) not in self._sizes}

    def saw(self, record: InstanceRecord, now_s: float) -> None:
        """A record as it is now. Its first time begins at its launch, or at what is counted already."""
        now_ms = _ms(now_s)
        group = _Group(version_key(record), record.kind, record.revision)
        before = self._living.get(record.instance_id)
        if before == group:
            return
        since_ms = now_ms
        if before is not None:
            self._leave(before, now_ms)
        else:
            since_ms = min(now_ms, max(_ms(record.launched_at_s), self._counted_until_ms or 0))
        self._living[record.instance_id] = group
        self._enter(group, since_ms, now_ms)

    def ended(self, instance_id: str, now_s: float) -> None:
        """Its record is gone. One that is not known does nothing."""
        group = self._living.pop(instance_id, None)
        if group is not None:
            self._leave(group, _ms(now_s))

    def served(self, key: VersionKey, kind: Kind, requests: int, now_s: float) -> None:
        if requests:
            self._requests[Line(_hour_s(_ms(now_s)), key, kind)] += requests

    def counted_until(self, until_ms: int) -> None:
        """Somebody else has counted until then, and the last batch is worth nothing."""
        self._counted_until_ms = until_ms
        self._peaks_told.clear()
        self._sizes_kept.clear()

    def is_due(self, now_s: float) -> bool:
        """A millisecond or more has passed since the last batch: by its end it is told from the next one."""
        return _ms(now_s) > (self._counted_until_ms or 0)

    @property
    def is_idle(self) -> bool:
        """There is nothing to be taken."""
        return not (self._standings or self._instance_ms or self._requests or self._sizes_kept)

    # -- adding up --------------------------------------------------------------------------------------------------

    def _enter(self, group: _Group, since_ms: int, now_ms: int) -> None:
        self._settle(group, now_ms)
        standing = self._standings.setdefault(group, _Standing(0, now_ms))
        standing.count += 1
        self._totals[group.key] += 1
        self._add(group, 1, since_ms, now_ms)
        self._note(group.key, _hour_s(now_ms), now_ms)

    def _leave(self, group: _Group, now_ms: int) -> None:
        self._settle(group, now_ms)
        standing = self._standings[group]
        standing.count -= 1
        self._totals[group.key] -= 1
        if not standing.count:
            del self._standings[group]
        if not self._totals[group.key]:
            del self._totals[group.key]

    def _settle(self, group: _Group, now_ms: int) -> None:
        standing = self._standings.get(group)
        if standing is not None and now_ms > standing.since_ms:
            self._add(group, standing.count, standing.since_ms, now_ms)
            standing.since_ms = now_ms

    def _add(self, group: _Group, count: int, since_ms: int, until_ms: int) -> None:
        """So many instances from then to then, each hour its part."""
        while since_ms < until_ms:
            hour_s = _hour_s(since_ms)
            end_ms = min(until_ms, hour_s * 1000 + HOUR_MS)
            self._instance_ms[hour_s, group] += count * (end_ms - since_ms)
            self._note(group.key, hour_s, since_ms)
            since_ms = end_ms

    def _note(self, key: VersionKey, hour_s: int, at_ms: int) -> None:
        at = (hour_s, key)
        self._peaks[at] = max(self._peaks.get(at, 0), self._totals[key])
        self._firsts_ms[at] = min(self._firsts_ms.get(at, at_ms), at_ms)

    # -- writing down -----------------------------------------------------------------------------------------------

    def take(self, now_s: float) -> Batch:
        """All of it until now, which the next one begins with. Only when it is due."""
        now_ms = _ms(now_s)
        assert self.is_due(now_s), "no two batches end in the same millisecond"
        for group in self._standings:
            self._settle(group, now_ms)
        batch = Batch(self._counted_until_ms, now_ms, requests=dict(self._requests))
        for (hour_s, group), instance_ms in self._instance_ms.items():
            size = self._sizes.get((group.key, group.revision), Size())
            sized = (Line(hour_s, group.key, group.kind), size)
            batch.instance_ms[sized] = batch.instance_ms.get(sized, 0) + instance_ms
        self._tell_peaks(batch)
        living = {(group.key, group.revision) for group in self._standings}
        batch.sizes = {at: size for at, size in self._sizes.items() if at in living and at not in self._sizes_kept}
        batch.sizes_gone = [at for at in self._sizes_kept if at not in living]
        self._sizes_kept = {at for at in self._sizes if at in living}
        for at in batch.sizes_gone:
            self._sizes.pop(at, None)
        self._counted_until_ms = now_ms
        self._instance_ms.clear()
        self._requests.clear()
        return batch

    def _tell_peaks(self, batch: Batch) -> None:
        """Those that are new; most of the time nothing has changed."""
        told, last_hour_s = self._peaks_told, _hour_s(batch.until_ms) - HOUR_S
        batch.peaks = {at: most for at, most in self._peaks.items() if most > told.get(at, 0)}
        batch.firsts_ms = {at: self._firsts_ms[at] for at in batch.peaks if at not in told}
        told |= batch.peaks
        self._peaks_told = {at: most for at, most in told.items() if at[0] >= last_hour_s}
        self._peaks, self._firsts_ms = {}, {}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _hour_s(at_ms: int) -> int:
    return at_ms // HOUR_MS * HOUR_S
