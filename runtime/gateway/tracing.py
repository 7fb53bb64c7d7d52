"""Sends a span of each finished request to an OpenTelemetry collector (OTLP over HTTP), beside the requests.

A request only leaves its record here, the same as the access log's. A timer makes spans of the records, so few at a
time that no request waits long for it, and has a thread send them. A collector that is away or cannot follow costs
spans, never memory without end; the log says when it begins and how many were lost.

OTLP's JSON is written here, not by OpenTelemetry's own packages: its spans are made while a request runs, under a lock
and with context variables, and a library that is imported weighs on each gateway process whether or not it is used.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
from collections import deque
from typing import Final
from urllib.parse import urlsplit

from runtime.gateway.access_log import Record
from runtime.gateway.settings import GatewaySettings
from runtime.gateway.spans import is_wanted, request_of, span_of

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 20_000
SENT_AT_ONCE_MAX: Final = 2_000
_PATH: Final = "/v1/traces"  # where OTLP puts traces, if the endpoint names no path
_EVERY_S: Final = 1.0
_BATCH: Final = 50  # records that are made spans of in one go: about a millisecond
_NEXT_BATCH_S: Final = 0.004
_TIMEOUT_S: Final = 5.0  # for a collector to take what it is sent


class Tracing:
    """`add` takes a record at once; everything else happens later."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: GatewaySettings) -> None:
        """With settings that name a collector."""
        self._loop = loop
        self._endpoint = settings.otlp_endpoint
        self._share = settings.otlp_share
        self._gateway_id = settings.id
        self._scheme = "https" if settings.tls_certificate else "http"
        self._records: deque[Record] = deque()
        self._spans: list[str] = []
        self._lost = 0
        self._is_away = False
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Future[None] | None = None

    def add(self, record: Record) -> None:
        if len(self._records) >= RECORDS_MAX:
            self._lost += 1
            return
        self._records.append(record)
        if self._timer is None and self._sending is None:
            self._timer = self._loop.call_later(_EVERY_S, self._ring)

    async def close(self) -> None:
        """Send what is left, as far as a collector takes it in its time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sending is not None:
            await asyncio.wait([self._sending])
        self._make_spans(SENT_AT_ONCE_MAX)
        if self._spans:
            sending = self._loop.run_in_executor(None, self._send, self._taken())
            await asyncio.wait([sending])
            self._note(sending, 0)

    def _ring(self) -> None:
        self._make_spans(_BATCH)
        if self._records and len(self._spans) < SENT_AT_ONCE_MAX:
            self._timer = self._loop.call_later(_NEXT_BATCH_S, self._ring)
            return
        self._timer = None
        if not self._spans:
            return
        count = len(self._spans)
        self._sending = self._loop.run_in_executor(None, self._send, self._taken())
        self._sending.add_done_callback(lambda sending: self._sent(sending, count))

    def _sent(self, sending: asyncio.Future[None], count: int) -> None:
        self._sending = None
        if self._loop.is_closed() or sending.cancelled():
            return
        self._note(sending, count)
        if self._records and self._timer is None:
            self._timer = self._loop.call_later(_NEXT_BATCH_S, self._ring)

    def _note(self, sending: asyncio.Future[None], count: int) -> None:
        """Say that the collector has gone, or come back: once each."""
        error = sending.exception()
        if error is not None:
            self._lost += count
            if not self._is_away:
                log.warning("spans-lost collector=%s reason=%r", self._endpoint, str(error))
            self._is_away = True
        elif self._is_away or self._lost:
            log.warning("spans-sent-again collector=%s lost=%d", self._endpoint, self._lost)
            self._is_away, self._lost = False, 0

    def _make_spans(self, count: int) -> None:
        records = self._records
        for _ in range(min(count, len(records))):
            record = records.popleft()
            if is_wanted(record, self._share):
                self._spans.append(span_of(record, self._scheme))

    def _taken(self) -> bytes:
        spans, self._spans = self._spans, []
        return request_of(spans, self._gateway_id)

    def _send(self, data: bytes) -> None:
        """In a thread. Raises OSError, also for an answer that says no."""
        url = urlsplit(self._endpoint)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(url.hostname or "", url.port, timeout=_TIMEOUT_S)
        path = url.path if url.path not in ("", "/") else _PATH
        try:
            connection.request("POST", path, data, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP: {error!r}") from error
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise OSError(f"status {answer.status}")
