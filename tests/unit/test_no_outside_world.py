"""The suite's own rules are kept: each forbidden way out fails the test that takes it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest


@pytest.mark.parametrize(
    "way_out",
    [
        lambda: time.sleep(0.001),
        lambda: subprocess.run([sys.executable, "-c", ""], check=False),
        lambda: os.system("true"),
        lambda: socket.create_connection(("127.0.0.1", 9)),
        lambda: socket.create_server(("127.0.0.1", 0)),
    ],
    ids=["sleep", "subprocess", "system", "connect", "listen"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_way_out_is_closed(way_out: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="is forbidden"):
        way_out()


async def test_an_asyncio_sleep_is_a_wait_but_yielding_is_not() -> None:
    await asyncio.sleep(0)
    with pytest.raises(pytest.fail.Exception, match="is forbidden"):
        await asyncio.sleep(0.001)


def test_a_loop_can_still_wake_itself() -> None:
    asyncio.run(asyncio.wait_for(_answer(), 1))


async def _answer() -> int:
    return await asyncio.get_running_loop().run_in_executor(None, lambda: 42)
