"""What is around every operation: paths that are none, failures inside, who may ask, the store away."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis
from starlette.requests import Request

from control_plane.api import create_app
from control_plane.api.auth import Admitted
from control_plane.api.paths import FC3_ROUTES, FC_ROUTES, STOKE_PREFIX, STOKE_ROUTES
from control_plane.code_store import FolderCodeStore
from control_plane.errors import RequestError
from control_plane.registry import RedisRegistry
from control_plane.registry.memory import MemoryRegistry
from control_plane.testing import FakeFleet
from tests.api.conftest import Api, Settings, client_of
from tests.support.store import PrivateStore

DOCS = Path(__file__).parents[2] / "docs" / "http-api.md"


@pytest.mark.parametrize("path", ["/nothing", "/services/s/nothing", "/services/", "/services//functions"])
async def test_a_path_that_is_none_is_answered_in_json(either: Api, path: str) -> None:
    message = f"'GET' against '/{either.version}{path}' is not supported"
    assert await either.refused("GET", path) == (404, "PathNotSupported", message)


async def test_a_path_outside_the_api_is_answered_in_json(api: Api) -> None:
    for path in ("/", "/2017-01-01/services", "/favicon.ico", "/2016-08-15"):
        status, answer = await api.send("GET", path)
        assert (status, answer["Code"]) == (404, "PathNotSupported")


async def test_a_wrong_method_is_told_which_ones_are_right(either: Api) -> None:
    status, code, _ = await either.refused("PATCH", "/services/s")
    assert (status, code) == (405, "PathNotSupported")
    allowed = {method.strip() for method in either.last.headers["allow"].split(",")}
    assert allowed == {"GET", "HEAD", "PUT", "DELETE"}


async def test_every_response_has_a_request_id_of_its_own(api: Api) -> None:
    ids = set()
    for path in ("/services", "/services/s", "/nothing", "/account-settings"):
        await api.call("GET", path, headers={"x-fc-request-id": "chosen by the client"})
        ids.add(api.last.headers["x-fc-request-id"])
    assert len(ids) == 4
    assert "chosen by the client" not in ids


async def test_an_unexpected_failure_is_answered_and_says_nothing_of_the_inside(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(api.registry, "list_services", broken)
    refusal = await api.refused("GET", "/services")
    assert refusal == (500, "InternalServerError", "an internal error has occurred")
    assert "secret" in caplog.text, "the log has it, with the request id"
    assert api.last.headers["x-fc-request-id"] in caplog.text


async def test_an_authenticator_is_asked_before_any_operation(tmp_path: Path) -> None:
    class Nobody:
        async def authenticate(self, request: Request) -> Admitted:
            raise RequestError(f"{request.method} needs a signature", code="SignatureNotMatch", status=403)

    registry = MemoryRegistry()
    app = create_app(registry, FakeFleet(), FolderCodeStore(tmp_path), Settings(), authenticator=Nobody())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        answer = await client.post("/2016-08-15/services", json={"serviceName": "s"})
    assert (answer.status_code, answer.json()["Code"]) == (403, "SignatureNotMatch")
    assert answer.headers["x-fc-request-id"] == answer.json()["RequestId"]
    assert registry.store.feed == []


async def test_while_the_store_is_away_the_answer_is_503_and_when_to_come_back(
    private_store: PrivateStore, tmp_path: Path
) -> None:
    redis: Redis = Redis.from_url(private_store.url)
    async with client_of(RedisRegistry(redis), FakeFleet(), tmp_path) as client:
        assert (await client.post("/2016-08-15/services", json={"serviceName": "s"})).status_code == 200
        private_store.kill()
        for method, path in (("GET", "/2016-08-15/services/s"), ("POST", "/2021-04-06/services")):
            answer = await client.request(method, path, json={"serviceName": "t"})
            assert (answer.status_code, answer.json()["Code"]) == (503, "ServiceUnavailable")
            assert answer.headers["retry-after"] == "1"
        private_store.start()
        assert (await client.get("/2016-08-15/services/s")).status_code == 200
    await redis.aclose()


def test_the_documentation_has_every_path() -> None:
    text = DOCS.read_text()
    for path, method, _ in FC_ROUTES:
        assert f"`{method} {path}`" in text, f"{method} {path} is not in docs/http-api.md"
    for path, method, _ in FC3_ROUTES:
        assert f"`{method} {path}`" in text, f"{method} {path} is not in docs/http-api.md"
    for path, method, _ in STOKE_ROUTES:
        assert f"`{method} {STOKE_PREFIX}{path}`" in text, f"{method} {STOKE_PREFIX}{path} is not in docs/http-api.md"
