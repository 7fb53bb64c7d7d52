"""Access keys and who may do what, over the API with its real authenticator."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.api import create_app
from control_plane.api.auth import SignatureAuthenticator
from control_plane.code_store import FolderCodeStore
from control_plane.registry.access_keys import StoredAccessKeys
from control_plane.registry.memory import MemoryRegistry
from control_plane.testing import FakeFleet, instance_view
from runtime.access.local import LocalKey
from runtime.access.nonces import Nonces
from runtime.access.sealing import Box
from runtime.signature import RequestHead, authorization, fc
from runtime.signature.acs3 import Parts, string_to_sign
from tests.api.conftest import FUNCTION, Settings, code

NOW_S = 1_795_251_600.0  # 2026-11-21T09:00:00Z
LOCAL = ("local", "local-secret")


class OwnNonces:
    def __init__(self) -> None:
        self._nonces = Nonces()

    async def use(self, access_key_id: str, nonce: str, now_s: float) -> bool:
        return self._nonces.use(access_key_id, nonce, now_s)


@dataclass
class Signed:
    """Calls signed by a key."""

    client: httpx.AsyncClient
    registry: MemoryRegistry
    fleet: FakeFleet

    async def call(
        self, method: str, path: str, body: Any = None, key: tuple[str, str] = LOCAL, **headers: str
    ) -> tuple[int, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        sent = {"date": formatdate(NOW_S, usegmt=True), "content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        signed_path = path.partition("?")[0]
        sent.setdefault("authorization", authorization(method, signed_path, sent, *key))
        answer = await self.client.request(method, path, content=content, headers=sent)
        return answer.status_code, answer.json() if answer.content else None

    async def code(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, str]:
        """Status and ErrorCode, "" for what is no error."""
        status, answer = await self.call(method, path, body, **options)
        return status, (answer or {}).get("ErrorCode", "")

    async def key(self, role: str, *services: str, **more: Any) -> tuple[str, str]:
        status, made = await self.call("POST", "/stoke/v1/keys", {"role": role, "services": list(services), **more})
        assert status == 200, made
        return made["access_key_id"], made["access_key_secret"]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Signed]:
    (tmp_path / "credentials.json").write_text(json.dumps({"access_key_id": LOCAL[0], "access_key_secret": LOCAL[1]}))
    registry, fleet = MemoryRegistry(), FakeFleet()
    keys = StoredAccessKeys(registry.store, Box(b"k" * 32), LocalKey(tmp_path / "credentials.json"), lambda: NOW_S)
    authenticator = SignatureAuthenticator(keys, OwnNonces(), lambda: NOW_S)
    store = FolderCodeStore(tmp_path / "code")
    app = create_app(registry, fleet, store, Settings(), authenticator=authenticator, access_keys=keys)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield Signed(client, registry, fleet)


async def deployed(api: Signed) -> None:
    for service in ("s", "t"):
        assert await api.code("POST", "/2016-08-15/services", {"serviceName": service}) == (200, "")
        path = f"/2016-08-15/services/{service}/functions"
        assert await api.code("POST", path, {**FUNCTION, "code": code()}) == (200, "")


async def test_a_key_is_shown_with_its_secret_once_and_works_at_once(api: Signed) -> None:
    status, made = await api.call("POST", "/stoke/v1/keys", {"role": "deploy", "description": "ci"})
    assert status == 200
    assert made["access_key_id"].startswith("LTAI")
    assert (made["role"], made["enabled"], made["created_time"]) == ("deploy", True, "2026-11-21T09:00:00Z")
    key = (made["access_key_id"], made["access_key_secret"])
    assert await api.code("POST", "/2021-04-06/services", {"serviceName": "s"}, key=key) == (200, "")
    _, listed = await api.call("GET", "/stoke/v1/keys")
    assert [row["access_key_id"] for row in listed["keys"]] == [key[0]]
    assert key[1] not in json.dumps(listed)


async def test_no_secret_is_in_the_store_in_clear(api: Signed) -> None:
    key_id, secret = await api.key("admin")
    stored = json.dumps(api.registry.store.routes) + json.dumps(api.registry.store.feed)
    assert f"key/{key_id}" in stored
    assert secret not in stored


async def test_a_key_that_is_disabled_is_refused_until_it_is_enabled_and_a_removed_one_for_ever(api: Signed) -> None:
    key = await api.key("read")
    listing = "/2016-08-15/services"
    assert await api.code("GET", listing, key=key) == (200, "")
    assert await api.code("POST", f"/stoke/v1/keys/{key[0]}/disable", {}) == (200, "")
    assert await api.code("GET", listing, key=key) == (403, "InvalidAccessKeyID")
    assert await api.code("GET", listing, key=(key[0], "wrong")) == (403, "SignatureNotMatch")
    assert await api.code("POST", f"/stoke/v1/keys/{key[0]}/enable", {}) == (200, "")
    assert await api.code("GET", listing, key=key) == (200, "")
    assert await api.code("DELETE", f"/stoke/v1/keys/{key[0]}") == (204, "")
    assert await api.code("GET", listing, key=key) == (403, "InvalidAccessKeyID")
    for method, path in (("DELETE", key[0]), ("POST", f"{key[0]}/enable")):
        assert await api.code(method, f"/stoke/v1/keys/{path}") == (404, "AccessKeyNotFound")


async def test_the_local_key_is_not_changed_by_the_api(api: Signed) -> None:
    for method, path in (("DELETE", "local"), ("POST", "local/disable")):
        assert await api.code(method, f"/stoke/v1/keys/{path}") == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("body", "named"),
    [({}, "role"), ({"role": "owner"}, "role"), ({"role": "read", "services": ["a b"]}, "services")],
)
async def test_what_is_wrong_about_a_new_key_is_named(api: Signed, body: dict[str, Any], named: str) -> None:
    status, answer = await api.call("POST", "/stoke/v1/keys", body)
    assert (status, answer["ErrorCode"]) == (400, "InvalidArgument")
    assert answer["ErrorMessage"].startswith(named)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("admin", {"manage", "change", "look"}),
        ("deploy", {"change", "look"}),
        ("read", {"look"}),
        ("invoke", set()),
    ],
)
async def test_a_role_may_do_what_its_table_says(api: Signed, role: str, may: set[str]) -> None:
    await deployed(api)
    key = await api.key(role)
    asked = {
        "manage": ("GET", "/stoke/v1/keys", None),
        "change": ("PUT", "/2016-08-15/services/s", {"description": "d"}),
        "look": ("GET", "/2021-04-06/services/s/functions", None),
    }
    for right, (method, path, body) in asked.items():
        expected = (200, "") if right in may else (403, "AccessDenied")
        assert await api.code(method, path, body, key=key) == expected, right


async def test_a_key_for_some_services_touches_no_other(api: Signed) -> None:
    await deployed(api)
    api.fleet.views = [instance_view("i-s", "s"), instance_view("i-t", "t")]
    api.fleet.outputs = {"i-s": [b"{}"], "i-t": [b"{}"]}
    key = await api.key("deploy", "s", "new")
    for service, expected in (("s", (200, "")), ("t", (403, "AccessDenied"))):
        base = f"/2016-08-15/services/{service}"
        for path in (base, f"{base}.LATEST/functions/f/provision-config", f"{base}/functions/f"):
            assert await api.code("GET", path, key=key) == expected, path
        for query in (f"/stoke/v1/instances?service={service}", f"/2016-08-15/provision-configs?serviceName={service}"):
            assert await api.code("GET", query, key=key) == expected, query
        assert await api.code("GET", f"/stoke/v1/instances/i-{service}/logs", key=key) == expected
    for path in ("/2016-08-15/services", "/stoke/v1/instances", "/stoke/v1/instances?service=s&service=t"):
        assert await api.code("GET", path, key=key) == (403, "AccessDenied"), path
    assert await api.code("POST", "/2016-08-15/services", {"serviceName": "new"}, key=key) == (200, "")
    assert await api.code("POST", "/2016-08-15/services", {"serviceName": "u"}, key=key) == (403, "AccessDenied")


async def test_a_key_with_a_token_needs_it_in_every_request(api: Signed) -> None:
    _, made = await api.call("POST", "/stoke/v1/keys", {"role": "read", "withToken": True})
    key, token = (made["access_key_id"], made["access_key_secret"]), made["security_token"]
    listing = "/2016-08-15/services"
    assert await api.code("GET", listing, key=key) == (403, "AccessDenied")
    assert await api.code("GET", listing, key=key, x_fc_security_token="other") == (403, "AccessDenied")
    assert await api.code("GET", listing, key=key, x_fc_security_token=token) == (200, "")


async def test_what_is_wrong_with_a_signature_is_told_by_fcs_codes(api: Signed) -> None:
    listing = "/2016-08-15/services"
    assert await api.code("GET", listing, key=("local", "wrong")) == (403, "SignatureNotMatch")
    assert await api.code("GET", listing, key=("other", "x")) == (403, "InvalidAccessKeyID")
    assert await api.code("GET", listing, date=formatdate(NOW_S - 1000, usegmt=True)) == (403, "AccessDenied")
    assert await api.code("GET", listing, authorization="Bearer x") == (403, "AccessDenied")
    answer = await api.client.get(listing)
    assert (answer.status_code, answer.json()["Code"]) == (400, "MissingRequiredHeader")


def acs3(method: str, target: str, body: bytes, nonce: str = "n", at: str = "2026-11-21T09:00:00Z") -> dict[str, str]:
    headers = {
        "host": "127.0.0.1",
        "x-acs-date": at,
        "x-acs-signature-nonce": nonce,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
    }
    path, _, query = target.partition("?")
    text = string_to_sign(RequestHead(method, path, query, headers), tuple(headers))
    signature = base64.b64decode(fc.sign(LOCAL[1], text)).hex()
    parts = Parts(LOCAL[0], tuple(headers), signature)
    value = f"ACS3-HMAC-SHA256 Credential={parts.access_key_id},SignedHeaders={';'.join(headers)},Signature={signature}"
    return {**headers, "authorization": value}


async def test_a_request_by_acs3_passes_once(api: Signed) -> None:
    body = b'{"serviceName": "s"}'
    headers = acs3("POST", "/2021-04-06/services", body)
    for expected in ((200, None), (403, "SignatureNonceUsed")):
        answer = await api.client.post("/2021-04-06/services", content=body, headers=headers)
        assert (answer.status_code, answer.json().get("Code")) == expected


async def test_a_changed_body_changes_nothing(api: Signed) -> None:
    headers = acs3("POST", "/2021-04-06/services", b'{"serviceName": "s"}')
    answer = await api.client.post("/2021-04-06/services", content=b'{"serviceName": "x"}', headers=headers)
    assert (answer.status_code, answer.json()["Code"]) == (403, "SignatureNotMatch")
    md5 = base64.b64encode(hashlib.md5(b"{}").digest()).decode()
    changed = await api.code("POST", "/2016-08-15/services", {"serviceName": "x"}, content_md5=md5)
    assert changed == (403, "SignatureNotMatch")
    assert await api.code("GET", "/2016-08-15/services/x") == (404, "ServiceNotFound")


async def test_status_tells_a_stranger_only_that_stoke_serves(api: Signed) -> None:
    stranger = await api.client.get("/stoke/v1/status")
    assert (stranger.status_code, set(stranger.json())) == (200, {"version"})
    _, known = await api.call("GET", "/stoke/v1/status")
    assert {"instances", "node", "account_id"} <= set(known)
    assert await api.code("GET", "/stoke/v1/status", key=("local", "wrong")) == (403, "SignatureNotMatch")


async def test_the_url_of_code_is_good_for_a_while_for_whoever_has_it(api: Signed) -> None:
    await deployed(api)
    _, told = await api.call("GET", "/2016-08-15/services/s/functions/f/code")
    url = told["url"].removeprefix(Settings.public_url)
    assert (await api.client.get(url)).content.startswith(b"PK")
    path, _, query = url.partition("?")
    for wrong in (path, f"{path}?{query}0", f"{path}?expires=1&signature=x", url.replace("expires=", "expires=9")):
        answer = await api.client.get(wrong)
        assert (answer.status_code, answer.json()["Code"]) == (403, "AccessDenied"), wrong


async def test_metrics_are_read_by_http_basic_too(api: Signed) -> None:
    key = await api.key("read")
    assert (await api.client.get("/stoke/v1/metrics", auth=key)).status_code == 200
    assert (await api.client.get("/stoke/v1/metrics", auth=(key[0], "wrong"))).status_code == 403
    assert (await api.client.get("/stoke/v1/metrics", auth=await api.key("invoke"))).status_code == 403
    other = await api.client.get("/stoke/v1/instances", auth=key)
    assert (other.status_code, other.json()["Code"]) == (403, "AccessDenied"), "signatures everywhere else"


async def test_a_key_for_some_services_sends_results_to_no_other_services_function(api: Signed) -> None:
    await deployed(api)
    key = await api.key("deploy", "s")
    path = "/2021-04-06/services/s/functions/f/async-invoke-config"
    for destination, expected in (
        ("acs:fc:::services/s/functions/f", (200, "")),
        ("acs:fc:::services/t.LATEST/functions/f", (403, "AccessDenied")),
        ("acs:fc:::functions/t$f", (403, "AccessDenied")),
        ("nowhere", (400, "InvalidArgument")),
    ):
        body = {"destinationConfig": {"onFailure": {"destination": destination}}}
        assert await api.code("PUT", path, body, key=key) == expected
