"""Arrivals to replay: when each request came, and how long it took if that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BEGAN_UTC_S: Final = 1_767_225_600.0  # 2026-01-01T00:00:00Z, of traces that name no day


@dataclass(frozen=True, slots=True)
class Trace:
    """In seconds since the beginning, in order. `service_s` has one entry a request, None where it is not known."""

    name: str
    arrivals_s: tuple[float, ...]
    duration_s: float
    service_s: tuple[float | None, ...] = ()
    began_utc_s: float = BEGAN_UTC_S
    launch_s: float | None = None  # what a launch took, where that was recorded

    def service_of(self, index: int, otherwise_s: float) -> float:
        known = self.service_s[index] if self.service_s else None
        return otherwise_s if known is None else known

    def told_service(self, otherwise_s: float) -> str:
        """How long requests take, in words: as the trace knows it, else `otherwise_s`."""
        if not self.service_s:
            return f"service {otherwise_s:g} s"
        total_s = math.fsum(otherwise_s if known is None else known for known in self.service_s)
        return f"service {total_s / len(self.service_s):.3g} s on average"


def trace_of(
    name: str,
    rows: Sequence[tuple[float, float | None]],
    *,
    began_utc_s: float = BEGAN_UTC_S,
    duration_s: float | None = None,
    launch_s: float | None = None,
) -> Trace:
    """Of (arrival, service time) in any order. Without a duration it lasts until the last arrival, in whole seconds.

    Raises:
        ValueError: there is no request, or a number that is none.
    """
    if not rows:
        raise ValueError(f"{name}: no request in it; at least 1 is needed")
    for arrival_s, service_s in rows:
        if not math.isfinite(arrival_s):
            raise ValueError(f"{name}: arrival {arrival_s}; a finite time is allowed")
        if arrival_s < 0.0:
            raise ValueError(f"{name}: arrival {arrival_s}; seconds count from the beginning, so 0 or more are allowed")
        if service_s is not None and not (math.isfinite(service_s) and service_s > 0.0):
            raise ValueError(f"{name}: service time {service_s} s; a finite number above 0 is allowed")
    ordered = sorted(rows, key=lambda row: row[0])
    last_s = ordered[-1][0]
    known = any(service_s is not None for _, service_s in ordered)
    return Trace(
        name=name,
        arrivals_s=tuple(arrival_s for arrival_s, _ in ordered),
        duration_s=max(1.0, math.floor(last_s) + 1.0) if duration_s is None else duration_s,
        service_s=tuple(service_s for _, service_s in ordered) if known else (),
        began_utc_s=began_utc_s,
        launch_s=launch_s,
    )
