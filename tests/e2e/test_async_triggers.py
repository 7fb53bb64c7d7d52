"""Asynchronous requests to HTTP triggers: the same ids and records as for invocations, and the request itself runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from email.utils import formatdate

import pytest

from runtime.async_invocation.records import Status, record_key
from runtime.contract import LATEST, ROUTES_KEY, DomainRoute, domain_field
from runtime.signature import authorization
from tests.support.async_world import ASYNC, AsyncWorld, async_world
from tests.support.gateway import KEY_ID, SECRET, Request, plain, world
from tests.support.store import PrivateStore

TRIGGER = "/2016-08-15/proxy/s/f"


@pytest.fixture
async def w(store_url: str) -> AsyncIterator[AsyncWorld]:
    async with world(store_url, "--async-claim-after-s", "0.5", "--async-poll-s", "0.1") as made:
        around = async_world(made, store_url)
        yield around
        await around.store.close()


async def test_the_function_gets_the_request_and_the_client_an_id_at_once(w: AsyncWorld) -> None:
    instance = await w.world.start_instance("i1")
    sent = ASYNC | {"x-fc-async-task-id": "order-7", "x-user": "jo", "content-type": "text/plain", "host": "h.example"}
    reply = await w.world.ask("POST", f"{TRIGGER}/paint/it?red=1", sent, b"\x00body")
    assert (reply.status, reply.body) == (202, b"")
    assert reply.headers["x-fc-async-task-id"] == "order-7"
    stored = await w.until_status("order-7", Status.SUCCEEDED)
    [request] = instance.requests
    assert (request.method, request.target, request.body) == ("POST", f"{TRIGGER}/paint/it?red=1", b"\x00body")
    assert (request.headers["x-user"], request.headers["host"]) == ("jo", "h.example")
    assert request.names.count("content-type") == 1
    assert request.headers["x-fc-control-path"] == "/http-invoke"
    assert request.headers["x-fc-base-path"] == TRIGGER
    assert request.headers["x-fc-client-ip"] == "127.0.0.1"
    assert request.headers["x-fc-request-id"] == reply.headers["x-fc-request-id"] == stored.record.request_id
    assert request.headers["x-fc-retry-count"] == "0"
    assert "x-fc-invocation-type" not in request.headers
    assert [event["status"] for event in stored.record.events] == ["Enqueued", "Running", "Succeeded"]
    await w.until_no_events()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_request_without_a_body_stays_one(w: AsyncWorld, method: str) -> None:
    instance = await w.world.start_instance("i1")
    reply = await w.world.ask(method, f"{TRIGGER}/", ASYNC)
    assert reply.status == 202
    await w.until_status(reply.headers["x-fc-async-task-id"], Status.SUCCEEDED)
    [request] = instance.requests
    assert (request.method, "content-length" in request.headers) == (method, False)


async def test_sub_domains_and_custom_domains_take_them_too(w: AsyncWorld) -> None:
    instance = await w.world.start_instance("i1")
    await w.world.put_trigger(subdomain="f-s-abc")
    paths = [{"path": "/*", "service": "s", "function": "f", "qualifier": LATEST, "methods": []}]
    await w.world.write(ROUTES_KEY, domain_field("www.example.com"), DomainRoute("www.example.com", paths).to_json())
    await w.world.settle()
    for host in ("f-s-abc.example.com", "www.example.com"):
        reply = await w.world.ask("POST", "/x", ASYNC | {"host": host}, b"b")
        assert reply.status == 202
        await w.until_status(reply.headers["x-fc-async-task-id"], Status.SUCCEEDED)
    assert [(request.target, request.headers["host"]) for request in instance.requests] == [
        ("/x", "f-s-abc.example.com"),
        ("/x", "www.example.com"),
    ]


async def test_what_the_trigger_refuses_is_not_kept(w: AsyncWorld) -> None:
    assert (await w.world.ask("DELETE", f"{TRIGGER}/", ASYNC)).status == 405
    reply = await w.world.ask("POST", f"{TRIGGER}/", {"x-fc-invocation-type": "Later"})
    assert (reply.status, reply.json()["ErrorCode"]) == (400, "InvalidArgument")
    await w.world.put_trigger(auth_type="function")
    await w.world.settle()
    assert (await w.world.ask("POST", f"{TRIGGER}/", ASYNC)).status == 403
    assert await w.backlog() is None
    sent = ASYNC | {"date": formatdate(usegmt=True)}
    value = authorization("POST", f"{TRIGGER}/x", sent, KEY_ID, SECRET, resource_query="")
    reply = await w.world.ask("POST", f"{TRIGGER}/x", {**sent, "authorization": value}, b"b")
    assert reply.status == 202
    instance = await w.world.start_instance("i1")
    await w.until_status(reply.headers["x-fc-async-task-id"], Status.SUCCEEDED)
    assert "authorization" not in instance.requests[0].headers, "a signature is for the gateway"


@pytest.mark.parametrize(("status", "ends_as"), [("201 Created", "Succeeded"), ("303 See Other", "Succeeded")])
async def test_an_answer_below_400_is_a_success(w: AsyncWorld, status: str, ends_as: str) -> None:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(plain(b"ok", status))

    await w.world.start_instance("i1", answer)
    reply = await w.world.ask("POST", f"{TRIGGER}/", ASYNC, b"b")
    await w.until_status(reply.headers["x-fc-async-task-id"], Status(ends_as))


async def test_an_answer_from_400_on_is_a_function_error_and_the_whole_request_is_sent_again(w: AsyncWorld) -> None:
    left = 1

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        writer.write(plain(b"no" if left else b"yes", "503 Service Unavailable" if left else "200 OK"))
        left = 0

    instance = await w.world.start_instance("i1", answer)
    stateful = ASYNC | {"x-fc-stateful-async-invocation-enable": "true", "cookie": "secret=1"}
    reply = await w.world.ask("POST", f"{TRIGGER}/a?b", stateful, b"body")
    stored = await w.until_status(reply.headers["x-fc-async-task-id"], Status.SUCCEEDED)
    assert (stored.record.attempts, stored.payload, stored.result) == (2, b"body", b"yes")
    first, second = instance.requests
    assert (first.target, first.body, first.headers["cookie"]) == (second.target, second.body, second.headers["cookie"])
    assert second.headers["x-fc-retry-count"] == "1"
    key = record_key("s", "f", reply.headers["x-fc-async-task-id"])
    assert not await w.world.store.hexists(key, "head"), "header fields are forgotten with the last attempt"


async def test_it_survives_the_kill_of_the_gateway_that_took_it(w: AsyncWorld) -> None:
    reply = await w.world.ask("POST", f"{TRIGGER}/x", ASYNC | {"x-user": "jo"}, b"b")
    assert reply.status == 202
    w.world.gateway.stop()
    w.world.gateway.start()
    instance = await w.world.start_instance("i1")
    await w.until_status(reply.headers["x-fc-async-task-id"], Status.SUCCEEDED)
    assert [(each.target, each.headers["x-user"]) for each in instance.requests] == [(f"{TRIGGER}/x", "jo")]


async def test_nothing_is_acknowledged_while_the_store_is_away(private_store: PrivateStore) -> None:
    async with world(private_store.url) as made:
        private_store.kill()
        reply = await made.ask("POST", f"{TRIGGER}/", ASYNC, b"b")
        assert (reply.status, json.loads(reply.body)["ErrorCode"]) == (503, "ServiceUnavailable")
        private_store.start()
