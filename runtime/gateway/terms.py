"""On which terms a request enters: its claim on a queue, and the rate limits that it counts against.

Both follow from its head, its trigger, its function and its key, so they are worked out with its passage.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import Final

from runtime.gateway.affinity import session_key
from runtime.gateway.bucket import Bucket, Buckets
from runtime.gateway.claim import PRIORITY, Claim, claim_of
from runtime.gateway.headers import RequestHead
from runtime.gateway.routes import Destination, Entrance, VersionKey
from runtime.gateway.settings import GatewaySettings
from runtime.traffic.asked import Asked

# What a waiting request holds beside its body, as far as it is ours to count: connection, head, its own objects.
_FIXED_BYTES: Final = 4096


class Terms:
    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._buckets = Buckets()

    def claim(
        self, asked: Asked, head: RequestHead, entrance: Entrance | None, destination: Destination, *, is_known: bool
    ) -> Claim:
        """Raises Refusal: 400, what the request says about itself is not allowed."""
        route = destination.route
        return claim_of(
            head,
            held_bytes=_FIXED_BYTES + self._held_body_bytes(head),
            priority=PRIORITY if entrance is None else entrance.priority,
            wait_s_max=route.queue_wait_s_max or inf,
            session=b"" if entrance is None or not entrance.session_name else _session(asked, entrance),
            is_known=is_known,
        )

    def buckets(self, destination: Destination, access_key_id: str) -> tuple[Bucket, ...] | None:
        """The limits that hold for a request; None: there are none."""
        route, settings = destination.route, self._settings
        found: list[Bucket] = []
        if access_key_id and settings.key_requests_per_s:
            name = ("key", access_key_id)
            found.append(self._bucket(name, settings.key_requests_per_s, settings.key_requests_burst))
        if route.requests_per_s:
            found.append(self._bucket(destination.key, route.requests_per_s, route.requests_burst))
        return tuple(found) or None

    def forget(self, key: VersionKey) -> None:
        """The function is no more."""
        self._buckets.forget(key)

    def _bucket(self, name: tuple[str, ...], per_s: float, burst: float) -> Bucket:
        return self._buckets.bucket(name, per_s, burst or per_s, monotonic())

    def _held_body_bytes(self, head: RequestHead) -> int:
        """What is held of a body while its request waits, at most."""
        most = self._settings.held_body_bytes_max
        return most if head.is_chunked else min(head.content_length or 0, most)


def _session(asked: Asked, entrance: Entrance) -> bytes:
    value = asked.value(entrance.session_by, entrance.session_name)
    return session_key(value.encode("latin-1")) if value else b""
