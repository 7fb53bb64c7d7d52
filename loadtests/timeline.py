"""How a fleet did over time: samples, and the changes of target with the reasons given for them. Bounded in size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SAMPLES_KEPT_MAX: Final = 4096  # 17 minutes of four samples a second; half as many a second after that
DECISIONS_KEPT_MAX: Final = 500
INSTANCES_KEPT_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a function's fleet. `ready_at_s` has the instances that are READY, and since when (UTC)."""

    at_s: float
    target: int
    current: int
    starting: int
    ready: int = 0
    on_demand: int = 0
    draining: int = 0
    in_flight: int = 0
    utilization: float | None = None
    current_error: str = ""
    in_force: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    ready_at_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetChange:
    """A scaling decision that moved the target, in the autoscaler's own words."""

    at_s: float
    before: int
    after: int
    reasons: tuple[str, ...]
    in_force: tuple[str, ...]


class Timeline:
    """Samples in order of time. Written by one thread; readers get copies."""

    def __init__(self, kept_max: int = SAMPLES_KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._samples: list[Sample] = []
        self._every = 1  # one sample of this many is kept
        self._heard = 0
        self._latest: Sample | None = None
        self._changes: list[TargetChange] = []
        self._ready_at_s: dict[str, float] = {}
        self.current_peak = 0
        self.target_peak = 0
        self.errors: list[str] = []  # each different currentError once
        self.missed = 0
        self.last_miss = ""

    def add(self, sample: Sample) -> None:
        self._note_change(sample)
        self._latest = sample
        self.current_peak = max(self.current_peak, sample.current)
        self.target_peak = max(self.target_peak, sample.target)
        if sample.current_error and sample.current_error not in self.errors and len(self.errors) < DECISIONS_KEPT_MAX:
            self.errors.append(sample.current_error)
        for instance, at_s in sample.ready_at_s.items():
            if len(self._ready_at_s) < INSTANCES_KEPT_MAX:
                self._ready_at_s.setdefault(instance, at_s)
        self._keep(sample)

    def miss(self, why: str) -> None:
        """A look that failed."""
        self.missed += 1
        self.last_miss = why

    @property
    def samples(self) -> list[Sample]:
        """The kept samples; the newest is always among them."""
        kept = list(self._samples)
        latest = self._latest
        return [*kept, latest] if latest is not None and (not kept or kept[-1] is not latest) else kept

    @property
    def latest(self) -> Sample | None:
        return self._latest

    @property
    def changes(self) -> list[TargetChange]:
        return list(self._changes)

    @property
    def ready_at_s(self) -> dict[str, float]:
        """Every instance that was seen READY, with the UTC second it became so."""
        return dict(self._ready_at_s)

    def _note_change(self, sample: Sample) -> None:
        before = self._latest.target if self._latest is not None else sample.target
        if before != sample.target and len(self._changes) < DECISIONS_KEPT_MAX:
            self._changes.append(TargetChange(sample.at_s, before, sample.target, sample.reasons, sample.in_force))

    def _keep(self, sample: Sample) -> None:
        if self._heard % self._every == 0:
            self._samples.append(sample)
        self._heard += 1
        if len(self._samples) > self._kept_max:
            self._samples = self._samples[::2]
            self._every *= 2
