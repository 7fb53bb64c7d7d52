"""Roles, sealed secrets, nonces and keyrings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control_plane.api.presigned import GOOD_FOR_S, is_good, presigned
from control_plane.credentials import has_key, write_secret_key
from runtime.access.local import LocalKey
from runtime.access.nonces import REMEMBERED_S, Nonces
from runtime.access.records import KeyRecord, seal, unsealed
from runtime.access.roles import Access, Need, Right, Role, need_of
from runtime.access.sealing import Box, SealBroken, read_box
from runtime.gateway.authorize import Keyring
from runtime.gateway.refusal import Refusal


@pytest.mark.parametrize(
    ("method", "path", "query", "need"),
    [
        ("GET", "/2016-08-15/services", "", Need(Right.LOOK)),
        ("POST", "/2016-08-15/services", "", Need(Right.CHANGE, asks_later=True)),
        ("GET", "/2021-04-06/services/s/functions/f", "", Need(Right.LOOK, "s")),
        ("PUT", "/2016-08-15/services/s.prod/functions/f/provision-config", "", Need(Right.CHANGE, "s")),
        ("DELETE", "/2016-08-15/services/s", "", Need(Right.CHANGE, "s")),
        ("GET", "/2016-08-15/tempBucketToken", "", Need(Right.CHANGE, asks_later=True)),
        ("POST", "/2016-08-15/services/s.prod/functions/f/invocations", "", Need(Right.INVOKE, "s")),
        ("GET", "/2016-08-15/services/s/functions/f/instances/i/exec", "", Need(Right.CHANGE, "s")),
        ("GET", "/2016-08-15/services/s/functions/exec", "", Need(Right.LOOK, "s")),
        ("PUT", "/2016-08-15/services/s/functions/invocations", "", Need(Right.CHANGE, "s")),
        ("POST", "/2023-03-30/functions/s$f/invocations", "", Need(Right.INVOKE, "s")),
        ("GET", "/2023-03-30/functions/f", "", Need(Right.LOOK, "f")),
        ("GET", "/2023-03-30/functions", "", Need(Right.LOOK)),
        ("GET", "/2016-08-15/provision-configs", "serviceName=s&limit=3", Need(Right.LOOK, "s")),
        ("GET", "/stoke/v1/provision", "service=s&function=f", Need(Right.LOOK, "s")),
        ("GET", "/stoke/v1/instances", "service=s&service=t", Need(Right.LOOK)),
        ("GET", "/stoke/v1/instances/i/logs", "", Need(Right.LOOK, asks_later=True)),
        ("GET", "/stoke/v1/keys", "", Need(Right.MANAGE)),
        ("POST", "/stoke/v1/keys/id/disable", "", Need(Right.MANAGE)),
    ],
)
def test_what_a_request_needs(method: str, path: str, query: str, need: Need) -> None:
    assert need_of(method, path, query) == need


def test_a_role_that_is_missing_is_named_with_those_that_would_do() -> None:
    refusal = Access("id", Role.READ).refusal(Need(Right.INVOKE))
    assert refusal == "access key 'id' has the role read: this needs one of admin, deploy, invoke"
    assert Access("id", Role.INVOKE).refusal(Need(Right.INVOKE, "s")) == ""


def test_a_key_for_some_services_is_refused_for_others_and_for_what_belongs_to_none() -> None:
    access = Access("id", Role.DEPLOY, ("s", "t"))
    assert access.refusal(Need(Right.CHANGE, "s")) == ""
    assert access.refusal(Need(Right.CHANGE, "u")) == "access key 'id' may not touch service 'u': it is for s, t"
    assert "belongs to no single service" in access.refusal(Need(Right.LOOK))
    assert access.refusal(Need(Right.CHANGE, asks_later=True)) == ""


def test_a_nonce_is_good_once_for_each_key_and_is_remembered_for_both_quarters_of_an_hour() -> None:
    nonces = Nonces()
    assert nonces.use("a", "n", 1000.0)
    assert not nonces.use("a", "n", 1000.0)
    assert nonces.use("b", "n", 1000.0)
    assert nonces.use("", "an", 1000.0)
    for later_s in (1.0, REMEMBERED_S - 1, REMEMBERED_S):
        assert not nonces.use("a", "n", 1000.0 + later_s)


def test_no_more_nonces_are_held_than_allowed_and_the_newest_of_them() -> None:
    nonces = Nonces(10)
    for n in range(1000):
        assert nonces.use("a", str(n), 1000.0 + n)
        assert len(nonces) <= 10
    assert not any(nonces.use("a", str(n), 2000.0) for n in range(996, 1000))


def test_what_is_sealed_is_opened_only_with_the_same_key_and_for_the_same_id() -> None:
    box = Box(b"k" * 32)
    sealed = seal(box, "id", "secret", "token")
    assert "secret" not in sealed
    assert sealed != seal(box, "id", "secret", "token"), "two times the same is not seen"
    key = unsealed(box, KeyRecord("id", sealed, "deploy", ["s"], enabled=False))
    assert (key.secret, key.token, key.enabled) == ("secret", "token", False)
    assert key.access == Access("id", Role.DEPLOY, ("s",))
    for other, record in (
        (Box(b"o" * 32), KeyRecord("id", sealed)),
        (box, KeyRecord("other", sealed)),
        (box, KeyRecord("id", sealed[:-8] + "AAAAAAA=")),
        (box, KeyRecord("id", "no base64!")),
    ):
        with pytest.raises(SealBroken):
            unsealed(other, record)


def test_the_sealing_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret.key"
    write_secret_key(path)
    first = path.read_text()
    write_secret_key(path)
    assert path.read_text() == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
    read_box(path)
    path.write_text("short")
    with pytest.raises(ValueError, match="allowed"):
        read_box(path)


def test_a_credentials_file_without_a_key_is_none(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    assert not has_key(path)
    for text, expected in (("", False), ("{}", False), ('{"access_key_id": "a", "access_key_secret": "b"}', True)):
        path.write_text(text)
        assert has_key(path) == expected


def test_a_gateway_opens_keys_with_its_own_file_and_says_when_it_cannot(tmp_path: Path) -> None:
    write_secret_key(tmp_path / "secret.key")
    (tmp_path / "credentials.json").write_text(json.dumps({"access_key_id": "local", "access_key_secret": "s"}))
    keys = Keyring(LocalKey(tmp_path / "credentials.json"), tmp_path / "secret.key")
    record = KeyRecord("id", seal(read_box(tmp_path / "secret.key"), "id", "secret", ""), "invoke")
    assert keys.find("id") is None
    keys.put(record)
    found = keys.find("id")
    assert found is not None
    assert (found.secret, found.access.role) == ("secret", Role.INVOKE)
    keys.put(KeyRecord("id", record.sealed, "read", enabled=False))
    changed = keys.find("id")
    assert changed is not None
    assert not changed.enabled
    keys.remove("id")
    assert keys.find("id") is None
    assert keys.find("local") is not None
    keys.put(KeyRecord("foreign", "AAAA"))
    with pytest.raises(Refusal, match="cannot be read by this gateway") as refusal:
        keys.find("foreign")
    assert refusal.value.status == 503


def test_a_url_is_good_for_its_path_and_for_a_while() -> None:
    path, _, query = presigned("/stoke/v1/code/a", b"key", 1000.0).partition("?")
    values = dict(pair.split("=") for pair in query.split("&"))
    expires, signature = values["expires"], values["signature"]
    assert is_good(path, expires, signature, b"key", 1000.0 + GOOD_FOR_S)
    assert not is_good(path, expires, signature, b"key", 1001.0 + GOOD_FOR_S)
    assert not is_good("/stoke/v1/code/b", expires, signature, b"key", 1000.0)
    assert not is_good(path, str(int(expires) + 1), signature, b"key", 1000.0)
    assert not is_good(path, expires, signature, b"other", 1000.0)
    for odd in ("", "x", "-1", "²", "9" * 20):
        assert not is_good(path, odd, signature, b"key", 1000.0)
