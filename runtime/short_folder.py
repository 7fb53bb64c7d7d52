"""A folder with a short name in place of another, for unix sockets: the path of one has 107 bytes at most (unix(7)).

Its name follows from that of the other, so whoever comes after a crash finds it, and in it the sockets of what lives.
It is for the one process that holds the lock of the other folder, and for those whom it tells of it: nobody else may
make or remove it, or a folder could go in the moment before a socket is made in it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_SOCKET_PATH_BYTES_MAX: Final = 100  # some are left for those who add a suffix


def fits(path: Path) -> bool:
    """May a unix socket have this path?"""
    return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX


def path_of(folder: Path) -> Path:
    """Where the short folder of this one is, if it was made."""
    digest = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"stoke-{os.getuid()}-{digest}"


def make(folder: Path) -> Path:
    """Have the short folder of this one; gives its path. The second time does nothing.

    Raises:
        PermissionError: what lies there is another user's, or a link: what is made in it would not be ours alone.
    """
    path = path_of(folder)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{path} must be a folder of user {os.getuid()}, for sockets of {folder}")
    return path


def remove(folder: Path) -> None:
    """Remove the short folder of this one, unless something lies in it. One that is not there is no error."""
    with suppress(OSError):
        path_of(folder).rmdir()
