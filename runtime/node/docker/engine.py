"""A thin client of the Docker Engine API over its unix socket. Podman's compatible API answers it as well.

Paths carry no version: each engine then speaks its newest, and none refuses an old one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from runtime.node.errors import Failure

if TYPE_CHECKING:
    import httpx

_CALL_TIMEOUT_S: Final = 60.0  # an engine on a busy disk takes its time to create a container
_CONNECT_TIMEOUT_S: Final = 5.0


class EngineError(Failure):
    """The engine answered that it could not; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class EngineAway(Failure):
    """Nobody answers at the engine's socket, or the connection broke before the answer was whole."""


class Engine:
    """Every method raises EngineAway while the engine cannot be reached, and connects anew on the next call."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._client: httpx.AsyncClient | None = None

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx  # megabytes that a node without containers need not pay

            self._client = httpx.AsyncClient(
                # One for the output of each container, however many there are, and those must not hold up the calls.
                transport=httpx.AsyncHTTPTransport(uds=str(self.socket), limits=httpx.Limits(max_connections=None)),
                base_url="http://engine",
                timeout=httpx.Timeout(_CALL_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S, pool=None),
            )
        return self._client

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout_s: float = _CALL_TIMEOUT_S,
        **query: str | int,
    ) -> Any:
        """One request and its whole answer, read as JSON; None for an empty one. Raises EngineError."""
        async with self._request(method, path, query, timeout_s, json_body=body) as answer:
            text = await answer.aread()
        return json.loads(text) if text.strip() else None

    async def stream(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: AsyncIterable[bytes] | None = None,
        silence_s: float | None = None,
        **query: str | int,
    ) -> AsyncIterator[bytes]:
        """An answer's bytes as they come. `silence_s` is the longest pause between two of them. Raises EngineError."""
        asked = self._request(method, path, query, silence_s, headers=headers, content=content)
        async with asked as answer:
            async for chunk in answer.aiter_raw():
                yield chunk

    async def lines(self, method: str, path: str, **more: Any) -> AsyncIterator[dict[str, Any]]:
        """An answer that is one JSON object a line, as progress is told. An `error` among them is an EngineError."""
        rest = b""
        async for chunk in self.stream(method, path, **more):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line.strip():
                    yield _checked(json.loads(line))
        if rest.strip():
            yield _checked(json.loads(rest))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        timeout_s: float | None,
        *,
        json_body: Any = None,
        headers: Mapping[str, str] | None = None,
        content: AsyncIterable[bytes] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        client = self._connected()
        import httpx

        timeout = httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S, pool=None)
        try:
            asked = client.stream(
                method, path, params=dict(query), json=json_body, headers=headers, content=content, timeout=timeout
            )
            async with asked as answer:
                if answer.status_code >= 400:
                    raise EngineError(answer.status_code, _message(await answer.aread(), answer.status_code))
                yield answer
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise EngineAway(f"the container engine at {self.socket} cannot be reached: {what}") from error


def segment(name: str) -> str:
    """A name as a part of a path. The slashes of an image's name stay: the engine reads them as its own."""
    return quote(name, safe="/:@")


def _checked(line: dict[str, Any]) -> dict[str, Any]:
    if "error" in line:
        raise EngineError(500, str(line["error"]))
    return line


def _message(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip() or f"status {status}"
