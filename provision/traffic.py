"""What one look told of the requests, beside the averages that are kept: for policies that follow single requests."""

from __future__ import annotations

from typing import NamedTuple


class Traffic(NamedTuple):
    """Of the time since the look before. Without a report of the gateways, `interval_s` is 0 and so are the counts."""

    interval_s: float = 0.0
    arrived: float = 0.0  # requests
    answered: float = 0.0  # requests
    served_s: float = 0.0  # seconds that requests spent in instances
    waiting: int = 0  # requests without a slot now
    in_flight: int = 0  # requests in instances now
    on_demand: int = 0  # ready instances beside those that count as provisioned
    starting_at: tuple[float, ...] = ()  # UTC seconds at which each of the starting ones was launched
