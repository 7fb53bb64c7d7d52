"""Services, as FC's clients ask for them."""

from __future__ import annotations

import asyncio

from tests.api.conftest import FUNCTION, TIME, Api


async def test_a_service_is_created_read_changed_and_deleted(either: Api) -> None:
    asked = {
        "serviceName": "s",
        "description": None,
        "internetAccess": True,
        "role": "acs:ram::1:role/r",
        "logConfig": {"project": "p", "logstore": "l", "enableInstanceMetrics": True},
        "vpcConfig": {"vpcId": "v"},
    }
    created = await either.made("POST", "/services", asked)
    assert created == {
        "serviceName": "s",
        "serviceId": "id",
        "description": None,
        "internetAccess": True,
        "role": "acs:ram::1:role/r",
        "logConfig": {"project": "p", "logstore": "l", "enableInstanceMetrics": True},
        "vpcConfig": {"vpcId": "v"},
        "createdTime": TIME,
        "lastModifiedTime": TIME,
    }
    assert await either.made("GET", "/services/s") == created
    changed = await either.made("PUT", "/services/s", {"description": "new", "serviceId": "other"})
    assert changed == created | {"description": "new"}, "only what is given changes"
    assert await either.call("DELETE", "/services/s") == (204, None)
    assert await either.refused("GET", "/services/s") == (404, "ServiceNotFound", "service 's' does not exist")


async def test_a_service_is_not_created_twice(either: Api) -> None:
    await either.made("POST", "/services", {"serviceName": "s"})
    refusal = await either.refused("POST", "/services", {"serviceName": "s"})
    assert refusal == (409, "ServiceAlreadyExists", "service 's' already exists")


async def test_a_service_with_functions_is_not_deleted(either: Api) -> None:
    await either.function()
    status, code, _ = await either.refused("DELETE", "/services/s")
    assert (status, code) == (412, "ServiceNotEmpty")


async def test_services_are_listed_by_pages(either: Api) -> None:
    assert await either.made("GET", "/services") == {"services": []}
    for name in ("a", "b1", "b2"):
        await either.made("POST", "/services", {"serviceName": name})
    page = await either.made("GET", "/services?limit=2")
    assert [service["serviceName"] for service in page["services"]] == ["a", "b1"]
    page = await either.made("GET", f"/services?limit=2&nextToken={page['nextToken']}")
    assert [service["serviceName"] for service in page["services"]] == ["b2"]
    assert "nextToken" not in page
    page = await either.made("GET", "/services?prefix=b&startKey=b2")
    assert [service["serviceName"] for service in page["services"]] == ["b2"]


async def test_a_service_is_read_by_qualifier_in_the_path_or_in_the_query(either: Api) -> None:
    await either.made("POST", "/services", {"serviceName": "s", "description": "old"})
    await either.made("POST", "/services/s/versions", {})
    await either.made("PUT", "/services/s", {"description": "new"})
    for path in ("/services/s.1", "/services/s?qualifier=1"):
        assert (await either.made("GET", path))["description"] == "old"
    for path in ("/services/s.LATEST", "/services/s?qualifier="):
        assert (await either.made("GET", path))["description"] == "new"


async def test_changes_of_different_keys_at_once_are_all_kept(api: Api) -> None:
    await api.function()
    keys = {"memorySize": 1024, "timeout": 60, "instanceConcurrency": 7, "caPort": 8080, "initializer": "i"}
    await asyncio.gather(*(api.made("PUT", "/services/s/functions/f", {key: keys[key]}) for key in keys))
    function = await api.made("GET", "/services/s/functions/f")
    assert {key: function[key] for key in keys} == keys
    assert function["handler"] == FUNCTION["handler"]
