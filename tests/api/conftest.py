"""The API in front of a registry in memory, a fake fleet and a code store in a temporary folder."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.api import create_app
from control_plane.api.context import Limits
from control_plane.code_store import FolderCodeStore
from control_plane.ports import Registry
from control_plane.registry.memory import MemoryRegistry
from control_plane.testing import FakeFleet
from runtime.contract import API_VERSIONS, HEADER_REQUEST_ID

NOW_S = 1_636_351_620.0  # 2021-11-08T06:07:00Z
TIME = "2021-11-08T06:07:00Z"


@dataclass(frozen=True)
class Settings:
    public_url: str = "http://gpu.example:9000"
    region: str = "cn-test"
    account_id: str = "42"
    prometheus_allowed: tuple[str, ...] = ("http://127.0.0.1:9090",)


def zip_of(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name.replace("_py", ".py")), text)
    return packed.getvalue()


def code(zip_bytes: bytes | None = None) -> dict[str, str]:
    return {"zipFile": base64.b64encode(zip_bytes or zip_of(app_py="x = 1\n")).decode()}


FUNCTION: dict[str, Any] = {"functionName": "f", "runtime": "custom", "handler": "not-used"}
TRIGGER: dict[str, Any] = {
    "triggerName": "t",
    "triggerType": "http",
    "triggerConfig": {"authType": "anonymous", "methods": ["GET", "POST"]},
}


@dataclass
class Api:
    """Calls under one API version. Every answer is checked for what holds of all of them."""

    client: httpx.AsyncClient
    registry: Registry
    fleet: FakeFleet
    version: str = API_VERSIONS[0]
    last: httpx.Response = field(init=False)

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body).encode()
        return await self.send(method, f"/{self.version}{path}", content=content, **options)

    async def send(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        self.last = await self.client.request(method, path, **options)
        assert self.last.headers[HEADER_REQUEST_ID].startswith("1-")
        if self.last.status_code == 204:
            assert self.last.content == b""
            return 204, None
        assert self.last.headers["content-type"] == "application/json"
        return self.last.status_code, self.last.json()

    async def made(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = await self.call(method, path, body)
        assert status == 200, answer
        return answer

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
        """Status, code and message; the body spells them in the keys of every API version."""
        status, answer = await self.call(method, path, body)
        assert status >= 400, answer
        assert answer["ErrorCode"] == answer["errorCode"] == answer["Code"]
        assert answer["ErrorMessage"] == answer["errorMessage"] == answer["Message"]
        assert answer["RequestId"] == answer["requestId"] == self.last.headers[HEADER_REQUEST_ID]
        return status, answer["Code"], answer["Message"]

    async def function(self, **values: Any) -> None:
        """A service `s` with a function `f`."""
        await self.made("POST", "/services", {"serviceName": "s"})
        await self.made("POST", "/services/s/functions", FUNCTION | values)


def client_of(registry: Registry, fleet: FakeFleet, folder: Path, limits: Limits | None = None) -> httpx.AsyncClient:
    app = create_app(registry, fleet, FolderCodeStore(folder), Settings(), limits=limits)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    registry = MemoryRegistry(region="cn-test", account_id="42", utc_s=lambda: NOW_S, new_id=lambda: "id")
    fleet = FakeFleet()
    async with client_of(registry, fleet, tmp_path / "code") as client:
        yield Api(client, registry, fleet)


@pytest.fixture(params=API_VERSIONS)
def either(request: pytest.FixtureRequest, api: Api) -> Api:
    """The same exchanges under 2016-08-15 and under 2021-04-06."""
    api.version = request.param
    return api
