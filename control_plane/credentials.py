"""The local access key, in a file that only its owner may read. Standard library only."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path


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
