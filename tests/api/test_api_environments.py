"""What the API says while a function's requirements.txt is installed, and when it cannot be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.api import create_app
from control_plane.code_store import FolderCodeStore
from control_plane.environments import EnvironmentBook, code_in_use
from control_plane.errors import Unavailable
from control_plane.registry.memory import MemoryRegistry
from control_plane.testing import FakeFleet
from runtime.node_contract import CodeEnvironment
from tests.api.conftest import NOW_S, Api, Settings, code, zip_of

WORDS = "ERROR: No matching distribution found for nothing==9"


@dataclass
class FakeEnvironments:
    """Each code needs an environment, which is as the test says."""

    now: CodeEnvironment = field(default_factory=lambda: CodeEnvironment("", "ready", "e", ["words==1.2"]))
    away: bool = False
    asked: list[tuple[str, bool]] = field(default_factory=list)

    async def look(self, code_sha256: str, *, build: bool, wait_s: float) -> CodeEnvironment:
        if self.away:
            raise Unavailable("the node cannot be reached")
        self.asked.append((code_sha256, build))
        return replace(self.now, code_sha256=code_sha256)

    async def sweep(self, code_in_use: Collection[str]) -> Sequence[str]:
        return []


@pytest.fixture
def made() -> FakeEnvironments:
    return FakeEnvironments()


@pytest.fixture
async def api(tmp_path: Path, made: FakeEnvironments) -> AsyncIterator[Api]:
    now = iter(range(10_000))
    registry = MemoryRegistry(region="cn-test", account_id="42", utc_s=lambda: NOW_S + next(now), new_id=lambda: "id")
    fleet = FakeFleet()
    app = create_app(registry, fleet, FolderCodeStore(tmp_path), Settings(), environments=EnvironmentBook(made))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield Api(client, registry, fleet)


PYTHON: dict[str, Any] = {"runtime": "python3.11", "handler": "app.handler"}


async def function3(api: Api, **changes: Any) -> Any:
    api.version = "2023-03-30"
    if changes:
        return await api.made("PUT", "/functions/f", changes)
    return await api.made("GET", "/functions/f")


async def created3(api: Api) -> Any:
    api.version = "2023-03-30"
    return await api.made("POST", "/functions", {"functionName": "f", **PYTHON, "code": code()})


async def test_requirements_that_cannot_be_installed_refuse_a_function_and_nothing_is_changed(
    api: Api, made: FakeEnvironments
) -> None:
    await api.function(**PYTHON, code=code())
    before = await api.made("GET", "/services/s/functions/f")
    made.now = CodeEnvironment("", "failed", "e", reason=WORDS)
    for method, path, name in (("POST", "/services/s/functions", "g"), ("PUT", "/services/s/functions/f", "f")):
        body = {"functionName": name, **PYTHON, "description": "new", "code": code(zip_of(app_py="y = 2\n"))}
        assert await api.refused(method, path, body) == (
            400, "InvalidArgument", f"code has a requirements.txt that cannot be installed: {WORDS}",
        )  # fmt: skip
    assert await api.made("GET", "/services/s/functions/f") == before
    assert (await api.call("GET", "/services/s/functions/g"))[0] == 404


async def test_only_new_code_of_a_python_runtime_is_looked_at(api: Api, made: FakeEnvironments) -> None:
    await api.function(code=code())
    await api.made("PUT", "/services/s/functions/f", {"description": "new", "code": code()})
    assert made.asked == []
    await api.made("PUT", "/services/s/functions/f", {**PYTHON, "code": code()})
    await api.made("PUT", "/services/s/functions/f", {"description": "newer"})
    assert [build for _, build in made.asked] == [True]


async def test_a_new_function_is_pending_then_active_as_its_environment_is(api: Api, made: FakeEnvironments) -> None:
    made.now = CodeEnvironment("", "building", "e")
    shown = await created3(api)
    assert (shown["state"], shown["lastUpdateStatus"]) == ("Pending", "InProgress")
    made.now = CodeEnvironment("", "ready", "e", ["words==1.2"])
    shown = await function3(api)
    assert (shown["state"], shown["lastUpdateStatus"]) == ("Active", "Successful")
    asked = len(made.asked)
    await function3(api)
    assert len(made.asked) == asked, "what is there stays there"


async def test_an_environment_that_fails_after_the_answer_is_said_with_its_reason(
    api: Api, made: FakeEnvironments
) -> None:
    made.now = CodeEnvironment("", "building", "e")
    await created3(api)
    made.now = CodeEnvironment("", "failed", "e", reason=WORDS)
    shown = await function3(api)
    assert (shown["state"], shown["stateReasonCode"], shown["lastUpdateStatus"]) == (
        "Failed",
        "InvalidArgument",
        "Failed",
    )
    assert WORDS in shown["stateReason"]
    made.now = CodeEnvironment("", "building", "e")
    updated = await function3(api, code=code(zip_of(app_py="y = 2\n")))
    assert (updated["state"], updated["lastUpdateStatus"]) == ("Active", "InProgress")
    made.now = CodeEnvironment("", "failed", "e", reason=WORDS)
    updated = await function3(api)
    assert (updated["state"], updated["lastUpdateStatus"]) == ("Active", "Failed")
    assert WORDS in updated["lastUpdateStatusReason"]


async def test_a_node_that_is_away_refuses_no_deployment(api: Api, made: FakeEnvironments) -> None:
    made.away = True
    assert (await created3(api))["state"] == "Active"


async def test_an_environment_can_be_made_ahead_of_a_deployment(api: Api, made: FakeEnvironments) -> None:
    made.now = CodeEnvironment("", "building", "e")
    begun = await api.client.post("/stoke/v1/environments", json={"code": code()})
    assert begun.json()["state"] == "building"
    made.now = CodeEnvironment("", "ready", "e", ["words==1.2"])
    path = f"/stoke/v1/environments/{begun.json()['code_sha256']}"
    seen = await api.client.get(path, params={"wait_seconds": "1"})
    assert (seen.json()["state"], seen.json()["packages"]) == ("ready", ["words==1.2"])
    assert (await api.client.get(path, params={"wait_seconds": "61"})).status_code == 400
    assert (await api.client.post("/stoke/v1/environments", json={})).json()[
        "Message"
    ] == "code is missing: it is required"


async def test_code_is_in_use_while_a_version_of_any_function_has_it(api: Api) -> None:
    await api.function(**PYTHON, code=code())
    first = await code_in_use(api.registry)
    await api.made("POST", "/services/s/versions", {})
    await api.made("PUT", "/services/s/functions/f", {"code": code(zip_of(app_py="y = 2\n"))})
    both = await code_in_use(api.registry)
    assert (len(first), len(both), first < both) == (1, 2, True)
    assert await api.call("DELETE", "/services/s/functions/f") == (204, None)
    assert await code_in_use(api.registry) == first
