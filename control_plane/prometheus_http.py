"""Instant queries over HTTP (`GET /api/v1/query`), as Prometheus and what speaks like it answer them."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any, Final

import httpx

from control_plane.prometheus_access import Access, access_of

TIMEOUT_S: Final = 4.0  # of the whole exchange
ANSWER_BYTES_MAX: Final = 64 * 1024  # one number with its labels is a few hundred
KEPT_MAX: Final = 16  # connections that wait for the next question


class HttpSource:
    """Fills `prometheus.Source`. Redirects are not followed: they could lead anywhere, with what says who asks."""

    def __init__(self, servers: Sequence[Access] = (), *, timeout_s: float = TIMEOUT_S) -> None:
        self._servers = servers
        self._timeout_s = timeout_s
        self._clients: dict[str | None, httpx.AsyncClient] = {}  # by the file of those whom they trust
        for access in (None, *servers):  # reading authorities takes longer than a question, and is no part of its time
            self._client(access)

    def _client(self, access: Access | None) -> httpx.AsyncClient:
        trusted = None if access is None else access.ca_file
        if trusted not in self._clients:
            self._clients[trusted] = httpx.AsyncClient(
                timeout=self._timeout_s,
                follow_redirects=False,
                trust_env=False,
                # Whoever asks keeps to a number for each server; a limit here would be one for all of them.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_MAX),
                verify=True if access is None or trusted is None else access.trust(),
            )
        return self._clients[trusted]

    async def value(self, url: str, query: str) -> float:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._value(url, query)
        except (TimeoutError, httpx.TimeoutException):
            raise ValueError(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ValueError(f"cannot be asked: {error or type(error).__name__}") from None

    async def _value(self, url: str, query: str) -> float:
        body = b""
        asked = {"query": query, "timeout": f"{self._timeout_s:g}s"}
        access = access_of(url, self._servers)
        # Not compressed, so that the limit is one of the answer.
        headers = {"accept": "application/json", "accept-encoding": "identity"} | (access.headers() if access else {})
        path = f"{url.rstrip('/')}/api/v1/query"
        async with self._client(access).stream("GET", path, params=asked, headers=headers) as response:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > ANSWER_BYTES_MAX:
                    raise ValueError(f"the answer has more than {ANSWER_BYTES_MAX} bytes: one number is needed")
        return read_answer(response.status_code, body)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()


def read_answer(status: int, body: bytes) -> float:
    """The one number of an instant query's answer.

    Raises:
        ValueError: it is an error, or none or several series, or not a number.
    """
    strange = f"answered {status}, and not as Prometheus does"
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError(strange) from None
    if not isinstance(answer, dict) or answer.get("status") not in ("success", "error"):
        raise ValueError(strange)
    if answer["status"] == "error":
        raise ValueError(f"{answer.get('errorType', 'error')}: {answer.get('error', '')}")
    data = answer.get("data")
    if not isinstance(data, dict) or "result" not in data:
        raise ValueError(strange)
    kind, result = data.get("resultType"), data["result"]
    if kind == "scalar":
        return _number(result)
    if kind != "vector" or not isinstance(result, list):
        raise ValueError(f"the query gives a {kind}: a vector of one series, or a scalar, is needed")
    if len(result) != 1:
        raise ValueError(f"the query gives {len(result) or 'no'} series: one is needed, as of sum(…)")
    return _number(result[0].get("value") if isinstance(result[0], dict) else None)


def _number(sample: Any) -> float:
    """Of a sample, [time, "number"]; less than nothing is nothing."""
    try:
        value = float(sample[1])
    except (TypeError, ValueError, LookupError):
        raise ValueError("the query gives no number: one is needed") from None
    if not math.isfinite(value):
        raise ValueError(f"the query gives {sample[1]}: a finite number is needed")
    return max(0.0, value)
