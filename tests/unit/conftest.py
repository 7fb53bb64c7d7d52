"""In the unit and property suites nothing leaves the process and nothing waits: what they test is pure."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

# A pair of connected sockets stays possible: an asyncio loop wakes itself by one.
FORBIDDEN: tuple[tuple[Any, str], ...] = (
    (socket.socket, "bind"),
    (socket.socket, "connect"),
    (socket.socket, "connect_ex"),
    (socket.socket, "sendto"),
    (subprocess.Popen, "__init__"),
    (os, "fork"),
    (os, "posix_spawn"),
    (os, "system"),
    (time, "sleep"),
)


def forbidden(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        pytest.fail(f"{name} is forbidden in the unit and property suites: they test what is pure")

    return refuse


@pytest.fixture(autouse=True)
def nothing_leaves_and_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids sockets, subprocesses and sleeping; a sleep of 0 only lets other tasks run, and is none."""
    for owner, name in FORBIDDEN:
        monkeypatch.setattr(owner, name, forbidden(f"{getattr(owner, '__name__', owner)}.{name}"))
    asyncio_sleep = asyncio.sleep

    async def sleep(delay: float, result: Any = None) -> Any:
        if delay > 0:
            forbidden("asyncio.sleep")()
        return await asyncio_sleep(0, result)

    monkeypatch.setattr(asyncio, "sleep", sleep)
