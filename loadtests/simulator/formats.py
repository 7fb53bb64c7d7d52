"""Reads traces: the format is recognised by the first line, or named. Every file may be gzipped."""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from loadtests.simulator import counts
from loadtests.simulator.trace import BEGAN_UTC_S, Trace, trace_of
from provision.times import LAST_S

ARRIVAL_COLUMNS: Final = ("arrival", "arrival_s", "arrival_time", "timestamp", "time")
SERVICE_COLUMNS: Final = ("service", "service_s", "service_time", "duration", "duration_s")
MINUTES: Final = 1440
YEAR_2000_S: Final = 946_684_800.0  # a number from here on is UTC seconds, a smaller one counts from the beginning

TIMES: Final = "seconds or an ISO 8601 time"
SHOWN_MAX: Final = 80  # characters of a row

Given = TypeVar("Given", str, list[str])  # a row as the file has it
Got = TypeVar("Got")
Rows = list[tuple[float, float | None]]
Reader = Callable[[str, list[str], int], Trace]


def read_trace(path: Path, format_name: str | None = None, seed: int = 1) -> Trace:
    """A trace of a file. `seed` places the requests of formats that only count them.

    Raises:
        ValueError: it cannot be read, or is in no format that is known: says which are.
    """
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"trace: {path} cannot be read: {error}") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"trace: {path} is empty; one of {', '.join(READERS)} is allowed")
    name = format_name or recognise(lines[0])
    if name not in READERS:
        given = f"format '{name}'" if name else f"{path}: '{lines[0][:60]}' is the first line of no known format"
        raise ValueError(f"trace: {given}; one of {', '.join(READERS)} is allowed")
    try:
        return READERS[name](path.name, lines, seed)
    except (LookupError, csv.Error) as error:
        raise ValueError(f"trace: {path} is not in the format {name}: {error}") from error


def recognise(first_line: str) -> str | None:
    """The format that begins with such a line, None if none does."""
    if first_line.lstrip().startswith("{"):
        return "mooncake"
    columns = _columns(first_line)
    if {"timestamp", "contexttokens", "generatedtokens"} <= set(columns):
        return "azure-llm"
    if {"1", "2", str(MINUTES)} <= set(columns):
        return "azure-functions"
    if set(counts.COLUMNS) <= set(columns):
        return "counts"
    return "csv" if set(columns) & set(ARRIVAL_COLUMNS) else None


def _azure_llm(name: str, lines: list[str], _seed: int) -> Trace:
    at = _place(_columns(lines[0]), "timestamp")
    return _from_utc(name, _read(name, csv.reader(lines[1:]), lambda row: (_utc_s(row[at].strip()), None), TIMES))


def _mooncake(name: str, lines: list[str], _seed: int) -> Trace:
    def read(line: str) -> tuple[float, None]:
        return float(json.loads(line)["timestamp"]) / 1000.0, None

    return trace_of(name, _read(name, lines, read, "a line of JSON with its timestamp in milliseconds", first=1))


def _azure_functions(name: str, lines: list[str], seed: int) -> Trace:
    """A row a function, a column a minute of the day: all rows together, each request somewhere in its minute."""
    columns = _columns(lines[0])
    places = [_place(columns, str(minute + 1)) for minute in range(MINUTES)]

    def read(row: list[str]) -> list[int]:
        return [counts.count_of(row[at]) for at in places]

    each = _read(name, csv.reader(lines[1:]), read, "a number of requests, 0 or more, in each of its minutes")
    minutes = [sum(of_minute) for of_minute in zip(*each, strict=True)]
    counts.check_total(name, sum(minutes))
    chance = random.Random(seed)
    rows: Rows = [
        (60.0 * (minute + chance.random()), None) for minute, count in enumerate(minutes) for _ in range(count)
    ]
    return trace_of(name, rows, duration_s=60.0 * MINUTES)


def _own_csv(name: str, lines: list[str], _seed: int) -> Trace:
    columns = _columns(lines[0])
    arrival = _index(columns, ARRIVAL_COLUMNS)
    service = _index(columns, SERVICE_COLUMNS)
    if arrival is None:
        raise ValueError(
            f"trace: {name} has the columns {', '.join(columns)}; one of {', '.join(ARRIVAL_COLUMNS)} is needed"
        )

    def read(row: list[str]) -> tuple[float, float | None]:
        service_text = "" if service is None or service >= len(row) else row[service].strip()
        return _utc_s(row[arrival].strip()), float(service_text) if service_text else None

    rows: Rows = _read(name, csv.reader(lines[1:]), read, TIMES)
    return _from_utc(name, rows) if rows and min(row[0] for row in rows) >= YEAR_2000_S else trace_of(name, rows)


def _counts(name: str, lines: list[str], seed: int) -> Trace:
    return counts.read_counts(name, lines, seed, _utc_s)


READERS: Final[dict[str, Reader]] = {
    "azure-llm": _azure_llm,
    "azure-functions": _azure_functions,
    "mooncake": _mooncake,
    "counts": _counts,
    "csv": _own_csv,
}


def _read(name: str, rows: Iterable[Given], read: Callable[[Given], Got], allowed: str, *, first: int = 2) -> list[Got]:
    """Each row read. Raises ValueError, naming the one that cannot be and what is allowed."""
    found: list[Got] = []
    for number, row in enumerate(rows, start=first):
        try:
            found.append(read(row))
        except (ValueError, LookupError, TypeError) as error:
            shown = (row if isinstance(row, str) else ",".join(row))[:SHOWN_MAX]
            raise ValueError(f"trace: row {number} of {name} is '{shown}'; {allowed} is allowed: {error}") from error
    return found


def _from_utc(name: str, rows: Rows) -> Trace:
    """The first arrival is second 0."""
    began_s = min((arrival_s for arrival_s, _ in rows), default=BEGAN_UTC_S)
    return trace_of(name, [(arrival_s - began_s, service_s) for arrival_s, service_s in rows], began_utc_s=began_s)


def _utc_s(text: str) -> float:
    """A number of seconds, or an ISO 8601 time, UTC unless it says otherwise; digits past microseconds are dropped."""
    try:
        seconds = float(text)
    except ValueError:
        whole, point, fraction = text.partition(".")
        digits = len(fraction) - len(fraction.lstrip("0123456789"))
        moment = datetime.fromisoformat(f"{whole}{point}{fraction[:digits][:6]}{fraction[digits:]}")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if math.isfinite(seconds) and seconds > LAST_S:
        raise ValueError("that many seconds lie beyond the year 9999, and may be milliseconds")
    return seconds


def _columns(line: str) -> list[str]:
    return [column.strip().lower() for column in next(csv.reader([line]))]


def _place(columns: list[str], name: str) -> int:
    if name not in columns:
        raise LookupError(f"it has no column {name}")
    return columns.index(name)


def _index(columns: list[str], wanted: Iterable[str]) -> int | None:
    return next((columns.index(name) for name in wanted if name in columns), None)
