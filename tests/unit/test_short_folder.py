"""The folder for sockets whose paths would be too long: whose it is, and when it goes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from runtime import short_folder

LONG = Path("/srv", "long-" * 20)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_path_of_more_than_100_bytes_is_too_long_for_a_socket() -> None:
    assert short_folder.fits(Path("/" + "x" * 99))
    assert not short_folder.fits(Path("/" + "x" * 100))
    assert not short_folder.fits(Path("/" + "é" * 50))


def test_its_name_is_short_and_follows_from_that_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert short_folder.path_of(LONG) == short_folder.path_of(LONG)
    assert short_folder.path_of(LONG) != short_folder.path_of(LONG / "run")
    monkeypatch.chdir("/")
    assert short_folder.path_of(Path("srv")) == short_folder.path_of(Path("/srv"))
    assert len(short_folder.path_of(LONG).name) < 40


def test_it_is_this_users_alone_and_made_once(temporary: Path) -> None:
    path = short_folder.make(LONG)
    assert path == short_folder.path_of(LONG) == short_folder.make(LONG)
    assert path.stat().st_mode & 0o777 == 0o700
    assert list(temporary.iterdir()) == [path]


def test_what_was_left_in_it_is_found_again() -> None:
    (short_folder.make(LONG) / "node.sock").touch()
    assert (short_folder.make(LONG) / "node.sock").exists()


@pytest.mark.parametrize("kind", ["a link", "a file", "another user's"])
def test_what_is_not_this_users_own_folder_is_refused_by_name(
    kind: str, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = short_folder.path_of(LONG)
    if kind == "a link":
        (temporary / "elsewhere").mkdir()
        path.symlink_to(temporary / "elsewhere")
    elif kind == "a file":
        path.touch()
    else:
        path.mkdir()
        there = path.lstat()
        monkeypatch.setattr(Path, "lstat", lambda _: os.stat_result((*there[:4], there.st_uid + 1, *there[5:])))
    with pytest.raises(PermissionError, match=f"{path} must be a folder of user {os.getuid()}"):
        short_folder.make(LONG)


def test_it_goes_when_nothing_lies_in_it(temporary: Path) -> None:
    short_folder.make(LONG)
    short_folder.remove(LONG)
    assert list(temporary.iterdir()) == []
    short_folder.remove(LONG)


def test_it_stays_while_something_lies_in_it() -> None:
    socket = short_folder.make(LONG) / "i-1.sock"
    socket.touch()
    short_folder.remove(LONG)
    assert socket.exists()
