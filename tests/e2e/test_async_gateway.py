"""Asynchronous invocations at a real gateway with a real store, and instances that the test answers for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from control_plane.async_invocations import StoredInvocations
from runtime.async_invocation.records import Delivery, Status, new_invocation
from tests.support.async_world import INVOKE, AsyncWorld, async_world
from tests.support.gateway import GatewayProcess, Request, plain, read_request, world
from tests.support.store import PrivateStore

OPTIONS = ("--async-claim-after-s", "0.5", "--async-poll-s", "0.1", "--async-demand-max", "3")


@pytest.fixture
async def w(store_url: str) -> AsyncIterator[AsyncWorld]:
    async with world(store_url, *OPTIONS) as made:
        around = async_world(made, store_url)
        yield around
        await around.store.close()


def held(release: asyncio.Event, body: bytes = b"done") -> Any:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(plain(body))

    return answer


def failing(times: int) -> Any:
    """An instance's answer that says a function error so many times, then success."""
    left = times

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            body = b'{"errorMessage": "no luck", "errorType": "ValueError"}'
            writer.write(plain(body, x_fc_error_type="UnhandledInvocationError"))
        else:
            writer.write(plain(b"luck"))

    return answer


# -- accepting ---------------------------------------------------------------------------------------------------------


async def test_an_accepted_invocation_is_answered_at_once_and_runs_with_its_payload(w: AsyncWorld) -> None:
    instance = await w.world.start_instance("i1")
    reply = await w.invoke(b"\x00payload")
    assert (reply.status, reply.body) == (202, b"")
    stored = await w.until_status(reply.headers["x-fc-async-task-id"], Status.SUCCEEDED)
    [request] = instance.requests
    assert (request.method, request.target, request.body) == ("POST", "/invoke", b"\x00payload")
    assert request.headers["x-fc-request-id"] == reply.headers["x-fc-request-id"] == stored.record.request_id
    assert (request.headers["x-fc-control-path"], request.headers["x-fc-retry-count"]) == ("/invoke", "0")
    assert (stored.record.attempts, stored.record.instance_id) == (1, "i1")
    assert [event["status"] for event in stored.record.events] == ["Enqueued", "Running", "Succeeded"]
    await w.until_no_events()


async def test_the_type_counts_in_any_case_and_another_one_is_refused(w: AsyncWorld) -> None:
    reply = await w.world.ask("POST", INVOKE, {"X-Fc-Invocation-Type": "async"}, b"x")
    assert reply.status == 202
    reply = await w.world.ask("POST", INVOKE, {"x-fc-invocation-type": "Later"}, b"x")
    assert (reply.status, reply.json()["ErrorCode"]) == (400, "InvalidArgument")
    assert "Later" in reply.json()["ErrorMessage"]


@pytest.mark.parametrize("header", ["x_fc_stateful_async_invocation_id", "x_fc_async_task_id"])
async def test_an_id_given_twice_is_one_invocation(w: AsyncWorld, header: str) -> None:
    instance = await w.world.start_instance("i1")
    first = await w.invoke(b"first", **{header: "order-7"})
    await w.until_status("order-7", Status.SUCCEEDED)
    again = await w.invoke(b"again", **{header: "order-7"})
    assert first.status == again.status == 202
    assert again.headers["x-fc-async-task-id"] == "order-7"
    assert again.headers["x-fc-request-id"] == first.headers["x-fc-request-id"]
    assert [request.body for request in instance.requests] == [b"first"]
    assert await w.backlog() is None


async def test_an_id_given_many_times_at_once_is_one_invocation(w: AsyncWorld) -> None:
    replies = await asyncio.gather(*(w.invoke(b"x", x_fc_async_task_id="one") for _ in range(20)))
    assert {reply.status for reply in replies} == {202}
    assert len({reply.headers["x-fc-request-id"] for reply in replies}) == 1
    instance = await w.world.start_instance("i1")
    await w.until_status("one", Status.SUCCEEDED)
    await w.until_no_events()
    assert len(instance.requests) == 1


@pytest.mark.parametrize("wrong", ["7up", "a b", "x" * 129, "é"])
async def test_what_is_no_id_is_refused(w: AsyncWorld, wrong: str) -> None:
    reply = await w.invoke(x_fc_async_task_id=wrong.encode().decode("latin-1"))
    assert (reply.status, reply.json()["ErrorCode"]) == (400, "InvalidArgument")


async def test_a_payload_above_128_kib_is_refused_however_it_is_sent(w: AsyncWorld) -> None:
    assert (await w.invoke(b"x" * 131_072)).status == 202
    reply = await w.invoke(b"x" * 131_073)
    assert (reply.status, reply.json()["ErrorCode"]) == (400, "EntityTooLarge")
    client = await w.world.connect()
    head = f"POST {INVOKE} HTTP/1.1\r\nhost: x\r\nx-fc-invocation-type: Async\r\ntransfer-encoding: chunked\r\n\r\n"
    client.writer.write(head.encode() + b"20001\r\n" + b"x" * 131_073 + b"\r\n")
    answer = await asyncio.wait_for(client.reader.readuntil(b"\r\n"), 10.0)
    assert b"400" in answer
    await client.close()


async def test_a_function_that_does_not_exist_is_told_at_once(w: AsyncWorld) -> None:
    reply = await w.invoke(path="/2021-04-06/services/s/functions/nobody/invocations")
    assert (reply.status, reply.json()["ErrorCode"]) == (404, "FunctionNotFound")


async def test_nothing_is_acknowledged_while_the_store_is_away_and_what_was_runs_after_it_is_back(
    private_store: PrivateStore,
) -> None:
    async with world(private_store.url, *OPTIONS) as made:
        w = async_world(made, private_store.url)
        await w.accepted(x_fc_async_task_id="kept")
        private_store.kill()
        refused = await w.invoke(x_fc_async_task_id="lost")
        assert (refused.status, refused.json()["ErrorCode"]) == (503, "ServiceUnavailable")
        assert "retry-after" in refused.headers
        private_store.start()
        await w.world.start_instance("i1")
        await w.until_status("kept", Status.SUCCEEDED)
        await w.store.close()


async def test_a_queue_that_is_full_takes_no_more(store_url: str) -> None:
    async with world(store_url, *OPTIONS, "--async-queue-length-max", "2") as made:
        w = async_world(made, store_url)
        first = [await w.accepted() for _ in range(2)]
        refused = await w.invoke()
        assert (refused.status, refused.json()["ErrorCode"]) == (429, "ResourceExhausted")
        assert "retry-after" in refused.headers
        await w.world.start_instance("i1")
        for each in first:
            await w.until_status(each, Status.SUCCEEDED)
        await w.until_no_events()

        async def is_accepted() -> bool:
            return (await w.invoke()).status == 202

        await w.world.until(is_accepted)
        await w.store.close()


async def test_a_store_that_is_away_takes_no_slot_from_requests(private_store: PrivateStore) -> None:
    async with world(private_store.url, *OPTIONS) as made:
        w = async_world(made, private_store.url)
        release = asyncio.Event()
        instance = await w.world.start_instance("i1", held(release))
        first = asyncio.create_task(w.world.ask("POST", INVOKE, {}, b"sync 1"))
        await w.world.until(lambda: len(instance.requests) == 1)
        event = await w.accepted(b"event")
        private_store.kill()
        release.set()
        assert (await first).status == 200
        assert (await w.world.ask("POST", INVOKE, {}, b"sync 2")).status == 200
        private_store.start()
        await w.until_status(event, Status.SUCCEEDED)
        assert [request.body for request in instance.requests] == [b"sync 1", b"sync 2", b"event"]
        await w.store.close()


# -- idle first --------------------------------------------------------------------------------------------------------


async def test_an_event_leaves_its_queue_only_for_a_free_slot_and_never_before_a_request(w: AsyncWorld) -> None:
    release = asyncio.Event()
    instance = await w.world.start_instance("i1", held(release))
    first = asyncio.create_task(w.world.ask("POST", INVOKE, {}, b"sync 1"))
    await w.world.until(lambda: len(instance.requests) == 1)
    event = await w.accepted(b"event")
    second = asyncio.create_task(w.world.ask("POST", INVOKE, {}, b"sync 2"))
    async with w.world.reports() as wait_for:
        await wait_for(lambda report: any(each["queued"] == 2 for each in report.functions))
    backlog = await w.backlog()
    assert backlog is not None
    assert (backlog.waiting, backlog.taken) == (1, 0)
    assert await w.status(event) is Status.ENQUEUED
    release.set()
    assert (await first).status == (await second).status == 200
    await w.until_status(event, Status.SUCCEEDED)
    assert [request.body for request in instance.requests] == [b"sync 1", b"sync 2", b"event"]


async def test_waiting_events_are_demand_up_to_a_bound_until_they_are_gone(w: AsyncWorld) -> None:
    async with w.world.reports() as wait_for:
        ids = [await w.accepted() for _ in range(5)]
        report = await wait_for(lambda report: any(each["queued"] == 3 for each in report.functions))
        assert report.functions[0]["function"] == "f"
        await w.world.start_instance("i1", slots=2)
        for each in ids:
            await w.until_status(each, Status.SUCCEEDED)
        await wait_for(lambda report: not any(each["queued"] for each in report.functions))


async def test_no_more_run_at_once_than_there_are_slots(w: AsyncWorld) -> None:
    instances = [await w.world.start_instance(f"i{n}", slots=2) for n in range(2)]
    ids = await asyncio.gather(*(w.accepted() for _ in range(40)))
    for each in ids:
        await w.until_status(each, Status.SUCCEEDED)
    assert sum(len(each.requests) for each in instances) == 40
    assert max(each.in_flight_peak for each in instances) <= 2


# -- failure -----------------------------------------------------------------------------------------------------------


async def test_a_function_error_is_tried_again_and_may_succeed(w: AsyncWorld) -> None:
    instance = await w.world.start_instance("i1", failing(1))
    stored = await w.until_status(await w.accepted(), Status.SUCCEEDED)
    assert (stored.record.attempts, stored.record.function_errors) == (2, 1)
    assert [request.headers["x-fc-retry-count"] for request in instance.requests] == ["0", "1"]
    assert len({request.headers["x-fc-request-id"] for request in instance.requests}) == 1
    statuses = [event["status"] for event in stored.record.events]
    assert statuses == ["Enqueued", "Running", "Retrying", "Running", "Succeeded"]
    assert stored.record.events[2]["detail"] == "no luck"


async def test_when_no_attempt_is_left_it_has_failed_and_the_failure_is_delivered(w: AsyncWorld) -> None:
    await w.configure(retry_attempts_max=0, on_failure="acs:redis:::streams/failures", stateful=True)
    await w.world.start_instance("i1", failing(9))
    stored = await w.until_status(await w.accepted(b"in"), Status.FAILED)
    await w.until_no_events()
    stored = await w.stored(stored.record.invocation_id)
    assert (stored.record.attempts, stored.record.delivery) == (1, Delivery.SUCCEEDED)
    entries: Any = await w.world.store.xrange("streams/failures")
    [(_, fields)] = entries
    event = json.loads(fields[b"event"])
    assert event["requestPayload"] == "in"
    assert event["requestContext"]["condition"] == "RetriesExhausted"
    assert event["responseContext"]["functionError"] == "UnhandledInvocationError"
    assert json.loads(event["responsePayload"])["errorType"] == "ValueError"


async def test_an_event_that_found_no_slot_in_time_expires(w: AsyncWorld) -> None:
    await w.configure(event_age_s_max=1.0)
    stored = await w.until_status(await w.accepted(), Status.EXPIRED)
    assert stored.record.attempts == 0
    await w.until_no_events()


async def test_a_disabled_function_accepts_nothing_and_what_it_accepted_before_waits_until_it_is_enabled(
    w: AsyncWorld,
) -> None:
    event = await w.accepted()
    await w.world.put_function("f", is_disabled=True, disabled_reason="maintenance")
    await w.world.settle()
    reply = await w.invoke()
    assert (reply.status, reply.json()["ErrorCode"]) == (403, "AccessDenied")
    instance = await w.world.start_instance("i1")
    await w.world.put_function("g")
    await w.world.start_instance("other", function="g")
    other = await w.invoke(path=INVOKE.replace("functions/f", "functions/g"))
    await w.until_status(other.headers["x-fc-async-task-id"], Status.SUCCEEDED, "g")
    assert instance.requests == []
    await w.world.put_function("f")
    await w.until_status(event, Status.SUCCEEDED)


async def test_an_event_expires_while_its_function_is_disabled(w: AsyncWorld) -> None:
    await w.configure(event_age_s_max=1.0)
    event = await w.accepted()
    await w.world.put_function("f", is_disabled=True)
    await w.world.settle()
    await w.world.start_instance("i1")
    stored = await w.until_status(event, Status.EXPIRED)
    assert (stored.record.attempts, stored.record.error) == (0, "the function was disabled for 1 s")
    await w.until_no_events()


async def test_a_timeout_is_a_function_error(w: AsyncWorld) -> None:
    await w.world.put_function("f", timeout_s=0.1)
    await w.configure(retry_attempts_max=0)
    await w.world.start_instance("i1", held(asyncio.Event()))
    stored = await w.until_status(await w.accepted(), Status.FAILED)
    assert stored.record.error == "Function timed out after 0.1 seconds"


async def test_an_instance_that_is_not_there_is_the_platforms_failure_and_another_one_is_tried(w: AsyncWorld) -> None:
    await w.world.put_instance("gone", f"unix:{w.world.directory}/gone.sock")
    event = await w.accepted()
    await w.until_status(event, Status.RETRYING)
    await w.world.remove_instance("gone")
    await w.world.start_instance("i1")
    stored = await w.until_status(event, Status.SUCCEEDED)
    assert (stored.record.function_errors, stored.record.platform_errors) == (0, 1)


async def test_what_a_killed_gateway_was_doing_is_done_by_the_next_one(w: AsyncWorld) -> None:
    never = asyncio.Event()
    first = await w.world.start_instance("i1", held(never))
    event = await w.accepted(b"cut short")
    waiting = await w.accepted(b"not begun")
    await w.world.until(lambda: len(first.requests) == 1)
    w.world.gateway.stop()
    await w.world.remove_instance("i1")
    w.world.gateway.start()
    await w.world.settle()
    second = await w.world.start_instance("i2")
    stored = await w.until_status(event, Status.SUCCEEDED)
    await w.until_status(waiting, Status.SUCCEEDED)
    assert sorted(request.body for request in second.requests) == [b"cut short", b"not begun"]
    assert stored.record.attempts == 2
    assert "died" in stored.record.events[2]["detail"]
    never.set()


async def test_a_gateway_that_is_told_to_stop_finishes_what_it_runs(w: AsyncWorld) -> None:
    release = asyncio.Event()
    instance = await w.world.start_instance("i1", held(release))
    event = await w.accepted()
    await w.world.until(lambda: len(instance.requests) == 1)
    w.world.gateway.terminate()
    await w.world.until(lambda: "stopping" in w.world.gateway.log())
    release.set()
    await w.until_status(event, Status.SUCCEEDED)
    assert len(instance.requests) == 1


async def test_two_gateways_share_a_queue_and_each_event_runs_once(w: AsyncWorld, store_url: str) -> None:
    other = GatewayProcess(
        store_url, f"unix:{w.world.directory}/none", w.world.directory / "g2", *OPTIONS, "--id", "g2"
    )
    other.directory.mkdir()
    other.start()
    try:
        instances = [await w.world.start_instance(f"i{n}", slots=2) for n in range(2)]
        ids = await asyncio.gather(*(w.accepted(b"%d" % n) for n in range(60)))
        for each in ids:
            await w.until_status(each, Status.SUCCEEDED)
    finally:
        other.stop()
    bodies = [request.body for instance in instances for request in instance.requests]
    assert sorted(bodies) == sorted(b"%d" % n for n in range(60))


async def test_an_event_of_a_function_that_is_no_more_is_invalid(w: AsyncWorld) -> None:
    record = new_invocation(
        time.time() - 60.0,
        invocation_id="late",
        request_id="r",
        service="s",
        function="deleted",
        qualifier="LATEST",
        version="LATEST",
    )
    await w.store.enqueue(record, b"")

    async def is_invalid() -> bool:
        return (await w.stored("late", "deleted")).record.status is Status.INVALID

    await w.world.until(is_invalid)
    assert "does not exist" in (await w.stored("late", "deleted")).record.error


# -- stopping ----------------------------------------------------------------------------------------------------------


async def test_one_that_runs_is_stopped_when_its_attempt_ends_and_is_not_tried_again(w: AsyncWorld) -> None:
    await w.configure(on_failure="acs:redis:::streams/failures", on_success="acs:redis:::streams/failures")
    release = asyncio.Event()
    instance = await w.world.start_instance("i1", held(release))
    event = await w.accepted()
    await w.until_status(event, Status.RUNNING)
    await StoredInvocations(w.store, time.time, 60.0, 60.0).stop("s", "f", event)
    assert await w.status(event) is Status.STOPPING
    release.set()
    await w.until_status(event, Status.STOPPED)
    await w.until_no_events()
    assert len(instance.requests) == 1
    assert await w.world.store.exists("streams/failures") == 0


async def test_one_that_waits_is_stopped_and_never_runs(w: AsyncWorld) -> None:
    event = await w.accepted()
    await StoredInvocations(w.store, time.time, 60.0, 60.0).stop("s", "f", event)
    other = await w.accepted(b"other")
    instance = await w.world.start_instance("i1")
    await w.until_status(other, Status.SUCCEEDED)
    assert await w.status(event) is Status.STOPPED
    assert [request.body for request in instance.requests] == [b"other"]


# -- destinations ------------------------------------------------------------------------------------------------------


async def test_a_result_goes_to_another_function(w: AsyncWorld) -> None:
    await w.world.put_function("g")
    await w.configure(on_success="acs:fc:::services/s/functions/g")
    follower = await w.world.start_instance("i2", function="g")
    await w.world.start_instance("i1", failing(0))
    await w.until_status(await w.accepted(b"in"), Status.SUCCEEDED)
    await w.world.until(lambda: len(follower.requests) == 1)
    event = json.loads(follower.requests[0].body)
    assert (event["requestPayload"], event["responsePayload"]) == ("in", "luck")
    assert event["requestContext"]["condition"] == "Success"
    assert follower.requests[0].headers["x-fc-request-id"] != event["requestContext"]["requestId"]


@pytest.mark.parametrize(("answers", "delivery"), [(["500 x", "200 OK"], "Succeeded"), (["400 x"], "Failed")])
async def test_a_result_goes_to_a_url(w: AsyncWorld, answers: list[str], delivery: str) -> None:
    got: list[Request] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await read_request(reader))
        writer.write(plain(b"", answers[len(got) - 1]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    async with server:
        port = server.sockets[0].getsockname()[1]
        await w.configure(on_success=f"http://127.0.0.1:{port}/hook?a=b", stateful=True)
        await w.world.start_instance("i1")
        event = await w.accepted(b"in")
        await w.until_no_events_of(event)
    assert len(got) == len(answers)
    assert (got[0].method, got[0].target) == ("POST", "/hook?a=b")
    assert json.loads(got[0].body)["responsePayload"] == "in"
    stored = await w.stored(event)
    assert (stored.record.status, stored.record.delivery) == (Status.SUCCEEDED, Delivery(delivery))
    assert bool(stored.record.error) == (delivery == "Failed")


async def test_functions_that_are_each_others_destination_come_to_an_end(w: AsyncWorld) -> None:
    await w.configure(on_success="acs:fc:::services/s/functions/f")
    instance = await w.world.start_instance("i1", failing(0))
    await w.accepted(b"0")
    await w.world.until(lambda: len(instance.requests) == 17)
    await w.until_no_events()
    assert len(instance.requests) == 17
