"""How fast things go for one policy: what requests and launches take, and what waiting is allowed."""

from __future__ import annotations

from typing import NamedTuple


class Pace(NamedTuple):
    """In seconds."""

    service_s: float  # of one request
    launch_s: float  # from the launch until ready
    limit_s: float  # that a request may wait
    slots: int  # of one instance

    @property
    def rate(self) -> float:
        """Requests a second that one instance answers."""
        return self.slots / self.service_s
