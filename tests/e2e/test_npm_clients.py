"""FC's published npm clients against a whole Stoke of real processes: every call they have, read as they read it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.npm import run_driver
from tests.support.stoke import Stoke, zipped

CALLS_MIN = {"fc2": 100, "fc20230330": 85}

HANDLER = """
import json


def handler(event, context):
    if event == b"fail":
        raise ValueError("as asked")
    if b'"requestContext"' not in event:
        return event[::-1]
    asked = json.loads(event)
    return {"path": asked["rawPath"], "query": asked["queryParameters"], "body": asked["body"]}
"""


@pytest.fixture(scope="module")
def stoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    folder: Path = tmp_path_factory.mktemp("stoke")
    with Stoke(folder / "data", "--listen", "127.0.0.1:0") as running:
        yield running


@pytest.mark.parametrize("client", sorted(CALLS_MIN))
def test_every_call_of_a_published_npm_client_is_answered_as_it_expects(
    client: str, tmp_path: Path, stoke: Stoke
) -> None:
    (tmp_path / "code.zip").write_bytes(base64.b64decode(zipped({"app.py": HANDLER})))
    key = json.loads((stoke.data / "credentials.json").read_text())
    environment = {
        "STOKE_ACCOUNT_ID": stoke.call("GET", "/stoke/v1/status")["account_id"],
        "STOKE_ACCESS_KEY_ID": key["access_key_id"],
        "STOKE_ACCESS_KEY_SECRET": key["access_key_secret"],
    }
    printed = run_driver(f"calls_npm_{client}.cjs", stoke.endpoint, str(tmp_path), environment=environment)
    assert len(printed.splitlines()) >= CALLS_MIN[client]
