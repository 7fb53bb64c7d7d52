"""Where the command line looks for Stoke and for its key, and in which order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control_plane.cli.endpoint import Credentials, data_folder, find_credentials, find_endpoint
from control_plane.cli.failures import BadInput, Unreachable


def write(path: Path, **values: object) -> None:
    path.write_text(json.dumps(values))


def test_the_option_wins_over_the_environment_and_that_over_the_data_folder(tmp_path: Path) -> None:
    write(tmp_path / "stoke.json", endpoint="http://127.0.0.1:3")
    environment = {"STOKE_ENDPOINT": "http://127.0.0.1:2/"}
    assert find_endpoint("http://127.0.0.1:1", tmp_path, environment) == "http://127.0.0.1:1"
    assert find_endpoint(None, tmp_path, environment) == "http://127.0.0.1:2"
    assert find_endpoint(None, tmp_path, {}) == "http://127.0.0.1:3"


def test_without_any_it_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="start it with `stoke up`") as caught:
        find_endpoint(None, tmp_path, {})
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "wrong",
    ["127.0.0.1:9000", "ftp://host", "http://", "http://host?x=1", "http://[::1", "http://host:x", "http://host:65536"],
)
def test_what_is_no_url_is_refused_by_the_name_of_its_field(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(BadInput, match=r"--endpoint: .* must be a URL"):
        find_endpoint(wrong, tmp_path, {})
    with pytest.raises(BadInput, match=r"STOKE_ENDPOINT: .* must be a URL"):
        find_endpoint(None, tmp_path, {"STOKE_ENDPOINT": wrong})


def test_a_broken_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "stoke.json").write_text("{")
    with pytest.raises(BadInput, match=r"stoke\.json: cannot be read"):
        find_endpoint(None, tmp_path, {})
    (tmp_path / "stoke.json").write_text("[]")
    with pytest.raises(BadInput, match=r"stoke\.json: cannot be read: must be a JSON object"):
        find_endpoint(None, tmp_path, {})


def test_the_data_folder_is_the_option_or_the_variable_or_in_the_home_folder() -> None:
    assert data_folder(Path("/a"), {"STOKE_DATA": "/b"}) == Path("/a")
    assert data_folder(None, {"STOKE_DATA": "/b"}) == Path("/b")
    assert data_folder(None, {}) == Path("~/.stoke").expanduser()


def test_the_key_comes_from_the_environment_else_from_the_data_folder(tmp_path: Path) -> None:
    assert find_credentials(tmp_path, {}) is None
    write(tmp_path / "credentials.json", access_key_id="saved", access_key_secret="s")
    assert find_credentials(tmp_path, {}) == Credentials("saved", "s")
    environment = {"STOKE_ACCESS_KEY_ID": "given", "STOKE_ACCESS_KEY_SECRET": "t"}
    assert find_credentials(tmp_path, environment) == Credentials("given", "t")


def test_half_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="STOKE_ACCESS_KEY_SECRET is not set"):
        find_credentials(tmp_path, {"STOKE_ACCESS_KEY_ID": "given"})


@pytest.mark.parametrize("saved", [{}, {"access_key_id": "a"}, {"access_key_id": 5, "access_key_secret": "s"}])
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, saved: dict[str, object]) -> None:
    write(tmp_path / "credentials.json", **saved)
    with pytest.raises(BadInput, match=r"credentials\.json: must hold access_key_id and access_key_secret, as texts"):
        find_credentials(tmp_path, {})
