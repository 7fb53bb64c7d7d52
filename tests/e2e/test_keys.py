"""Access keys on a whole Stoke: made on the command line, used through the gateway, gone when they are taken away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.cli.signed import FcAuth
from tests.support.stoke import Stoke, eventually

SERVICES = "/2016-08-15/services"
INVOKE = f"{SERVICES}/svc/functions/f/invocations"


@pytest.fixture(scope="module")
def stoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    with Stoke(tmp_path_factory.mktemp("keys") / "data", "--listen", "0.0.0.0:0") as running:
        running.deploy("f", {"app.py": "def handler(event, context):\n    return event\n"})
        yield running


def cli(stoke: Stoke, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("stoke")), "keys", *arguments, "--data", str(stoke.data)]
    unset = {name: value for name, value in os.environ.items() if not name.startswith("STOKE_")}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env=unset | environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def told(stoke: Stoke, *arguments: str) -> Any:
    done = cli(stoke, *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(stoke: Stoke, key: dict[str, str], method: str, path: str, content: bytes = b"") -> tuple[int, str]:
    auth = FcAuth(key["access_key_id"], key["access_key_secret"])
    answer = httpx.request(method, stoke.endpoint + path, content=content, auth=auth, timeout=30.0)
    return answer.status_code, answer.json()["ErrorCode"] if answer.status_code >= 400 else ""


def test_without_a_signature_nothing_is_done(stoke: Stoke) -> None:
    for method, path in (("GET", SERVICES), ("POST", INVOKE), ("GET", "/stoke/v1/keys")):
        answer = httpx.request(method, stoke.endpoint + path, timeout=30.0)
        assert (answer.status_code, answer.json()["ErrorCode"]) == (400, "MissingRequiredHeader")
    assert set(httpx.get(f"{stoke.endpoint}/stoke/v1/status").json()) == {"version"}
    assert httpx.post(stoke.trigger_url("f"), content=b"open", timeout=30.0).status_code == 200


def test_a_key_may_do_what_its_role_says_until_it_is_taken_away(stoke: Stoke) -> None:
    key = told(stoke, "create", "--role", "invoke", "--service", "svc", "--description", "shop")
    eventually(lambda: ask(stoke, key, "POST", INVOKE, b'"x"') == (200, ""), "the gateway knows the key", 10.0)
    assert ask(stoke, key, "GET", SERVICES) == (403, "AccessDenied")
    assert ask(stoke, {**key, "access_key_secret": "wrong"}, "POST", INVOKE) == (403, "SignatureNotMatch")
    assert told(stoke, "disable", key["access_key_id"])["enabled"] is False
    refused = (403, "InvalidAccessKeyID")
    eventually(lambda: ask(stoke, key, "POST", INVOKE) == refused, "the gateway refuses the key", 10.0)
    told(stoke, "enable", key["access_key_id"])
    eventually(lambda: ask(stoke, key, "POST", INVOKE, b"1") == (200, ""), "the gateway takes it again", 10.0)
    assert cli(stoke, "remove", key["access_key_id"]).returncode == 2, "nobody could be asked"
    assert cli(stoke, "remove", key["access_key_id"], "-y").returncode == 0
    eventually(lambda: ask(stoke, key, "POST", INVOKE) == refused, "the key is gone", 10.0)
    assert cli(stoke, "enable", key["access_key_id"]).returncode == 1


def test_a_list_shows_no_secret_and_the_store_has_none(stoke: Stoke) -> None:
    key = told(stoke, "create", "--role", "read")
    table = cli(stoke, "list").stdout
    assert key["access_key_id"] in table
    assert key["access_key_secret"] not in table
    files = [path for path in (stoke.data / "store").rglob("*") if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files)
    assert key["access_key_id"].encode() in kept
    assert key["access_key_secret"].encode() not in kept


def test_only_an_admin_manages_keys(stoke: Stoke) -> None:
    key = told(stoke, "create", "--role", "deploy")
    done = cli(
        stoke,
        "list",
        STOKE_ACCESS_KEY_ID=key["access_key_id"],
        STOKE_ACCESS_KEY_SECRET=key["access_key_secret"],
    )
    assert done.returncode == 1
    assert "AccessDenied" in done.stderr
    assert "role deploy" in done.stderr


def test_keys_outlive_every_part(stoke: Stoke) -> None:
    key = told(stoke, "create", "--role", "deploy")
    for part in ("gateway", "control-plane"):
        stoke.await_restart(part, stoke.kill(part))
    eventually(lambda: ask(stoke, key, "POST", INVOKE) == (200, ""), "the gateway knows the key", 15.0)
    eventually(lambda: ask(stoke, key, "GET", f"{SERVICES}/svc") == (200, ""), "the API knows it", 15.0)


def test_files_of_keys_are_for_their_owner_alone(stoke: Stoke) -> None:
    for name in ("credentials.json", "secret.key"):
        assert (stoke.data / name).stat().st_mode & 0o777 == 0o600
