"""Usage over the API: spans, filters, and what is recorded to be simulated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.api import create_app
from control_plane.code_store import FolderCodeStore
from control_plane.metering.recorded import RecordedRow
from control_plane.ports import Recorded
from control_plane.registry.memory import MemoryRegistry
from control_plane.testing import FakeFleet
from tests.api.conftest import NOW_S, Api, Settings


@dataclass
class FakeAccounts:
    """Remembers what it was asked."""

    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def usage(self, by: str, since_s: float, until_s: float, wanted: tuple[str, str, str]) -> dict[str, Any]:
        self.asked.append((by, since_s, until_s, wanted))
        return {"rows": []}

    async def recorded(self, key: tuple[str, str, str], since_s: float, until_s: float) -> Recorded:
        self.asked.append((key, since_s, until_s))
        return Recorded(since_s, until_s, [RecordedRow(since_s, 0), RecordedRow(until_s, 2, 0.5, 0.25)], 0.25)


@pytest.fixture
async def accounts() -> FakeAccounts:
    return FakeAccounts()


@pytest.fixture
async def metered(tmp_path: Path, accounts: FakeAccounts) -> AsyncIterator[Api]:
    registry = MemoryRegistry(region="cn-test", account_id="42", utc_s=lambda: NOW_S, new_id=lambda: "id")
    fleet = FakeFleet()
    app = create_app(registry, fleet, FolderCodeStore(tmp_path / "code"), Settings(), accounts=accounts)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield Api(client, registry, fleet)


async def test_usage_is_asked_for_by_hour_or_day_of_a_span_and_a_function(metered: Api, accounts: FakeAccounts) -> None:
    assert await metered.send("GET", "/stoke/v1/usage?since=1000&until=2000") == (200, {"rows": []})
    await metered.send("GET", "/stoke/v1/usage?by=day&since=1000&until=2000&service=s&function=f")
    assert accounts.asked == [("hour", 1000.0, 2000.0, ("", "", "")), ("day", 1000.0, 2000.0, ("s", "", "f"))]


async def test_a_day_is_shown_by_hour_and_thirty_by_day_when_nobody_says(metered: Api, accounts: FakeAccounts) -> None:
    for by, days in (("hour", 1), ("day", 30)):
        await metered.send("GET", f"/stoke/v1/usage?by={by}")
        _, since_s, until_s, _ = accounts.asked[-1]
        assert until_s - since_s == days * 86_400.0


async def test_a_qualifier_is_the_version_it_leads_to(metered: Api, accounts: FakeAccounts) -> None:
    await metered.function()
    await metered.made("POST", "/services/s/versions", {})
    await metered.made("POST", "/services/s/aliases", {"aliasName": "prod", "versionId": "1"})
    await metered.send("GET", "/stoke/v1/usage?service=s&function=f&qualifier=prod&since=1&until=2")
    assert accounts.asked[-1][-1] == ("s", "1", "f")


@pytest.mark.parametrize("version", ["LATEST", "7"])
async def test_a_version_is_told_of_though_it_or_its_service_is_deleted(
    metered: Api, accounts: FakeAccounts, version: str
) -> None:
    status, _ = await metered.send("GET", f"/stoke/v1/usage?service=gone&qualifier={version}&since=1&until=2")
    assert (status, accounts.asked[-1][-1]) == (200, ("gone", version, ""))


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        ("by=week", "InvalidArgument", "by is 'week': must be one of hour, day"),
        ("since=yesterday", "InvalidArgument", "since is 'yesterday': must be UTC seconds"),
        ("since=nan", "InvalidArgument", "since is 'nan'"),
        ("since=5&until=5", "InvalidArgument", "since is 5: must be before until, which is 5"),
        ("function=f", "InvalidArgument", "service is missing"),
        ("service=s&qualifier=none", "AliasNotFound", "none"),
    ],
)
async def test_what_cannot_be_asked_is_said(metered: Api, query: str, code: str, said: str) -> None:
    await metered.function()
    status, answer = await metered.send("GET", f"/stoke/v1/usage?{query}")
    assert (status >= 400, answer["Code"]) == (True, code)
    assert said in answer["Message"]


async def test_recorded_usage_comes_with_all_that_a_simulation_needs(metered: Api, accounts: FakeAccounts) -> None:
    await metered.function(instanceConcurrency=4)
    await metered.made("PUT", "/services/s.LATEST/functions/f/provision-config", {"target": 2})
    status, found = await metered.send("GET", "/stoke/v1/usage/recorded?service=s&function=f&since=1000&until=2000")
    assert status == 200
    assert accounts.asked == [(("s", "LATEST", "f"), 1000.0, 2000.0)]
    assert (found["version"], found["instance_concurrency"], found["launch_s"]) == ("LATEST", 4, 0.25)
    assert found["config"]["target"] == 2
    assert found["columns"] == ["at_s", "requests", "service_s", "launch_s"]
    assert found["rows"] == [[1000.0, 0, None, None], [2000.0, 2, 0.5, 0.25]]


async def test_recorded_usage_of_a_function_that_is_not_there_is_not_found(metered: Api) -> None:
    await metered.function()
    status, answer = await metered.send("GET", "/stoke/v1/usage/recorded?service=s&function=g")
    assert (status, answer["Code"]) == (404, "FunctionNotFound")


async def test_where_nothing_is_metered_nothing_was_used(api: Api) -> None:
    await api.function()
    status, found = await api.send("GET", "/stoke/v1/usage?since=1000&until=2000")
    assert (status, found["rows"], found["total"]["instance_seconds"]) == (200, [], 0.0)
    _, recorded = await api.send("GET", "/stoke/v1/usage/recorded?service=s&function=f&since=1000&until=2000")
    assert [row[1] for row in recorded["rows"]] == [0, 0]
