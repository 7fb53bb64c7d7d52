"""On which terms a request enters: its claim on a queue, and the rate limits that it counts against.

Both follow from its head, its trigger, its function and its key, so they are worked out with its passage.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import NamedTuple

from runtime.contract import VersionKey
from runtime.gateway.affinity import session_key
from runtime.gateway.bucket import Bucket, Buckets
from runtime.gateway.claim import PRIORITY, Claim, claim_of
from runtime.gateway.gate import Gate
from runtime.gateway.hall import Hall
from runtime.gateway.headers import RequestHead
from runtime.gateway.retry_budget import RetryBudget
from runtime.gateway.routes import Destination, Entrance
from runtime.gateway.settings import GatewaySettings
from runtime.traffic.asked import Asked


class Terms(NamedTuple):
    claim: Claim
    buckets: tuple[Bucket, ...] | None  # the rate limits that it counts against
    is_for_head: bool  # its head says more of the way than method, target and host do: another head, other terms


class Desk:
    """Knows the terms of all requests, and the bounds of the queues that they wait in."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._buckets = Buckets(settings.gateways)
        self._hall = Hall(settings.all_queues_length_max, settings.all_queues_bytes_max)

    def new_gate(self) -> Gate:
        """A gate, within the bounds of its own and those that hold for all together."""
        settings = self._settings
        retries = RetryBudget(settings.retry_share, settings.retry_least_per_s, monotonic())
        return Gate(settings.queue_length_max, settings.queue_bytes_max, self._hall, retries)

    def terms(
        self,
        asked: Asked,
        head: RequestHead,
        entrance: Entrance | None,
        destination: Destination,
        access_key_id: str,
        *,
        has_rules: bool,
    ) -> Terms:
        """The terms of a request. `entrance` is its trigger, `access_key_id` who has signed it, "" if nobody has;
        `has_rules`: what it says decides about its destination.

        Raises:
            Refusal: 400, what the request says about itself is not allowed.
        """
        has_sessions = entrance is not None and bool(entrance.session_name)
        return Terms(
            self._claim(asked, head, entrance, destination, is_known=bool(access_key_id)),
            self._limits(destination, access_key_id),
            has_rules or has_sessions or head.steering is not None,
        )

    def forget(self, key: VersionKey) -> None:
        """The function is no more."""
        self._buckets.forget(key)

    def _claim(
        self, asked: Asked, head: RequestHead, entrance: Entrance | None, destination: Destination, *, is_known: bool
    ) -> Claim:
        route = destination.route
        return claim_of(
            head,
            priority=PRIORITY if entrance is None else entrance.priority,
            wait_s_max=route.queue_wait_s_max or inf,
            session=b"" if entrance is None or not entrance.session_name else _session(asked, entrance),
            is_known=is_known,
        )

    def _limits(self, destination: Destination, access_key_id: str) -> tuple[Bucket, ...] | None:
        route, settings = destination.route, self._settings
        found: list[Bucket] = []
        if access_key_id and settings.key_requests_per_s:
            name = ("key", access_key_id)
            found.append(self._bucket(name, settings.key_requests_per_s, settings.key_requests_burst))
        if route.requests_per_s:
            found.append(self._bucket(destination.key, route.requests_per_s, route.requests_burst))
        return tuple(found) or None

    def _bucket(self, name: tuple[str, ...], per_s: float, burst: float) -> Bucket:
        return self._buckets.bucket(name, per_s, burst or per_s, monotonic())


def _session(asked: Asked, entrance: Entrance) -> bytes:
    value = asked.value(entrance.session_by, entrance.session_name)
    return session_key(value.encode("latin-1")) if value else b""
