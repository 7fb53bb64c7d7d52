"""Recorded usage as a table to replay: what came in each tenth of a second, and how long things took then. Pure."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from control_plane.metering.recorder import SLOTS_PER_S, Entry

COLUMNS: Final = ("time", "width_s", "requests", "service_s", "launch_s")
WIDTH_S: Final = 1.0 / SLOTS_PER_S


class RecordedRow(NamedTuple):
    """One tenth of a second. The first row and the last say from when until when it was recorded."""

    at_s: float  # UTC seconds of its beginning
    requests: int
    service_s: float | None = None  # mean of the requests that were told to be done in it
    launch_s: float | None = None  # mean of the instances that became ready in it


def rows(entries: Iterable[str | bytes], since_s: float, until_s: float) -> list[RecordedRow]:
    """In order, those in which something happened, and the two ends."""
    whole = Entry()
    for text in entries:
        whole.add_json(text)
    first, last = _slot(since_s), _slot(until_s)
    served: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    launches: defaultdict[int, list[float]] = defaultdict(list)
    for at_s, count, seconds in whole.served:
        if count:
            served[_slot(at_s)][0] += count
            served[_slot(at_s)][1] += seconds
    for at_s, seconds in whole.launches:
        launches[_slot(at_s)].append(seconds)
    slots = {first, last, *whole.arrivals, *served, *launches}
    return [
        RecordedRow(
            slot / SLOTS_PER_S,
            whole.arrivals.get(slot, 0),
            served[slot][1] / served[slot][0] if slot in served else None,
            sum(launches[slot]) / len(launches[slot]) if slot in launches else None,
        )
        for slot in sorted(slots)
        if first <= slot <= last
    ]


def to_csv(recorded: Iterable[RecordedRow]) -> str:
    """As `stoke simulate --trace` reads it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in recorded:
        moment = datetime.fromtimestamp(row.at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        writer.writerow([moment, f"{WIDTH_S:g}", row.requests, _figure(row.service_s), _figure(row.launch_s)])
    return text.getvalue()


def of_json(values: Iterable[Iterable[Any]]) -> list[RecordedRow]:
    """Rows as the API gives them."""
    return [RecordedRow(*row) for row in values]


def _slot(at_s: float) -> int:
    return int(at_s * SLOTS_PER_S + 1e-6)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
