"""A code folder as a zip: always the same bytes, and nothing in it that should not travel."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from control_plane.cli.failures import BadInput
from control_plane.cli.package import package


def names(data: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


def write(folder: Path, *files: str) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def test_the_same_files_give_the_same_bytes_whenever_they_were_written(tmp_path: Path) -> None:
    one = write(tmp_path / "one", "b.py", "a.py", "sub/c.py")
    two = write(tmp_path / "two", "sub/c.py", "a.py", "b.py")
    os.utime(two / "a.py", (0, 1_000_000_000))
    (two / "b.py").chmod(0o600)
    assert package(one) == package(two)


def test_files_lie_in_the_zip_as_they_lie_in_the_folder(tmp_path: Path) -> None:
    data = package(write(tmp_path, "app.py", "sub/model.onnx", "sub/deep/x.txt"))
    assert names(data) == ["app.py", "sub/deep/x.txt", "sub/model.onnx"]
    assert zipfile.ZipFile(io.BytesIO(data)).read("sub/deep/x.txt") == b"sub/deep/x.txt"


def test_what_is_made_on_the_way_stays_at_home(tmp_path: Path) -> None:
    write(tmp_path, ".git/config", "__pycache__/a.pyc", ".venv/bin/python", "sub/__pycache__/b", "old.pyc", ".DS_Store")
    write(tmp_path, "app.py", ".env", "git/keep")
    assert names(package(tmp_path)) == [".env", "app.py", "git/keep"]


def test_a_programs_mode_travels(tmp_path: Path) -> None:
    write(tmp_path, "bootstrap", "data")
    (tmp_path / "bootstrap").chmod(0o755)
    modes = {
        i.filename: i.external_attr >> 16 & 0o777 for i in zipfile.ZipFile(io.BytesIO(package(tmp_path))).infolist()
    }
    assert modes == {"bootstrap": 0o755, "data": 0o644}


def test_links_inside_the_folder_are_stored_as_what_they_point_at(tmp_path: Path) -> None:
    write(tmp_path, "real/x.txt")
    (tmp_path / "alias.txt").symlink_to("real/x.txt")
    (tmp_path / "again").symlink_to("real")
    data = package(tmp_path)
    assert names(data) == ["again/x.txt", "alias.txt", "real/x.txt"]
    assert zipfile.ZipFile(io.BytesIO(data)).read("alias.txt") == b"real/x.txt"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("../outside", "leaves the code folder"),
        ("/etc/hostname", "leaves the code folder"),
        ("nowhere", "points to nowhere, which does not exist"),
        (".", "goes round in a circle"),
    ],
)
def test_a_link_that_cannot_be_stored_is_refused_by_name(tmp_path: Path, target: str, expected: str) -> None:
    write(tmp_path, "outside", "code/app.py")
    (tmp_path / "code" / "link").symlink_to(target)
    with pytest.raises(BadInput, match=rf"code/link(/link)*: this link {expected}"):
        package(tmp_path / "code")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "app.py")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="pipe: neither a file nor a folder"):
        package(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file in this code folder"):
        package(tmp_path)


def test_a_zip_is_sent_as_it_is_and_only_if_it_is_one(tmp_path: Path) -> None:
    path = tmp_path / "code.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("app.py", "x")
    assert package(path) == path.read_bytes()
    path.write_text("no zip")
    with pytest.raises(BadInput, match="not a zip file"):
        package(path)
