"""The local access key, and the key that seals the secrets of all others, each in a file that only its owner may read.

Standard library only: the supervisor imports it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path

from runtime.access.sealing import new_key


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    partial = path.with_name(path.name + ".tmp")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_credentials(path: Path) -> None:
    """The local access key: STOKE_ACCESS_KEY_ID and _SECRET when both are set, else one made on the first start."""
    key_id, secret = os.environ.get("STOKE_ACCESS_KEY_ID"), os.environ.get("STOKE_ACCESS_KEY_SECRET")
    if not (key_id and secret):
        if path.exists():
            return
        key_id, secret = "LTAI" + secrets.token_hex(8), secrets.token_urlsafe(30)
    write_private(path, json.dumps({"access_key_id": key_id, "access_key_secret": secret}))


def write_secret_key(path: Path) -> None:
    """Make DATA/secret.key when there is none. It is never replaced: what it sealed could not be opened any more."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f"{path.name}.{os.getpid()}")
    write_private(whole, new_key())
    with contextlib.suppress(FileExistsError):
        os.link(whole, path)  # of two that make one at once, the first wins, and neither reads half a file
    whole.unlink()


def has_key(path: Path) -> bool:
    """Whether a credentials file holds a key."""
    try:
        values = json.loads(path.read_text())
        return bool(values["access_key_id"] and values["access_key_secret"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
