"""What a Prometheus server is shown: read from a file that names where secrets stand, and never has them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from control_plane.prometheus_access import Access, access_of, read_access

URL = "https://prometheus.example"


def written(folder: Path, *servers: dict[str, Any]) -> Path:
    path = folder / "access.json"
    path.write_text(json.dumps(servers), encoding="utf-8")
    return path


def one(folder: Path, **fields: Any) -> Access:
    return read_access(written(folder, {"url": URL, **fields}))[0]


def test_without_a_file_nobody_is_shown_anything() -> None:
    assert read_access(None) == ()
    assert access_of(URL, ()) is None


def test_a_token_of_the_environment_is_shown_as_a_bearers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_TOKEN", "t0ken")
    assert one(tmp_path, bearerToken={"env": "PROMETHEUS_TOKEN"}).headers() == {"authorization": "Bearer t0ken"}


def test_a_password_of_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    access = one(tmp_path, username="stoke", password={"file": str(secret)})
    for password in ("first", "renewed: öl"):
        secret.write_text(f"{password}\n", encoding="utf-8")
        scheme, _, pair = access.headers()["authorization"].partition(" ")
        assert (scheme, base64.b64decode(pair).decode()) == ("Basic", f"stoke:{password}")


def test_a_secret_that_is_not_to_be_had_is_told_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    with pytest.raises(ValueError, match=r"^the environment variable NO_SUCH_TOKEN has no secret$"):
        one(tmp_path, bearerToken={"env": "NO_SUCH_TOKEN"}).headers()
    with pytest.raises(ValueError, match="none cannot be read: FileNotFoundError"):
        one(tmp_path, bearerToken={"file": str(tmp_path / "none")}).headers()
    (tmp_path / "two").write_text("one line\nx-evil: another", encoding="utf-8")
    with pytest.raises(ValueError, match="two has no secret of one line") as told:
        one(tmp_path, bearerToken={"file": str(tmp_path / "two")}).headers()
    assert "evil" not in str(told.value)


def test_of_several_the_one_with_the_longest_path_counts(tmp_path: Path) -> None:
    servers = read_access(written(tmp_path, {"url": f"{URL}/"}, {"url": f"{URL}/team/a"}, {"url": "http://other:1"}))
    assert access_of(f"{URL}/team/a/sub", servers) is servers[1]
    assert access_of(f"{URL}/team/ab", servers) is servers[0]
    assert access_of("https://prometheus.example.evil", servers) is None
    assert access_of("http://prometheus.example", servers) is None, "what goes over TLS does not go without"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"bearerToken": "s3cret"}, r"0\.bearerToken: "),
        ({"bearerToken": {}}, "must have either env, the name of a variable, or file"),
        ({"bearerToken": {"env": "A", "file": "b"}}, "must have either env"),
        ({"bearerToken": {"value": "s3cret"}}, r"0\.bearerToken\.value: Extra inputs are not permitted"),
        ({"password": {"env": "A"}}, "username and password go together"),
        ({"username": "a:b", "password": {"env": "A"}}, r"0\.username: "),
        ({"username": "a", "password": {"env": "A"}, "bearerToken": {"env": "A"}}, "either bearerToken or username"),
        ({"url": "http://a", "caFile": "ca.pem"}, "caFile is ca.pem: only an https:// url has use for it"),
        ({"caFile": "/none/ca.pem"}, "caFile is /none/ca.pem: must be a file with certificates"),
        ({"url": "ftp://a"}, "url is ftp://a: must be an http:// or https:// URL"),
        ({"url": "https://u:p@a"}, "must be an http:// or https:// URL without a user"),
        ({"tokken": {"env": "A"}}, r"0\.tokken: Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_named_and_no_value_that_could_be_a_secret(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as told:
        one(tmp_path, **fields)
    assert str(told.value).startswith("prometheus_access: ")
    assert "s3cret" not in str(told.value)


def test_a_file_that_is_not_there_or_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"prometheus_access: .*none cannot be read: No such file"):
        read_access(tmp_path / "none")
    (tmp_path / "x").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"prometheus_access: .*x: it: Invalid JSON"):
        read_access(tmp_path / "x")
