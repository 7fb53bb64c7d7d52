"""The few calls of the Kubernetes API that are needed, over httpx: as often as is allowed, patiently where it helps.

Objects are the API's own JSON. The watch is one request; to keep one going is `reflector.py`'s.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final

import httpx

from control_plane.backends.kubernetes.access import TOKEN_READ_EVERY_S, Access
from control_plane.backends.kubernetes.limits import CallRate, backoff_s
from control_plane.ports import Clock

log = logging.getLogger(__name__)

Object = dict[str, Any]
_CALL_TIMEOUT_S: Final = 30.0
_CONNECT_TIMEOUT_S: Final = 5.0
_ATTEMPTS_MAX: Final = 4
_RETRY_AFTER_S_MAX: Final = 30.0
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
_MERGE_PATCH: Final = "application/merge-patch+json"


class ApiError(Exception):
    """The API server answered that it could not. `reason` is its word (NotFound, AlreadyExists, Expired, …)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ApiBusy(ApiError):
    """It may go well another time."""

    retry_after_s = 0.0


class ApiAway(Exception):
    """Nobody answers, the connection broke, or the answer was for too long that it cannot now."""


class KubernetesClient:
    """Every method raises ApiAway while the API server cannot be reached, and connects anew on the next call."""

    def __init__(
        self,
        access: Access,
        clock: Clock,
        chance: Random,
        *,
        calls_per_s: float = 20.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.server = access.server
        self._access = access
        self._clock = clock
        self._chance = chance
        self._rate = CallRate(calls_per_s)
        self._token, self._token_read_at_s = "", float("-inf")
        self._http = httpx.AsyncClient(
            base_url=access.server,
            transport=transport,
            verify=access.tls() if access.server.startswith("https") else False,
            trust_env=False,
            # Each watch and each output that is followed holds one, and those must not hold up the calls.
            limits=httpx.Limits(max_connections=None),
        )

    async def get(self, path: str, **query: str | int) -> Object:
        return _object(await self._call("GET", path, query))

    async def create(self, path: str, body: Object) -> Object:
        """Raises ApiError AlreadyExists when an earlier one, whose answer was lost, has arrived."""
        return _object(await self._call("POST", path, {}, body))

    async def patch(self, path: str, body: Object) -> Object:
        """A merge patch: a key of None is taken away, a list is replaced. With a uid in it, only of that object."""
        return _object(await self._call("PATCH", path, {}, body, content_type=_MERGE_PATCH))

    async def delete(self, path: str, *, grace_s: int, uid: str) -> None:
        """Begin to delete the object of this uid, and no later one of its name."""
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "gracePeriodSeconds": grace_s,
            "preconditions": {"uid": uid},
        }
        await self._call("DELETE", path, {}, body)

    async def remove(self, path: str) -> None:
        """Begin to delete what has this name now, and is not named again while it goes."""
        await self._call("DELETE", path, {})

    async def text(self, path: str, **query: str | int) -> bytes:
        return await self._call("GET", path, query)

    async def stream(self, path: str, *, silence_s: float | None, **query: str | int) -> AsyncIterator[bytes]:
        """An answer's bytes as they come. `silence_s` is the longest pause that is waited for."""
        await self._wait()
        async with self._request("GET", path, query, None, "", None) as answer:
            chunks = aiter(answer.aiter_bytes())
            while True:
                try:
                    async with asyncio.timeout(silence_s):
                        chunk = await _next(chunks)
                except TimeoutError:
                    raise ApiAway(f"the API server at {self.server} has said nothing for {silence_s:g} s") from None
                if chunk is None:
                    return
                yield chunk

    async def watch(self, path: str, *, seconds: int, silence_s: float, **query: str | int) -> AsyncIterator[Object]:
        """The events of one watch, until the server ends it. Raises ApiError for one that says what went wrong."""
        asked = self.stream(
            path, silence_s=silence_s, watch="true", allowWatchBookmarks="true", timeoutSeconds=seconds, **query
        )
        rest = b""
        async for chunk in asked:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line.strip():
                    yield _event(line)

    async def close(self) -> None:
        await self._http.aclose()

    # -- one request --------------------------------------------------------------------------------------------------

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        attempt = 0
        while True:
            await self._wait()
            try:
                async with self._request(method, path, query, body, content_type, _CALL_TIMEOUT_S) as answer:
                    return await answer.aread()
            except ApiBusy as busy:
                attempt += 1
                if attempt >= _ATTEMPTS_MAX:
                    raise ApiAway(f"the API server at {self.server} answered {busy.status}: {busy}") from busy
                wait_s = max(backoff_s(attempt, self._chance), busy.retry_after_s)
                log.debug("kubernetes.again path=%s status=%d wait_s=%.2f", path, busy.status, wait_s)
                await self._clock.sleep(wait_s)

    async def _wait(self) -> None:
        if (wait_s := self._rate.wait_s(self._clock.monotonic_s())) > 0:
            await self._clock.sleep(wait_s)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        body: Object | None,
        content_type: str,
        silence_s: float | None,
    ) -> AsyncIterator[httpx.Response]:
        headers = {"accept": "application/json, */*"}
        if body is not None:
            headers["content-type"] = content_type
        if token := self._current_token():
            headers["authorization"] = f"Bearer {token}"
        timeout = httpx.Timeout(silence_s, connect=_CONNECT_TIMEOUT_S, pool=None)
        content = json.dumps(body).encode() if body is not None else None
        try:
            async with self._http.stream(
                method, path, params=dict(query), content=content, headers=headers, timeout=timeout
            ) as answer:
                if answer.status_code >= 400:
                    raise _refusal(answer, await answer.aread())
                yield answer
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise ApiAway(f"the API server at {self.server} cannot be reached: {what}") from error

    def _current_token(self) -> str:
        now_s = self._clock.monotonic_s()
        if now_s - self._token_read_at_s >= TOKEN_READ_EVERY_S:
            try:
                self._token = self._access.read_token()
            except OSError as error:
                raise ApiAway(f"the token for {self.server} cannot be read: {error}") from error
            self._token_read_at_s = now_s
        return self._token


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    """None at the end."""
    try:
        return await anext(chunks)
    except StopAsyncIteration:
        return None


def pods_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def _refusal(answer: httpx.Response, body: bytes) -> ApiError:
    """A Status object of the API, or whatever a proxy before it has said."""
    status = answer.status_code
    try:
        said = json.loads(body)
        reason, message = str(said.get("reason") or ""), str(said.get("message") or "")
    except (ValueError, AttributeError):
        reason, message = "", body[:300].decode("utf-8", "replace").strip()
    if status not in _AGAIN:
        return ApiError(status, reason, message or f"status {status}")
    later = ApiBusy(status, reason, message or f"status {status}")
    given = answer.headers.get("retry-after", "")
    later.retry_after_s = min(_RETRY_AFTER_S_MAX, float(given)) if given.isdecimal() else 0.0
    return later


def _event(line: bytes) -> Object:
    event = _object(line)
    if event.get("type") == "ERROR":
        said = event.get("object") or {}
        raise ApiError(int(said.get("code") or 500), str(said.get("reason") or ""), str(said.get("message") or ""))
    return event


def _object(body: bytes) -> Object:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ApiAway(f"what answered is no API server: {body[:80]!r}") from error
    if not isinstance(value, dict):
        raise ApiAway(f"what answered is no API server: {body[:80]!r}")
    return value


async def silently(work: asyncio.Future[Any]) -> None:
    """Cancel, and wait until it has ended, whatever it ends with."""
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
