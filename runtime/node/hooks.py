"""Calls from the node into an instance: is it listening, is it healthy, and the hooks of its life."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from runtime.contract import HEADER_CONTROL_PATH, HEADER_REQUEST_ID

_BODY_START_BYTES: Final = 16 * 1024  # an error with its stack as JSON; what is no such thing is cut short in messages
_HEAD_BYTES_MAX: Final = 64 * 1024
_PATH_SAFE: Final = "/?&=%:@!$'()*+,;~[]"
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f]+")


class HookError(Exception):
    """The instance could not be reached, or did not speak HTTP; says what happened."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body_start: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


async def connect(address: str) -> None:
    """Is somebody listening? Raises OSError when not."""
    _, writer = await _open(address)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def request(address: str, method: str, path: str, headers: Mapping[str, str]) -> Answer:
    """One request on a connection of its own; the caller sets the time limit. Raises HookError."""
    try:
        reader, writer = await _open(address)
        try:
            writer.write(_head(method, path, headers))
            return await _answer(reader)
        finally:
            writer.close()
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        raise HookError(str(error) or type(error).__name__) from error


def hook_headers(common: Mapping[str, str], control_path: str) -> dict[str, str]:
    return {**common, HEADER_REQUEST_ID: str(uuid.uuid4()), HEADER_CONTROL_PATH: control_path}


async def _open(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, place = address.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(place, limit=_HEAD_BYTES_MAX)
    host, _, port = place.rpartition(":")
    return await asyncio.open_connection(host, int(port), limit=_HEAD_BYTES_MAX)


def _head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {quote(path, safe=_PATH_SAFE)} HTTP/1.1", "host: 127.0.0.1", "connection: close"]
    if method == "POST":
        lines.append("content-length: 0")
    # A value may hold what a user typed (a handler, a description): no line end of it may begin another header.
    lines += [f"{name}: {_CONTROL_CHARACTERS.sub(' ', value)}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


async def _answer(reader: asyncio.StreamReader) -> Answer:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.match(rb"HTTP/1\.[01] (\d{3})\b", head)
        if found is None:
            raise HookError(f"it answered {head[:40]!r}, which is not HTTP")
        status = int(found[1])
        if status >= 200:  # 1xx announces the answer that comes next
            break
    return Answer(status, await _body_start(reader, head))


async def _body_start(reader: asyncio.StreamReader, head: bytes) -> str:
    """What has come of the body, for a message; never waited for longer than an answer's end takes to arrive."""
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    wanted = min(int(length[1]), _BODY_START_BYTES) if length else _BODY_START_BYTES
    body = b""
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(1.0):
            while len(body) < wanted and (more := await reader.read(wanted - len(body))):
                body += more
    return body.decode("utf-8", "replace").strip()
