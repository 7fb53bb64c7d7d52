"""The access log: one line of JSON for each request that is over, written beside the requests and not by them.

A request only leaves its record here. A timer makes lines of the records, so few at a time that no request waits long
for it, and has a thread append them. If that cannot follow, records are dropped rather than kept without end, and a
line says how many.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import deque
from datetime import UTC, datetime
from typing import Final, NamedTuple

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 50_000
_EVERY_S: Final = 0.2
_BATCH: Final = 200  # records that are made lines of in one go: about a millisecond
_NEXT_BATCH_S: Final = 0.004


class Record(NamedTuple):
    """One request. Texts are bytes as they came: making lines of them is not the request's business."""

    at_s: float  # UTC, of the request's head
    request_id: str
    service: str
    qualifier: str
    version: str
    function: str
    method: bytes
    target: bytes
    status: int
    code: str  # of the gateway's own answer, "" for an instance's
    duration_s: float
    wait_s: float
    cold_start: bool
    instance_id: str
    request_bytes: int
    response_bytes: int
    client_ip: bytes
    traceparent: bytes


def line_of(record: Record) -> str:
    """A record as its line. Pure."""
    fields: dict[str, object] = {
        "time": _iso(record.at_s),
        "requestId": record.request_id,
        "service": record.service,
        "qualifier": record.qualifier,
        "version": record.version,
        "function": record.function,
        "method": record.method.decode("latin-1"),
        "target": record.target.decode("latin-1"),
        "status": record.status,
        "durationMs": round(record.duration_s * 1000.0, 3),
        "queueMs": round(record.wait_s * 1000.0, 3),
        "coldStart": record.cold_start,
        "instanceId": record.instance_id,
        "requestBytes": record.request_bytes,
        "responseBytes": record.response_bytes,
        "client": record.client_ip.decode("latin-1"),
    }
    if record.code:
        fields["code"] = record.code
    if record.traceparent:
        fields["traceparent"] = record.traceparent.decode("latin-1")
    return json.dumps(fields, separators=(",", ":"))


def _iso(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class AccessLog:
    """Appends to a file, which may be moved away at any time: a new one is begun."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        """Raises OSError: the file cannot be opened."""
        self._loop = loop
        self._path = path
        self._records: deque[Record] = deque()
        self._dropped = 0
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._taken_lines = 0  # that are being written
        self._is_broken_off = False  # a line may have been written in part: the next ones begin behind a line end
        self._append(b"")

    def add(self, record: Record) -> None:
        if len(self._records) >= RECORDS_MAX:
            self._dropped += 1
            return
        self._records.append(record)
        if self._timer is None and self._writing is None:
            self._timer = self._loop.call_later(_EVERY_S, self._ring)

    async def close(self) -> None:
        """Write what is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._make_lines(len(self._records))
        try:
            self._append(self._taken())
        except OSError as error:
            log.error("access-log-unwritten path=%s error=%r", self._path, str(error))

    def _ring(self) -> None:
        self._make_lines(_BATCH)
        if self._records:
            self._timer = self._loop.call_later(_NEXT_BATCH_S, self._ring)
        else:
            self._timer = None
        if self._writing is not None:
            return  # `_written` goes on
        self._writing = self._loop.run_in_executor(None, self._append, self._taken())
        self._writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[None]) -> None:
        self._writing = None
        if not writing.cancelled() and (error := writing.exception()) is not None:
            log.error("access-log-unwritten path=%s error=%r", self._path, str(error))
            self._dropped += self._taken_lines
            self._is_broken_off = True
        if (self._records or self._lines) and self._timer is None:
            self._timer = self._loop.call_later(_EVERY_S, self._ring)

    def _make_lines(self, count: int) -> None:
        records = self._records
        for _ in range(min(count, len(records))):
            self._lines.append(line_of(records.popleft()))

    def _taken(self) -> bytes:
        lines, self._lines = self._lines, []
        self._taken_lines = len(lines)
        if self._dropped:
            lines.append(json.dumps({"time": _iso(time.time()), "dropped": self._dropped}))
            self._taken_lines += self._dropped
            self._dropped = 0
        if self._is_broken_off and lines:
            lines[0] = f"\n{lines[0]}"
            self._is_broken_off = False
        return "".join(f"{line}\n" for line in lines).encode()

    def _append(self, data: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)
