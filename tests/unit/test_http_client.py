"""A connection to an instance, on a transport that the test holds: what may be used again, and what may not."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any, cast

import pytest

from runtime.http.client import ClientConnection, ConnectionFailed
from runtime.http.head import Response


class Kept:
    """A unix socket's transport whose other side reads nothing: what does not fit is kept."""

    def __init__(self) -> None:
        self.kept = b""
        self.state = "open"

    def fileno(self) -> int:
        return 7

    family = socket.AF_UNIX

    def setsockopt(self, *_: int) -> None: ...

    def get_extra_info(self, name: str) -> Any:
        return self if name == "socket" else None

    def write(self, data: bytes) -> None:
        self.kept += data

    def writelines(self, parts: list[bytes]) -> None:
        self.kept += b"".join(parts)

    def get_write_buffer_size(self) -> int:
        return len(self.kept)

    def is_closing(self) -> bool:
        return self.state != "open"

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "cut"


class Asker:
    def interim_arrived(self, response: Response) -> None: ...

    def response_arrived(self) -> None: ...

    def response_failed(self, error: ConnectionFailed) -> None: ...

    def upstream_paused(self) -> None: ...

    def upstream_resumed(self) -> None: ...


ANSWER = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of each write the kernel takes; the first of these numbers is the next write's."""
    sizes: list[int] = []
    monkeypatch.setattr(os, "write", lambda _, data: sizes.pop(0) if sizes else len(data))
    return sizes


def connect() -> tuple[ClientConnection, Kept, list[ClientConnection]]:
    wire, free = Kept(), list[ClientConnection]()
    connection = ClientConnection(free.append, lambda _: None)
    connection.connection_made(cast(asyncio.Transport, wire))
    return connection, wire, free


@pytest.mark.parametrize("in_the_head", [True, False])
def test_one_that_was_answered_before_all_was_sent_is_not_used_again(taken: list[int], in_the_head: bool) -> None:
    """The next request's head goes past the transport: it would stand in the midst of the body before it."""
    connection, wire, free = connect()
    if in_the_head:
        taken.append(10)
    connection.ask(Asker(), b"POST / HTTP/1.1\r\n\r\nbody", head_only=False)
    if not in_the_head:
        connection.write([b"the rest of the body"])
    assert wire.kept
    connection.data_received(ANSWER)
    connection.release()
    assert (free, wire.state) == ([], "closed")


def test_one_whose_rest_was_sent_since_is_used_again(taken: list[int]) -> None:
    connection, wire, free = connect()
    taken.append(10)
    connection.ask(Asker(), b"POST / HTTP/1.1\r\n\r\nbody", head_only=False)
    connection.write([b"the rest of the body"])
    wire.kept = b""
    connection.data_received(ANSWER)
    connection.release()
    assert (free, wire.state) == ([connection], "open")
