"""Custom domains, FC 3.0's invocations and closed functions, through a real gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from runtime.contract import ROUTES_KEY, DomainRoute, domain_field
from tests.support.gateway import World, world

HOST = {"host": "www.example.com"}


@pytest.fixture
async def w(store_url: str) -> AsyncIterator[World]:
    async with world(store_url) as made:
        yield made


async def put_domain(w: World, *paths: dict[str, object]) -> None:
    route = DomainRoute("www.example.com", [{"service": "s", "function": "f", **path} for path in paths])
    await w.write(ROUTES_KEY, domain_field("www.example.com"), route.to_json())
    await w.settle()


async def test_a_custom_domain_leads_to_its_function_with_the_whole_path(w: World) -> None:
    instance = await w.start_instance("i1")
    await put_domain(w, {"path": "/a/*"})
    reply = await w.ask("GET", "/a/b?c=d", HOST)
    assert (reply.status, instance.requests[-1].target) == (200, "/a/b?c=d")
    assert "x-fc-base-path" not in instance.requests[-1].headers
    refused = await w.ask("GET", "/elsewhere", HOST)
    assert (refused.status, refused.json()["Code"]) == (404, "RouteNotFound")
    await w.write(ROUTES_KEY, domain_field("www.example.com"), "")
    await w.settle()
    assert (await w.ask("GET", "/a/b", HOST)).status == 400


async def test_a_domains_route_is_bound_by_its_methods_and_by_the_triggers(w: World) -> None:
    await w.start_instance("i1")
    await put_domain(w, {"path": "/*", "methods": ["GET", "PUT"]})
    for method, status in (("GET", 200), ("POST", 405), ("PUT", 405)):
        assert (await w.ask(method, "/", HOST)).status == status, method


async def test_an_invocation_of_fc_3_reaches_the_function_of_the_service(w: World) -> None:
    instance = await w.start_instance("i1")
    for path in ("/2023-03-30/functions/s$f/invocations", "/2023-03-30/functions/s%24f/invocations?qualifier=LATEST"):
        reply = await w.ask("POST", path, {}, b"payload")
        assert (reply.status, reply.body) == (200, b"payload")
    assert {(request.method, request.target) for request in instance.requests} == {("POST", "/invoke")}
    missing = await w.ask("POST", "/2023-03-30/functions/nobody/invocations")
    assert missing.status == 404


async def test_a_closed_function_lets_nobody_in_until_it_is_opened(w: World) -> None:
    instance = await w.start_instance("i1")
    await w.put_function(is_disabled=True, disabled_reason="maintenance")
    await w.settle()
    for method, path in (("GET", "/2016-08-15/proxy/s/f/"), ("POST", "/2016-08-15/services/s/functions/f/invocations")):
        reply = await w.ask(method, path)
        assert (reply.status, reply.json()["Code"]) == (403, "AccessDenied")
        assert reply.json()["Message"] == "function 'f' is disabled: maintenance"
    assert instance.requests == []
    await w.put_function()
    await w.settle()
    assert (await w.ask("GET", "/2016-08-15/proxy/s/f/")).status == 200
