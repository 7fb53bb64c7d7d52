"""Traces that count requests in buckets of time, recorded usage among them: each request gets a moment of its bucket.

The columns are `time` (of the bucket's beginning), `width_s`, `requests`, and perhaps `service_s` and `launch_s`: means
of the requests that were done, and of the instances that became ready, in that bucket. The first row begins the trace
and the last one ends it, with 0 requests if need be.
"""

from __future__ import annotations

import csv
import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from loadtests.simulator.trace import BEGAN_UTC_S, Trace, trace_of

COLUMNS: Final = ("time", "width_s", "requests")
REQUESTS_MAX: Final = 20_000_000  # a few GB when they are replayed
NARROW_S: Final = 1.0  # up to this width requests are spread evenly; in wider buckets chance has a say
UTC_FROM_S: Final = 946_684_800.0  # a number from here on is UTC seconds, a smaller one counts from the beginning

Bucket = tuple[float, float, int]  # beginning, width, requests
Known = list[tuple[float, float]]  # moment, seconds


def read_counts(name: str, lines: list[str], seed: int, utc_s: Callable[[str], float]) -> Trace:
    """Raises ValueError, naming the row and what is allowed."""
    buckets: list[Bucket] = []
    service: Known = []
    launches: list[float] = []
    rows = csv.DictReader(lines)
    rows.fieldnames = [column.strip().lower() for column in rows.fieldnames or ()]
    for number, row in enumerate(rows, start=2):
        try:
            at_s, width_s, count = utc_s(row["time"].strip()), float(row["width_s"]), count_of(row["requests"])
            if not (math.isfinite(at_s) and 0.0 < width_s < math.inf):
                raise ValueError("a finite time and a finite width above 0 are needed")
            buckets.append((at_s, width_s, count))
            if text := (row.get("service_s") or "").strip():
                service.append((at_s + width_s, float(text)))
            if text := (row.get("launch_s") or "").strip():
                launches.append(float(text))
        except (ValueError, TypeError, AttributeError) as error:
            wrong = f"row {number} of {name} is '{','.join(map(str, row.values()))[:80]}'"
            raise ValueError(f"trace: {wrong}; {', '.join(COLUMNS)} are needed: {error}") from error
    if not buckets:
        raise ValueError(f"{name}: no bucket in it; at least 1 is needed")
    return trace_of_buckets(name, buckets, service, launches, seed)


def count_of(text: str) -> int:
    """Of requests; a cell without anything is none, and 240.0 is 240. Raises ValueError."""
    count = float(text.strip() or 0)
    if not (count.is_integer() and count >= 0.0):
        raise ValueError(f"'{text}' requests: a whole number, 0 or more, is needed")
    return int(count)


def check_total(name: str, requests: int) -> None:
    """Each becomes one to be replayed. Raises ValueError where they are too many for that."""
    if requests > REQUESTS_MAX:
        raise ValueError(f"trace: {name} counts {requests:,} requests; at most {REQUESTS_MAX:,} are allowed")


def trace_of_buckets(
    name: str, buckets: Sequence[Bucket], service: Known, launches: Sequence[float], seed: int = 1
) -> Trace:
    """In any order. `service` has mean times of requests that ended at or shortly before a moment."""
    check_total(name, sum(count for _, _, count in buckets))
    chance = random.Random(seed)
    ordered, known = sorted(buckets), sorted(service)
    began_s = ordered[0][0]
    rows: list[tuple[float, float | None]] = [
        (at_s - began_s, _service_of(known, at_s))
        for begin_s, width_s, count in ordered
        for at_s in _moments(begin_s, width_s, count, chance)
    ]
    return trace_of(
        name,
        rows,
        began_utc_s=began_s if began_s >= UTC_FROM_S else BEGAN_UTC_S,
        duration_s=max(begin_s + width_s for begin_s, width_s, _ in ordered) - began_s,
        launch_s=median(launches) if launches else None,
    )


def _moments(begin_s: float, width_s: float, count: int, chance: random.Random) -> list[float]:
    if width_s <= NARROW_S:
        return [begin_s + width_s * (index + 0.5) / count for index in range(count)]
    return [begin_s + width_s * chance.random() for _ in range(count)]


def _service_of(known: Known, arrived_s: float) -> float | None:
    """That of the first that were done after it came, or of the last ones; None: nothing is known."""
    if not known:
        return None
    return known[min(bisect_left(known, (arrived_s, 0.0)), len(known) - 1)][1]
