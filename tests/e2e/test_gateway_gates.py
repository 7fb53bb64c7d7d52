"""A function that was busy, then was not, and is again."""

from __future__ import annotations

import asyncio

from tests.support.gateway import world
from tests.support.store import PrivateStore

TRIGGER = "/2016-08-15/proxy/s/f/"


async def test_a_kept_connection_finds_the_function_again_after_it_had_no_instance_for_a_while(
    private_store: PrivateStore,
) -> None:
    async with world(private_store.url, "--report-every-s", "0.05") as w, w.reports() as wait_for:
        await w.put_function("other")
        await w.start_instance("i1")
        await w.settle()
        client = await w.connect()
        for _ in range(2):
            assert (await client.ask("GET", TRIGGER)).status == 200
        await w.remove_instance("i1")
        # Each report is the moment at which what nobody uses is dropped; one that waits elsewhere makes them go on.
        waits = asyncio.create_task(w.ask("POST", "/2016-08-15/services/s/functions/other/invocations", {}, b"x"))
        for _ in range(4):
            await wait_for(lambda report: any(f["function"] == "other" for f in report.functions))
        again = asyncio.create_task(client.ask("GET", TRIGGER))
        await wait_for(lambda report: any(f["function"] == "f" and f["queued"] for f in report.functions))
        await w.start_instance("i2")
        assert (await again).status == 200
        await w.start_instance("i3", function="other")
        assert (await waits).status == 200
        await client.close()
