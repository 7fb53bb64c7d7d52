"""FC's published Python SDKs against a whole Stoke: every operation they have, what they sign, and every error."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from control_plane.errors import ConcurrentUpdate, Unavailable
from runtime.contract import InstanceState
from tests.support import sdk as sdks
from tests.support.api_server import api_server
from tests.support.gateway import KEY_ID, SECRET, world
from tests.support.sdk import SCRIPTS, SDKS, Keys, python_of
from tests.support.stoke import Stoke

ANY_KEY: Keys = {"admin": {"id": KEY_ID, "secret": SECRET}}


@dataclass
class Driven:
    """One SDK and a Stoke of its own; a script runs once."""

    sdk: str
    folder: Path
    stoke: Stoke
    _said: dict[str, list[str]] = field(default_factory=dict)

    def said(self, script: str, *arguments: str) -> list[str]:
        if script not in self._said:
            keys = self._keys()
            folder = self.folder / script
            assert not folder.exists(), f"{script} has failed before"
            self._said[script] = sdks.run(self.sdk, f"{script}.py", self.stoke.endpoint, folder, keys, *arguments)
        return self._said[script]

    def _keys(self) -> Keys:
        own = json.loads((self.stoke.data / "credentials.json").read_text())
        admin = {"id": own["access_key_id"], "secret": own["access_key_secret"]}
        read, bearer = self._new_key(role="read"), self._new_key(role="admin", withToken=True)
        return {
            "admin": admin,
            "wrong": admin | {"secret": "wrong"},
            "nobody": {"id": "LTAInobody", "secret": "wrong"},
            "read": read,
            "token": bearer,
            "another token": bearer | {"token": "another"},
            "no token": bearer | {"token": ""},
        }

    def _new_key(self, **values: object) -> dict[str, str]:
        made = self.stoke.call("POST", "/stoke/v1/keys", values)
        return {
            "id": made["access_key_id"],
            "secret": made["access_key_secret"],
            "token": made.get("security_token", ""),
        }


@pytest.fixture(scope="module", params=SDKS)
def driven(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    python_of(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    stoke = Stoke(folder / "data", "--listen", "127.0.0.1:0")
    try:
        yield Driven(request.param, folder, stoke.up())
    finally:
        stoke.down()


@pytest.mark.parametrize("sdk", SDKS)
def test_every_public_operation_of_an_sdk_is_listed(sdk: str) -> None:
    command = [str(python_of(sdk)), str(SCRIPTS / "operations.py"), sdk]
    operations = subprocess.run(command, capture_output=True, text=True, timeout=60.0, check=True).stdout.split()
    assert sorted(call.name for call in sdks.calls(sdk)) == operations


def test_every_operation_that_is_listed_is_answered_as_the_sdk_expects(driven: Driven) -> None:
    said = driven.said(f"calls_{driven.sdk}")
    unseen = [
        call
        for call in sdks.calls(driven.sdk)
        if call.how != "uncalled" and not any(call.is_shown_by(line) for line in said)
    ]
    assert unseen == []


def test_what_was_not_signed_like_this_by_a_key_that_may_is_refused(driven: Driven) -> None:
    said = driven.said("signatures", driven.sdk)
    for why in ("another secret", "another body", "a clock that is -960 s off", "another token", "no token"):
        for asked in ("make", "invoke"):
            assert any(line.startswith(f"refused {why}: {asked} 403 ") for line in said), (why, asked)
    if driven.sdk != "fc2":
        assert said.count("refused replay 403 SignatureNonceUsed") == 2, "at the API and at the gateway"


def test_every_error_that_the_calls_should_meet_is_met(driven: Driven) -> None:
    own = f"calls_{driven.sdk}"
    for status, code, script in sdks.errors():
        if script in (own, "signatures"):
            if (script, code) == ("signatures", "SignatureNonceUsed") and driven.sdk == "fc2":
                continue  # its scheme has no nonce
            said = driven.said(script, *([driven.sdk] if script == "signatures" else []))
            assert any(line.endswith(f" {status} {code}") for line in said), (status, code, script)


@pytest.mark.parametrize("sdk", SDKS)
async def test_a_function_that_is_out_of_instances_or_cannot_be_started_says_so(
    sdk: str, store_url: str, tmp_path: Path
) -> None:
    function = "g"
    async with world(store_url, "--queue-wait-s", "0.3") as w:
        endpoint = f"http://127.0.0.1:{w.gateway.port}"
        service = "g" if sdk == "fc20230330" else "s"
        await w.put_function(function, service)
        await w.settle()
        ask = (sdk, "refusals.py", endpoint)
        sdks.run(*ask, tmp_path / "busy", ANY_KEY, sdk, "invoke", "429", "ResourceExhausted")
        failed = {"service": service, "function": function}
        await w.put_instance("i1", "", InstanceState.FAILED, reason="exit status 3", **failed)
        await w.settle()
        said = sdks.run(*ask, tmp_path / "failed", ANY_KEY, sdk, "invoke", "412", "CAExited")
        assert said[-1] == "The function either cannot be started or exited. exit status 3"


# aliyun-fc2 asks five times more for 30 s when it is answered 500 or, with Retry-After, 503.
@pytest.mark.parametrize("sdk", SDKS[1:])
@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (RuntimeError("a mistake"), "500", "InternalServerError"),
        (Unavailable("the store does not answer"), "503", "ServiceUnavailable"),
        (ConcurrentUpdate("others were faster"), "409", "ConcurrentUpdateError"),
    ],
)
def test_what_goes_wrong_inside_is_told_as_clients_read_it(
    sdk: str, raised: Exception, status: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*arguments: object, **named: object) -> None:
        raise raised

    python_of(sdk)
    with api_server(tmp_path) as server:
        for name in ("list_services", "list_every_function"):
            monkeypatch.setattr(server.registry, name, fails)
        said = sdks.run(sdk, "refusals.py", server.endpoint, tmp_path / "files", ANY_KEY, sdk, "look", status, code)
    assert said[0] == f"refused look {status} {code}"
