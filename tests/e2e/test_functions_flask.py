"""The Flask sample: every path answers, and the platform's own calls have their meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.function_code import imported


@pytest.fixture
def client() -> Iterator[Any]:
    with imported("flask_app", "app") as (module,):
        yield module.app.test_client()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/2016-08-15/proxy/samples/flask_app/a/b"])
def test_any_path_and_method_shows_what_arrived(client: Any, method: str, path: str) -> None:
    answer = client.open(f"{path}?a=1&a=2", method=method, data=b"body", headers={"x-fc-request-id": "r-1"})
    assert answer.status_code == 200
    seen = answer.get_json()
    assert (seen["method"], seen["path"], seen["query"], seen["body"]) == (method, path, {"a": ["1", "2"]}, "body")
    assert seen["request_id"] == "r-1"


def test_initialize_is_remembered(client: Any) -> None:
    assert client.get("/").get_json()["initialized"] is False
    assert client.post("/initialize").status_code == 200
    assert client.get("/").get_json()["initialized"] is True


def test_an_event_comes_back_as_it_came(client: Any) -> None:
    answer = client.post("/invoke", data=b"\x00\xffpayload", content_type="application/octet-stream")
    assert (answer.status_code, answer.data, answer.mimetype) == (200, b"\x00\xffpayload", "application/octet-stream")


def test_pre_stop_answers(client: Any) -> None:
    assert client.get("/pre-stop").status_code == 200
