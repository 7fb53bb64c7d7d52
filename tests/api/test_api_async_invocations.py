"""Stateful asynchronous invocations over FC's wire, with a real store behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from control_plane.api import create_app
from control_plane.async_invocations import StoredInvocations
from control_plane.code_store import FolderCodeStore
from control_plane.registry.memory import MemoryRegistry
from control_plane.testing import FakeFleet
from runtime.async_invocation.records import Delivery, Invocation, Status, new_invocation
from runtime.async_invocation.store import AsyncStore, Stored
from runtime.contract import API_VERSION_3
from tests.api.conftest import NOW_S, Api, Settings
from tests.support.store import PrivateStore

PATH = "/services/s/functions/f/stateful-async-invocations"


class Book:
    """Writes invocations as a gateway does."""

    def __init__(self, store: AsyncStore) -> None:
        self.store = store

    async def accepted(self, invocation_id: str, at_s: float = NOW_S, payload: bytes = b"in", **values: Any) -> Stored:
        record = new_invocation(
            at_s,
            **{
                "invocation_id": invocation_id,
                "request_id": f"r-{invocation_id}",
                "service": "s",
                "function": "f",
                "qualifier": "LATEST",
                "version": "LATEST",
                "stateful": True,
            }
            | values,
        )
        await self.store.enqueue(record, payload)
        return await self.read(invocation_id)

    async def read(self, invocation_id: str) -> Stored:
        stored = await self.store.load("s", "f", invocation_id)
        assert stored is not None
        return stored

    async def running(self, invocation_id: str, at_s: float = NOW_S) -> Stored:
        stored = await self.accepted(invocation_id, at_s)
        changed = stored.record.to(Status.RUNNING, at_s + 1.0, attempts=1, started_at_s=at_s + 1.0, instance_id="c-1")
        return await self.store.save(stored, changed)

    async def ended(self, stored: Stored, change: Callable[[Invocation], Invocation], result: bytes) -> None:
        await self.store.save(stored, change(stored.record), result=result, done=stored.entry, kept_s=60.0)


@pytest.fixture
async def book(store_url: str) -> AsyncIterator[Book]:
    store = AsyncStore(Redis.from_url(store_url))
    yield Book(store)
    await store.close()


def api_over(store: AsyncStore, folder: Path) -> Api:
    registry = MemoryRegistry(utc_s=lambda: NOW_S)
    fleet = FakeFleet()
    invocations = StoredInvocations(store, lambda: NOW_S + 9.0, 60.0, 600.0)
    app = create_app(registry, fleet, FolderCodeStore(folder), Settings(), invocations=invocations)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")
    return Api(client, registry, fleet)


@pytest.fixture(params=("2016-08-15", "2021-04-06"))
async def api(request: pytest.FixtureRequest, book: Book, tmp_path: Path) -> AsyncIterator[Api]:
    made = api_over(book.store, tmp_path)
    made.version = request.param
    await made.function()
    yield made
    await made.client.aclose()


async def test_an_invocation_is_read_with_its_times_and_its_history(api: Api, book: Book) -> None:
    stored = await book.running("one")
    await book.ended(
        stored,
        lambda record: record.to(Status.SUCCEEDED, NOW_S + 3.5, delivery=Delivery.SUCCEEDED),
        b"\xff",
    )
    start_ms = round(NOW_S * 1000)
    assert await api.made("GET", f"{PATH}/one") == {
        "invocationId": "one",
        "status": "Succeeded",
        "startedTime": start_ms,
        "endTime": start_ms + 3500,
        "durationMs": 2500,
        "requestId": "r-one",
        "serviceName": "s",
        "functionName": "f",
        "qualifier": "LATEST",
        "instanceId": "c-1",
        "alreadyRetriedTimes": 0,
        "destinationStatus": "Succeeded",
        "invocationErrorMessage": "",
        "invocationPayload": "in",
        "returnPayload": "/w==",
        "events": [
            {"eventId": 1, "status": "Enqueued", "eventDetail": "", "timestamp": start_ms},
            {"eventId": 2, "status": "Running", "eventDetail": "", "timestamp": start_ms + 1000},
            {"eventId": 3, "status": "Succeeded", "eventDetail": "", "timestamp": start_ms + 3500},
        ],
    }


async def test_invocations_are_listed_by_time_in_pages(api: Api, book: Book) -> None:
    for number in range(7):
        await book.accepted(f"i{number}", NOW_S + number // 2)  # pairs of the same time

    async def pages(order: str) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            page = await api.made("GET", f"{PATH}?limit=3&sortOrderByTime={order}&nextToken={token}")
            assert 0 < len(page["invocations"]) <= 3
            found += [each["invocationId"] for each in page["invocations"]]
            token = page.get("nextToken", "")
            if not token:
                return found

    ids = [f"i{number}" for number in range(7)]
    assert await pages("asc") == ids
    assert await pages("desc") == ids[::-1]


async def test_a_listing_is_narrowed(api: Api, book: Book) -> None:
    await book.accepted("a-1", NOW_S)
    await book.accepted("a-2", NOW_S + 10.0, qualifier="prod", version="1")
    await book.running("b-1", NOW_S + 20.0)

    async def listed(query: str) -> list[str]:
        answer = await api.made("GET", f"{PATH}?sortOrderByTime=asc&{query}")
        return [each["invocationId"] for each in answer["invocations"]]

    ms = round(NOW_S * 1000)
    assert await listed("") == ["a-1", "a-2", "b-1"]
    assert await listed("invocationIdPrefix=a") == ["a-1", "a-2"]
    assert await listed("status=Running") == ["b-1"]
    assert await listed("qualifier=LATEST") == ["a-1", "b-1"]
    assert await listed(f"startedTimeBegin={ms + 10_000}") == ["a-2", "b-1"]
    assert await listed(f"startedTimeBegin={ms}&startedTimeEnd={ms + 20_000}") == ["a-1", "a-2"]


async def test_payloads_are_listed_where_they_are_asked_for(api: Api, book: Book) -> None:
    await book.accepted("one")
    [plain] = (await api.made("GET", PATH))["invocations"]
    [full] = (await api.made("GET", f"{PATH}?includePayload=true"))["invocations"]
    assert "invocationPayload" not in plain
    assert full["invocationPayload"] == "in"


async def test_one_that_waits_is_stopped_at_once_and_leaves_its_queue(api: Api, book: Book) -> None:
    await book.accepted("one")
    for _ in range(2):
        assert (await api.call("PUT", f"{PATH}/one"))[0] == 204
    assert (await api.made("GET", f"{PATH}/one"))["status"] == "Stopped"
    assert await book.store.backlogs() == []


async def test_one_that_will_be_tried_again_is_stopped_and_is_not(api: Api, book: Book) -> None:
    stored = await book.running("one")
    retrying = stored.record.to(Status.RETRYING, NOW_S)
    await book.store.save(stored, retrying, again_at_s=NOW_S + 1.0, done=stored.entry)
    assert (await api.call("PUT", f"{PATH}/one"))[0] == 204
    assert await book.store.promote(NOW_S + 60.0) is None
    assert await book.store.backlogs() == []


async def test_one_that_runs_is_stopping_until_its_attempt_ends(api: Api, book: Book) -> None:
    await book.running("one")
    assert (await api.call("PUT", f"{PATH}/one"))[0] == 204
    assert (await api.made("GET", f"{PATH}/one"))["status"] == "Stopping"


async def test_one_that_has_ended_is_not_stopped(api: Api, book: Book) -> None:
    stored = await book.running("one")
    await book.ended(stored, lambda record: record.to(Status.SUCCEEDED, NOW_S), b"")
    status, code, message = await api.refused("PUT", f"{PATH}/one")
    assert (status, code) == (412, "PreconditionFailed")
    assert "Succeeded" in message


async def test_fc_3_calls_the_same_invocations_tasks(api: Api, book: Book) -> None:
    stored = await book.running("one")
    await book.ended(stored, lambda record: record.to(Status.FAILED, NOW_S + 3.5, error="no luck"), b"out")
    await book.accepted("two", NOW_S + 10.0)
    api.version = API_VERSION_3
    tasks = "/functions/s$f/async-tasks"
    task = await api.made("GET", f"{tasks}/one")
    start_ms = round(NOW_S * 1000)
    assert [event["status"] for event in task.pop("events")] == ["Enqueued", "Running", "Failed"]
    assert task == {
        "taskId": "one",
        "functionArn": "acs:fc:cn-test:42:functions/s$f/LATEST",
        "status": "Failed",
        "startedTime": start_ms,
        "endTime": start_ms + 3500,
        "durationMs": 2500,
        "requestId": "r-one",
        "qualifier": "LATEST",
        "instanceId": "c-1",
        "alreadyRetriedTimes": 0,
        "destinationStatus": stored.record.delivery.value,
        "taskErrorMessage": "no luck",
        "taskPayload": "in",
        "returnPayload": "out",
    }
    listed = await api.made("GET", f"{tasks}?prefix=t&startedTimeBegin={start_ms}")
    assert [each["taskId"] for each in listed["tasks"]] == ["two"]
    assert "taskPayload" not in listed["tasks"][0]
    assert (await api.call("PUT", f"{tasks}/two/stop"))[0] == 204
    assert (await api.made("GET", f"{tasks}/two"))["status"] == "Stopped"
    assert (await api.refused("PUT", f"{tasks}/one/stop"))[:2] == (412, "PreconditionFailed")
    for method, path in (("GET", f"{tasks}/none"), ("PUT", f"{tasks}/none/stop")):
        assert (await api.refused(method, path))[:2] == (404, "AsyncTaskNotFound")


async def test_what_does_not_exist_is_not_found(api: Api) -> None:
    for method in ("GET", "PUT"):
        assert (await api.refused(method, f"{PATH}/none"))[:2] == (404, "StatefulAsyncInvocationNotFound")
    assert (await api.refused("GET", PATH.replace("/f/", "/g/")))[:2] == (404, "FunctionNotFound")
    assert await api.made("GET", PATH) == {"invocations": []}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("status=Done", "status is 'Done': must be one of Enqueued, Dequeued"),
        ("sortOrderByTime=up", "sortOrderByTime is 'up': must be asc or desc"),
        ("nextToken=x", "nextToken is 'x': must be one that a listing has given"),
        ("limit=0", "limit is '0': must be a whole number from 1 to 100"),
        ("startedTimeBegin=soon", "startedTimeBegin is 'soon': must be a whole number"),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(api: Api, query: str, says: str) -> None:
    status, code, message = await api.refused("GET", f"{PATH}?{query}")
    assert (status, code) == (400, "InvalidArgument")
    assert message.startswith(says)


async def test_a_store_that_is_away_is_said_to_be(private_store: PrivateStore, tmp_path: Path) -> None:
    store = AsyncStore(Redis.from_url(private_store.url))
    away = api_over(store, tmp_path)
    await away.function()
    private_store.kill()
    for method, path in (("GET", PATH), ("GET", f"{PATH}/one"), ("PUT", f"{PATH}/one")):
        assert (await away.refused(method, path))[:2] == (503, "ServiceUnavailable")
    await away.client.aclose()
    await store.close()
