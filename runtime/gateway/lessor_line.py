"""Asks the control plane for its word about a lease: one small exchange on a connection of its own, so that the next
question may reach another one of several control planes.

It shares nothing with the way of requests, whose pool may be full or wait for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from typing import Final

from runtime.leasing import LEASE_SEAL_HEADER, LEASE_WORD_BYTES_MAX, LEASE_WORD_PATH, LeaseQuestion, LeaseWord, seal

_HEAD_BYTES_MAX: Final = 16_384
CONNECT_S: Final = 1.0  # behind one address there may be several control planes, and one of them be dead


class LessorLine:
    """Fills `tenure.Lessors` over HTTP."""

    def __init__(self, control_plane: str, key: bytes) -> None:
        """`control_plane` is unix:PATH or tcp:HOST:PORT; `key` seals. Whoever asks has a time limit of its own."""
        self._kind, _, self._place = control_plane.partition(":")
        self._key = key

    async def ask(self, question: LeaseQuestion) -> LeaseWord:
        reader, writer = await self._connect()
        try:
            body = question.to_json().encode()
            writer.write(
                f"POST {LEASE_WORD_PATH} HTTP/1.1\r\nhost: control-plane\r\nconnection: close\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
                f"{LEASE_SEAL_HEADER}: {seal(self._key, question, body)}\r\n\r\n".encode()
                + body
            )
            return await self._answer(reader)
        finally:
            writer.transport.abort()  # nothing is owed to a peer that hangs
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Tries for ever where nobody says no."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_S):
                    if self._kind == "unix":
                        return await asyncio.open_unix_connection(self._place, limit=_HEAD_BYTES_MAX)
                    host, _, port = self._place.rpartition(":")
                    return await asyncio.open_connection(host.strip("[]"), int(port), limit=_HEAD_BYTES_MAX)

    async def _answer(self, reader: asyncio.StreamReader) -> LeaseWord:
        """Raises ConnectionError: it is none, or not by one who has the key."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, _, rest = head.partition("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in rest.split("\r\n"))}
            length = int(fields.get("content-length", "0"))
            if not 0 <= length <= LEASE_WORD_BYTES_MAX:
                raise ConnectionError(f"an answer of {length} bytes: 0 to {LEASE_WORD_BYTES_MAX} are allowed")
            body = await reader.readexactly(length)
            if status.split(" ")[1:2] != ["200"]:
                raise ConnectionError(f"the control plane gives no word: {status} {body.decode(errors='replace')}")
            word = LeaseWord.from_json(body)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, TypeError, AttributeError) as error:
            raise ConnectionError(f"the control plane's answer cannot be read: {error!r}") from error
        told = fields.get(LEASE_SEAL_HEADER, "").encode()
        if not hmac.compare_digest(told, seal(self._key, word, body).encode()):
            raise ConnectionError("the control plane's answer has no seal of this installation's secret.key")
        return word
