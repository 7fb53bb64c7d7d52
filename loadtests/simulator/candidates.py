"""The provision configs that a search tries, family by family, each from the cheapest to the surest. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadtests.simulator.busy import Actions
from provision.config import PERCENTILE_MAX, ProvisionConfig, parse

UTILIZATIONS: Final = (0.9, 0.7, 0.5, 0.35)
# Of a span's seconds that a schedule has enough for; what is beyond waits, or falls to a policy beside it.
SHARES: Final = (0.5, 0.8, 0.95, 0.99, 1.0)
# Of the static number, as minimum: a floor saves a burst's first launches, and the last ones are nearly static.
FLOORS: Final = (0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A config, what it is called in the evidence, and how much there is to understand about it."""

    name: str
    simplicity: int  # 0 is simplest
    config: ProvisionConfig
    floor: int = 0  # it never has fewer instances


@dataclass(frozen=True, slots=True)
class Wanted:
    """The SLO, and within what."""

    wait_s: float
    share: float  # of requests that wait no longer
    max_capacity: int


Family = Sequence[Candidate]


def statics(most: int) -> Family:
    return [Candidate(f"static {count}", 0, parse({"target": count}), count) for count in range(most + 1)]


def floors(static: int, max_capacity: int) -> list[int]:
    """Minimums worth trying beside so many static instances."""
    found = {0, 1, *(math.ceil(part * static) for part in FLOORS)}
    return sorted(floor for floor in found if floor <= max_capacity)


def by_slo(wanted: Wanted, minimums: Sequence[int]) -> Iterator[Family]:
    """As wanted, and with half of the late requests that are allowed; each from its lowest minimum on."""
    shares = dict.fromkeys(min(share, PERCENTILE_MAX) for share in (wanted.share, (1.0 + wanted.share) / 2.0))
    for share in shares:
        yield [
            Candidate(f"SLO {share:.4g}, from {floor}", 2, _policies(floor, _slo(wanted, share, floor)), floor)
            for floor in minimums
        ]


def by_utilization(wanted: Wanted, minimums: Sequence[int]) -> Iterator[Family]:
    for floor in minimums:
        yield [
            Candidate(f"utilization {u:g}, from {floor}", 1, _policies(floor, _utilization(wanted, u, floor)), floor)
            for u in UTILIZATIONS
        ]


def by_season(wanted: Wanted, floor: int) -> Family:
    """Utilization that looks ahead by the same time of past days."""
    return [
        Candidate(
            f"utilization {u:g} with forecast, from {floor}",
            2,
            _policies(floor, _utilization(wanted, u, floor) | {"forecast": {"season": "day"}}),
            floor,
        )
        for u in UTILIZATIONS
    ]


def by_clock(wanted: Wanted, schedule_of: Callable[[float], Actions]) -> Iterator[Family]:
    """Schedules alone, with the SLO policy beside them, and with a utilization; none where hours are alike."""
    schedules = [(share, schedule_of(share)) for share in SHARES]
    schedules = [(share, actions) for share, actions in schedules if actions]
    beside: dict[str, tuple[int, dict[str, Any] | None]] = {
        "": (3, None),
        " + SLO": (4, _slo(wanted, wanted.share, 0)),
        " + utilization 0.7": (4, _utilization(wanted, 0.7, 0)),
    }
    for said, (simplicity, policy) in beside.items():
        if schedules:
            yield [
                Candidate(f"schedule {share:g}{said}", simplicity, _scheduled(actions, policy, wanted.max_capacity))
                for share, actions in schedules
            ]


def _policies(floor: int, *policies: dict[str, Any]) -> ProvisionConfig:
    return parse({"target": floor, "targetTrackingPolicies": list(policies)})


def _scheduled(actions: Actions, policy: dict[str, Any] | None, max_capacity: int) -> ProvisionConfig:
    bounded = [action | {"target": min(action["target"], max_capacity)} for action in actions]
    return parse({"scheduledActions": bounded, "targetTrackingPolicies": [] if policy is None else [policy]})


def _slo(wanted: Wanted, share: float, floor: int) -> dict[str, Any]:
    return {
        "name": "wait",
        "metricType": "QueueWaitMilliseconds",
        "metricTarget": round(wanted.wait_s * 1000.0, 6),
        "percentile": round(share, 6),
        "minCapacity": floor,
        "maxCapacity": wanted.max_capacity,
    }


def _utilization(wanted: Wanted, target: float, floor: int) -> dict[str, Any]:
    return {
        "name": "utilization",
        "metricType": "ProvisionedConcurrencyUtilization",
        "metricTarget": target,
        "minCapacity": floor,
        "maxCapacity": wanted.max_capacity,
    }
