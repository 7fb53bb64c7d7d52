"""A code folder → the zip that is deployed. The same files give the same bytes, whatever their times and owners,
so that deploying what has not changed changes nothing.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from control_plane.cli.failures import BadInput

SKIPPED_FOLDERS: Final = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".stoke", ".s"}
)
SKIPPED_SUFFIXES: Final = (".pyc", ".pyo")
SKIPPED_FILES: Final = frozenset({".DS_Store"})

_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold
_EXECUTABLE: Final = 0o755
_PLAIN: Final = 0o644


def package(code: Path) -> bytes:
    """A folder as a zip, or the bytes of a file that is one already.

    Links to files and folders inside `code` are stored as what they point at.

    Raises:
        BadInput: a link that leaves the folder, points nowhere or goes round in circles; something that is neither
            file, folder nor link; an empty folder; a .zip that is none.
    """
    if code.is_file():
        data = code.read_bytes()
        if not zipfile.is_zipfile(io.BytesIO(data)):
            raise BadInput(f"{code}: not a zip file")
        return data
    files = sorted(_files(code, code, ()), key=lambda item: item[0])
    if not files:
        raise BadInput(f"{code}: there is no file in this code folder")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, path in files:
            executable = path.stat().st_mode & stat.S_IXUSR
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.create_system = 3  # Unix, where the mode is read from
            info.external_attr = (stat.S_IFREG | (_EXECUTABLE if executable else _PLAIN)) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())
    return buffer.getvalue()


def _files(folder: Path, root: Path, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """(name in the zip, file) of everything below `folder`; `above` are the real folders we came through."""
    real = folder.resolve()
    if real in above:
        raise BadInput(f"{folder}: this link goes round in a circle")
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        path = Path(entry.path)
        if _is_skipped(entry):
            continue
        if entry.is_symlink():
            _check_link(path, root)
        if entry.is_dir():
            yield from _files(path, root, (*above, real))
        elif entry.is_file():
            yield path.relative_to(root).as_posix(), path
        else:
            raise BadInput(f"{path}: neither a file nor a folder, and cannot be deployed")


def _is_skipped(entry: os.DirEntry[str]) -> bool:
    if entry.name in SKIPPED_FOLDERS and entry.is_dir():
        return True
    return entry.name in SKIPPED_FILES or entry.name.endswith(SKIPPED_SUFFIXES)


def _check_link(path: Path, root: Path) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise BadInput(f"{path}: this link points to {path.readlink()}, which does not exist") from error
    if not target.is_relative_to(root.resolve()):
        raise BadInput(f"{path}: this link leaves the code folder ({target}); copy what it points at into the folder")
