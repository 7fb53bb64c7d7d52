"""What each running instance uses, read from /proc between two calls, and from the devices."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtime.node import processes
from runtime.node.devices import Devices, GpuUse, ProcessReading
from runtime.node.processes import TICKS_PER_S
from runtime.node_contract import InstanceSample


@dataclass(frozen=True, slots=True)
class Subject:
    """One running instance, as far as measuring needs it."""

    instance_id: str
    pid: int
    start_ticks: int
    cpu: float  # vCPU it asked for; 0 = none asked for
    gpu_memory_mib: int
    known_pids: frozenset[int] = frozenset()  # from its control group


@dataclass(frozen=True, slots=True)
class _Reading:
    """What /proc said of one instance."""

    cores: float | None  # cores' worth of CPU since the last call: 0.5 is half of one core
    memory_mib: dict[int, float]  # by pid


class Sampler:
    """Remembers the last reading of each instance; one that is new has no CPU utilization yet."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._has_gpu = bool(devices.inventory())
        self._before: dict[str, tuple[float, int]] = {}  # monotonic seconds and CPU ticks

    def sample(self, subjects: Sequence[Subject]) -> list[InstanceSample]:
        at_s = time.time()
        readings = self._read(subjects)
        # One call for all: the devices tell what was done since the last call, whoever did it.
        uses = self._devices.samples([r for s in subjects if self._uses_gpu(s) for r in _of_processes(s, readings)])
        return [self._put_together(subject, at_s, readings[subject.instance_id], uses) for subject in subjects]

    def _read(self, subjects: Sequence[Subject]) -> dict[str, _Reading]:
        now_s = time.monotonic()
        stats = processes.all_stats()
        ticks = {stat.pid: stat.cpu_ticks for stat in stats}
        before, self._before = self._before, {}
        readings = {}
        for subject in subjects:
            family = processes.family(subject.pid, subject.start_ticks, stats, subject.known_pids)
            seen = (now_s, sum(ticks[pid] for pid, _ in family))
            self._before[subject.instance_id] = seen
            cores = _cores(before.get(subject.instance_id), seen)
            readings[subject.instance_id] = _Reading(cores, {pid: processes.memory_mib(pid) for pid, _ in family})
        return readings

    def _uses_gpu(self, subject: Subject) -> bool:
        return self._has_gpu and subject.gpu_memory_mib > 0

    def _put_together(
        self, subject: Subject, at_s: float, reading: _Reading, uses: Mapping[int, GpuUse]
    ) -> InstanceSample:
        gpu = None
        if self._uses_gpu(subject):
            gpu = together([uses[pid] for pid in reading.memory_mib if pid in uses])
        return InstanceSample(
            instance_id=subject.instance_id,
            at_s=at_s,
            cpu_utilization=None if reading.cores is None else min(1.0, reading.cores / (subject.cpu or 1.0)),
            memory_mib=sum(reading.memory_mib.values()),
            gpu_sm_utilization=gpu.sm_utilization if gpu else None,
            gpu_memory_utilization=_share(gpu.memory_mib, subject.gpu_memory_mib) if gpu else None,
            gpu_encoder_utilization=gpu.encoder_utilization if gpu else None,
            gpu_decoder_utilization=gpu.decoder_utilization if gpu else None,
            simulated=gpu is not None and self._devices.simulated,
            gpu_at_s=None if gpu is None else gpu.at_s if gpu.at_s is not None else at_s,
        )


def together(uses: Sequence[GpuUse]) -> GpuUse:
    """Processes of one instance share the card's time, so their utilizations add up, to the whole card at most.

    No process on any card is no use of it; something that no process could tell stays unknown.
    """
    return GpuUse(
        _sum([use.sm_utilization for use in uses], at_most=1.0),
        _sum([use.encoder_utilization for use in uses], at_most=1.0),
        _sum([use.decoder_utilization for use in uses], at_most=1.0),
        _sum([use.memory_mib for use in uses]),
        min((use.at_s for use in uses if use.at_s is not None), default=None),  # as old as the oldest of them
    )


def _of_processes(subject: Subject, readings: Mapping[str, _Reading]) -> list[ProcessReading]:
    """One for each process, the leader's with what all of them do: a CPU is read per instance, a card per process."""
    reading = readings[subject.instance_id]
    whole = ProcessReading(subject.pid, reading.cores, sum(reading.memory_mib.values()))
    return [whole, *(ProcessReading(pid, 0.0, 0.0) for pid in reading.memory_mib if pid != subject.pid)]


def _cores(before: tuple[float, int] | None, seen: tuple[float, int]) -> float | None:
    if before is None or seen[0] <= before[0]:
        return None
    # Below zero: a process ended that nobody waited for, and took its count along.
    return max(0.0, (seen[1] - before[1]) / TICKS_PER_S / (seen[0] - before[0]))


def _sum(values: Sequence[float | None], at_most: float = math.inf) -> float | None:
    known = [value for value in values if value is not None]
    return min(at_most, sum(known)) if known or not values else None


def _share(memory_mib: float | None, of_mib: int) -> float | None:
    return None if memory_mib is None else min(1.0, memory_mib / of_mib)
