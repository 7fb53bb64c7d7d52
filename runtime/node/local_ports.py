"""Ports on 127.0.0.1 for the servers of custom runtimes: each live instance has its own."""

from __future__ import annotations

import random
import socket
from typing import Final

# Below the range the kernel takes for outgoing connections: a port of that range could be taken between our choice and
# the server's bind, and a connect to one that nobody listens on can meet itself and look like a success.
FIRST: Final = 20_000
LAST: Final = 32_000


class LocalPorts:
    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()  # noqa: S311 - spreads nodes of one machine, hides nothing
        self._taken: set[int] = set()

    def take(self) -> int:
        """A port that no live instance has and nobody listens on. Raises OSError when there is none."""
        start = self._chance.randrange(FIRST, LAST + 1)
        count = LAST - FIRST + 1
        for offset in range(count):
            port = FIRST + (start - FIRST + offset) % count
            if port not in self._taken and _is_free(port):
                self._taken.add(port)
                return port
        raise OSError(f"no free port between {FIRST} and {LAST}")

    def mark(self, port: int) -> None:
        """An instance that was found again has it."""
        self._taken.add(port)

    def give(self, port: int) -> None:
        self._taken.discard(port)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do it: the last connections of a server that ended are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - nobody listens here; it finds those on any address
        except OSError:
            return False
    return True
