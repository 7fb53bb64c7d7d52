"""The local access key: that of this machine's credentials file, an admin's."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

from runtime.access.records import AccessKey
from runtime.access.roles import Access, Role

log = logging.getLogger(__name__)

FILE_NAME: Final = "credentials.json"


class LocalKey:
    """The key in a file that may be written, or written anew, while the process runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at_ns = -1
        self._key: AccessKey | None = None

    def current(self) -> AccessKey | None:
        """The key as the file has it now; None without one. Costs a stat."""
        try:
            changed_at_ns = self._path.stat().st_mtime_ns
        except OSError:
            return None
        if changed_at_ns != self._read_at_ns:
            try:
                values = json.loads(self._path.read_bytes())
                key_id = str(values["access_key_id"])
                self._key = AccessKey(Access(key_id, Role.ADMIN), str(values["access_key_secret"]))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.error("credentials-unreadable path=%s error=%r", self._path, str(error))
                self._key = None
            self._read_at_ns = changed_at_ns
        return self._key

    def find(self, access_key_id: str) -> AccessKey | None:
        """The local key if it has this id."""
        key = self.current()
        return key if key is not None and key.access.access_key_id == access_key_id else None
