"""Loops beside the requests: one that dies is noticed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from runtime.gateway.loops import Loops
from tests.support.virtual_time import in_virtual_time


async def for_ever() -> None:
    await asyncio.Event().wait()


async def until(event: asyncio.Event) -> None:
    await event.wait()
    raise KeyError("of ours")


async def test_a_loop_that_dies_is_told_of_once_and_by_name(caplog: pytest.LogCaptureFixture) -> None:
    dies, stop = asyncio.Event(), asyncio.Event()
    loops = Loops({"well": for_ever(), "ill": until(dies)}, stop.set)
    dies.set()
    await stop.wait()
    assert loops.has_died
    assert "loop.died name=ill" in caplog.text
    await loops.close()


async def test_loops_that_are_ended_have_not_died() -> None:
    stop = asyncio.Event()
    loops = Loops({"well": for_ever()}, stop.set)
    await loops.close()
    assert (loops.has_died, stop.is_set()) == (False, False)


async def loses_a_cancel() -> None:
    """As a client of the store does whose connection ends just then."""
    with contextlib.suppress(asyncio.CancelledError):
        await for_ever()
    await for_ever()


@in_virtual_time
async def test_a_loop_that_a_cancel_was_lost_on_is_ended_too() -> None:
    loops = Loops({"well": for_ever(), "lost": loses_a_cancel()}, asyncio.Event().set)
    await asyncio.sleep(0)
    await asyncio.wait_for(loops.close(), 5.0)
    assert not loops.has_died
