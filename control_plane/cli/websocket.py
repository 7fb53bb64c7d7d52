"""A WebSocket client over asyncio streams: the handshake, whole messages, and why it was closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Final, Self

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

_READ_BYTES: Final = 65_536
_REFUSAL_BYTES_MAX: Final = 65_536
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024


class Refused(Exception):
    """The server answered the handshake with something else than a switch of protocols."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"the server answered with status {status}")
        self.status = status
        self.headers = headers
        self.body = body


class Closed(Exception):
    """The conversation is over. `code` is 1006 when the connection broke off (RFC 6455, section 7.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with code {code}: {reason}")
        self.code = code
        self.reason = reason


class WebSocket:
    """One conversation. An async context manager that has shaken hands when it is entered.

    Raises on entry:
        Refused: the server does not want to.
        OSError: the connection broke off.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        host: str,
        target: str,
        headers: Mapping[str, str],
        subprotocols: list[str] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._request = Request(
            host=host,
            target=target,
            subprotocols=subprotocols or [],
            extra_headers=[(name.encode(), value.encode()) for name, value in headers.items()],
        )
        self._messages = self._incoming()
        self.subprotocol: str | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._shake_hands()
        except BaseException:
            await self._hang_up()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(LocalProtocolError, OSError):
            await self._send(CloseConnection(code=1000))
        await self._messages.aclose()
        await self._hang_up()

    async def send(self, message: str | bytes) -> None:
        """Returns when the other side has room for more. Raises Closed."""
        try:
            if isinstance(message, str):
                await self._send(TextMessage(data=message))
            else:
                await self._send(BytesMessage(data=message))
        except (LocalProtocolError, OSError) as error:
            raise Closed(1006, str(error)) from error

    async def receive(self) -> str | bytes:
        """The next message, whole. Raises Closed."""
        return await anext(self._messages)

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _send(self, event: Event) -> None:
        self._writer.write(self._connection.send(event))
        await self._writer.drain()

    async def _shake_hands(self) -> None:
        await self._send(self._request)
        refusal: RejectConnection | None = None
        body = b""
        async for event in self._events():
            if isinstance(event, AcceptConnection):
                self.subprotocol = event.subprotocol
                return
            if isinstance(event, RejectConnection):
                refusal = event
                if not event.has_body:
                    break
            elif isinstance(event, RejectData):
                body += event.data
                if event.body_finished or len(body) > _REFUSAL_BYTES_MAX:
                    break
        if refusal is None:
            raise ConnectionError("the connection was closed before the server had answered")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in refusal.headers}
        raise Refused(refusal.status_code, headers, body)

    async def _incoming(self) -> AsyncGenerator[str | bytes, None]:
        texts: list[str] = []
        pieces: list[bytes] = []
        size = 0
        async for event in self._events():
            if isinstance(event, TextMessage | BytesMessage):
                if isinstance(event, TextMessage):
                    texts.append(event.data)
                else:
                    pieces.append(bytes(event.data))
                size += len(event.data)
                if size > MESSAGE_BYTES_MAX:
                    raise Closed(1009, f"a message has more than {MESSAGE_BYTES_MAX} bytes")
                if event.message_finished:
                    yield "".join(texts) if isinstance(event, TextMessage) else b"".join(pieces)
                    texts, pieces, size = [], [], 0
            elif isinstance(event, Ping):
                await self._send(event.response())
            elif isinstance(event, CloseConnection):
                with contextlib.suppress(LocalProtocolError, OSError):
                    await self._send(event.response())
                raise Closed(event.code, event.reason or "")
        raise Closed(1006, "the connection broke off")

    async def _events(self) -> AsyncGenerator[Event, None]:
        while True:
            for event in self._connection.events():
                yield event
            data = await self._reader.read(_READ_BYTES)
            try:
                self._connection.receive_data(data or None)
            except RemoteProtocolError as error:
                raise Closed(1002, str(error)) from error
            if not data:
                for event in self._connection.events():
                    if not isinstance(event, CloseConnection):
                        yield event
                return

    async def _hang_up(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
