"""The ways to `kube_api.KubeApi`: over HTTP on a loopback port, or without any socket, for virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.support.kube_api import KubeApi, Severed


class _Stream(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks:
                yield chunk
        except Severed:
            raise httpx.ReadError("the connection broke") from None

    async def aclose(self) -> None:
        await self._chunks.aclose()  # type: ignore[attr-defined]


class Transport(httpx.AsyncBaseTransport):
    """Straight into the fake, each way taking `delay_s`."""

    def __init__(self, api: KubeApi, delay_s: float = 0.005) -> None:
        self._api, self._delay_s = api, delay_s

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(self._delay_s)
        try:
            answer = await self._api.handle(
                request.method, request.url.path, dict(request.url.params), await request.aread()
            )
        except Severed:
            raise httpx.ConnectError("nobody answers") from None
        await asyncio.sleep(self._delay_s)
        if answer.chunks is not None:
            return httpx.Response(answer.status, headers=answer.headers, stream=_Stream(answer.chunks))
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)


@asynccontextmanager
async def served(api: KubeApi) -> AsyncIterator[str]:
    """Over HTTP; gives the URL. What hangs in it is broken off at the end."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(Severed, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await _exchange(api, reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _exchange(api: KubeApi, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    url = urlsplit(target)
    answer = await api.handle(method, url.path, dict(parse_qsl(url.query)), body)
    more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    if answer.chunks is None:
        length = f"content-length: {len(answer.body)}\r\n{more}\r\n"
        writer.write(f"HTTP/1.1 {answer.status} _\r\n{length}".encode() + answer.body)
        return await writer.drain()
    writer.write(f"HTTP/1.1 {answer.status} _\r\ntransfer-encoding: chunked\r\n{more}\r\n".encode())
    async for chunk in answer.chunks:
        if chunk:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    return await writer.drain()
