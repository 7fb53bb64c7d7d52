"""Code that is put first and made a function of afterwards, by object storage's signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from control_plane.api.uploads import string_to_sign
from control_plane.uploads import UPLOADS_MAX, Uploads
from tests.api.conftest import Api, zip_of

ZIP = zip_of(app_py="def handler(event, context): return event\n")
DATE = "Sat, 21 Nov 2026 09:00:00 GMT"


def signed(token: dict[str, Any], account: str = "42", **changed: str) -> tuple[str, dict[str, str]]:
    """The path, and the headers as `ali-oss` makes them. `changed` comes in place of what is signed."""
    credentials = token["credentials"]
    headers = {
        "content-type": "application/zip",
        "x-oss-date": DATE,
        "x-oss-security-token": credentials["SecurityToken"],
        "x-oss-user-agent": "aliyun-sdk-nodejs",
    }
    text = string_to_sign(account, token["objectName"].rpartition("/")[2], headers)
    digest = hmac.digest(credentials["AccessKeySecret"].encode(), text.encode(), hashlib.sha1)
    signature = base64.b64encode(digest).decode()
    headers["authorization"] = f"OSS {credentials['AccessKeyId']}:{signature}"
    return f"/{account}/{token['objectName']}", headers | changed


async def put(api: Api, path: str, headers: dict[str, str], content: bytes = ZIP) -> tuple[int, str]:
    answer = await api.client.put(path, headers=headers, content=content)
    return answer.status_code, "" if answer.status_code == 200 else answer.json()["Code"]


def function(token: dict[str, Any], account: str = "42") -> dict[str, Any]:
    code = {"ossBucketName": token["ossBucket"], "ossObjectName": f"{account}/{token['objectName']}"}
    return {"functionName": "f", "runtime": "python3.10", "handler": "app.handler", "code": code}


async def test_a_function_is_made_of_code_that_was_uploaded(api: Api) -> None:
    token = await api.made("GET", "/tempBucketToken")
    assert token["credentials"]["AccessKeyId"].startswith("STS.")
    assert await put(api, *signed(token)) == (200, "")
    await api.made("POST", "/services", {"serviceName": "s"})
    made = await api.made("POST", "/services/s/functions", function(token))
    assert made["codeSize"] == len(ZIP)
    url = (await api.made("GET", "/services/s/functions/f/code"))["url"]
    assert (await api.client.get(url)).content == ZIP


async def test_string_to_sign_is_what_object_storage_has(api: Api) -> None:
    headers = {"content-type": "application/zip", "date": DATE, "x-oss-b": "2", "x-oss-a": " 1 ", "host": "h"}
    text = f"PUT\n\napplication/zip\n{DATE}\nx-oss-a:1\nx-oss-b:2\n/stoke/42/code-uploads/n"
    assert string_to_sign("42", "n", headers) == text


async def test_only_what_its_token_has_signed_is_taken(api: Api) -> None:
    token, other = [await api.made("GET", "/tempBucketToken") for _ in range(2)]
    path, headers = signed(token)
    for wrong in (
        {"authorization": "OSS STS.x:bm8="},
        {"authorization": ""},
        {"x-oss-security-token": ""},
        {"x-oss-security-token": "1"},
        {"x-oss-security-token": str(int(token["credentials"]["SecurityToken"]) + 1)},
        {"content-type": "text/plain"},
    ):
        assert await put(api, path, headers | wrong) == (403, "AccessDenied"), wrong
    assert await put(api, f"/42/{other['objectName']}", headers) == (403, "AccessDenied")
    assert await put(api, f"/43/{token['objectName']}", headers) == (403, "AccessDenied")


async def test_a_body_that_is_no_zip_or_not_the_one_of_its_digest_is_refused(api: Api) -> None:
    token = await api.made("GET", "/tempBucketToken")
    assert await put(api, *signed(token), content=b"no zip") == (400, "InvalidArgument")
    await api.made("POST", "/services", {"serviceName": "s"})
    status, code, message = await api.refused("POST", "/services/s/functions", function(token))
    assert (status, code) == (400, "InvalidArgument")
    assert "upload the code again" in message


async def test_an_upload_that_nobody_has_used_for_so_long_that_it_is_gone_has_to_come_again(
    api: Api, tmp_path: Path
) -> None:
    token = await api.made("GET", "/tempBucketToken")
    assert await put(api, *signed(token)) == (200, "")
    rmtree(tmp_path / "code")
    await api.made("POST", "/services", {"serviceName": "s"})
    status, code, message = await api.refused("POST", "/services/s/functions", function(token))
    assert (status, code) == (400, "InvalidArgument")
    assert "upload the code again" in message


async def test_a_token_that_ended_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await api.made("GET", "/tempBucketToken")
    ends_s = float(token["credentials"]["SecurityToken"])
    monkeypatch.setattr("control_plane.api.uploads.time.time", lambda: ends_s + 1)
    assert await put(api, *signed(token)) == (403, "AccessDenied")


def test_the_oldest_uploads_are_forgotten_first() -> None:
    uploads = Uploads()
    for number in range(UPLOADS_MAX + 1):
        uploads.keep(str(number), "sha256")
    assert uploads.sha256_of("0") is None
    assert uploads.sha256_of("1") == uploads.sha256_of(str(UPLOADS_MAX)) == "sha256"
