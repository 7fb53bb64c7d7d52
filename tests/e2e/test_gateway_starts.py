"""What a request is told that has waited in vain: for a free slot, or for a function that cannot be started."""

from __future__ import annotations

import asyncio

from runtime.contract import INITIALIZER_FAILED, InstanceState
from tests.support.gateway import Request, plain, world

INVOKE = "/2016-08-15/services/s/functions/f/invocations"
TRIGGER = "/2016-08-15/proxy/s/f"


async def test_a_wait_that_is_too_long_for_a_function_that_cannot_be_started_ends_with_the_reason(
    store_url: str,
) -> None:
    async with world(store_url, "--queue-wait-s", "0.3") as w:
        reply = await w.ask("GET", f"{TRIGGER}/")
        assert (reply.status, reply.json()["Code"]) == (429, "ResourceExhausted"), "nothing was tried yet"
        await w.put_instance("i1", "", InstanceState.FAILED, reason="exit status 1")
        await w.settle()
        reply = await w.ask("GET", f"{TRIGGER}/")
        assert (reply.status, reply.json()["Code"]) == (412, "CAExited")
        assert reply.json()["Message"] == "The function either cannot be started or exited. exit status 1"


async def test_a_failing_start_is_not_told_of_where_an_instance_is_there_and_busy(store_url: str) -> None:
    go = asyncio.Event()

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(plain())

    async with world(store_url, "--queue-wait-s", "0.3") as w:
        instance = await w.start_instance("i1", answer)
        await w.put_instance("i2", "", InstanceState.FAILED, reason="exit status 1")
        await w.settle()
        busy = asyncio.create_task(w.ask("GET", f"{TRIGGER}/"))
        await w.until(lambda: instance.in_flight == 1)
        reply = await w.ask("GET", f"{TRIGGER}/")
        assert (reply.status, reply.json()["Code"]) == (429, "ResourceExhausted")
        go.set()
        assert (await busy).status == 200


async def test_an_initializer_that_fails_is_the_functions_error(store_url: str) -> None:
    reason = f"{INITIALIZER_FAILED}: POST /initialize answered 500"
    async with world(store_url, "--queue-wait-s", "0.3") as w:
        await w.put_instance("i1", "", InstanceState.FAILED, reason=reason)
        await w.settle()
        for method, target, status in (("POST", INVOKE, 200), ("GET", f"{TRIGGER}/", 502)):
            reply = await w.ask(method, target)
            assert (reply.status, reply.headers["x-fc-error-type"]) == (status, "UnhandledInitializationError")
            told = reply.json()
            assert (told["errorType"], told["errorMessage"]) == ("InitializationError", reason)
            assert told["requestId"] == reply.headers["x-fc-request-id"]
