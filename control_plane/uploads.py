"""Code that was uploaded for a function that is still to be made: which zip, under which name."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

UPLOADS_MAX: Final = 1000  # the oldest go first


class Uploads:
    """Which zip was uploaded under which name."""

    def __init__(self) -> None:
        self._sha256: OrderedDict[str, str] = OrderedDict()

    def keep(self, name: str, sha256: str) -> None:
        self._sha256[name] = sha256
        self._sha256.move_to_end(name)
        if len(self._sha256) > UPLOADS_MAX:
            self._sha256.popitem(last=False)

    def sha256_of(self, name: str) -> str | None:
        return self._sha256.get(name)
