"""An instance on a machine that is cut off: its connections stay as they are, and nothing comes over them any more."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.gateway import Request, world
from tests.support.store import PrivateStore

TRIGGER = "/2016-08-15/proxy/s/f/"


async def test_what_a_removed_instance_never_answers_is_sent_again_or_refused_and_what_it_still_says_is_passed_on(
    private_store: PrivateStore,
) -> None:
    go_on = asyncio.Event()

    async def silent(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.target.endswith("begun"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
            await go_on.wait()
            writer.write(b"lf")
        elif request.target.endswith("left"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
            await asyncio.Event().wait()
        else:
            await asyncio.Event().wait()

    async with world(private_store.url) as w:
        cut_off = await w.start_instance("cut-off", silent, slots=4)
        calls = (("GET", TRIGGER), ("POST", TRIGGER), ("GET", f"{TRIGGER}begun"), ("GET", f"{TRIGGER}left"))
        asked = [asyncio.create_task(w.ask(method, target)) for method, target in calls]
        await w.until(lambda: len(cut_off.requests) == 4)
        await w.start_instance("other")
        await w.remove_instance("cut-off")
        again, refused = await asked[0], await asked[1]
        assert (again.status, again.headers["x-fc-instance-id"]) == (200, "other")
        assert refused.status == 502
        assert "it was not sent again, as it may have had an effect" in refused.json()["ErrorMessage"]
        assert not asked[2].done()
        go_on.set()
        assert (await asked[2]).body == b"half"
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asked[3]
