"""What traffic would keep busy if nobody ever waited, second by second, and what that means for each hour of the day.

Pure. From it come the bounds of a search (more instances than this help nobody) and targets by the clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any, Final

from loadtests.simulator.outcome import percentile
from loadtests.simulator.trace import Trace
from provision.times import offset_at, parse_zone

Actions = list[dict[str, Any]]

DAY_S: Final = 86_400
HOURS: Final = 24
ZONE_STEP_S: Final = 900  # clocks change at quarters of an hour


def busy(trace: Trace, service_s: float) -> list[int]:
    """The most requests at once in each second, each taken when it comes. `service_s`: of those that do not say."""
    seconds = math.ceil(trace.duration_s)
    rises = ((at_s, 1) for at_s in trace.arrivals_s)
    falls = ((at_s + trace.service_of(n, service_s), -1) for n, at_s in enumerate(trace.arrivals_s))
    events = sorted(chain(rises, falls))  # at one moment those that end go first
    levels = list(accumulate(change for _, change in events))
    most, level, following = [0] * seconds, 0, 0
    for second in range(seconds):
        while following < len(events) and events[following][0] <= second:
            level, following = levels[following], following + 1
        most[second] = level
        while following < len(events) and events[following][0] < second + 1:
            level, following = levels[following], following + 1
            most[second] = max(most[second], level)
    return most


def hourly(most: Sequence[int], began_utc_s: float, zone_name: str, share: float, slots: int) -> list[int]:
    """Instances for each local hour of the day: as many as so large a share of its seconds need, on all days together.

    An hour that was not seen gets 0.
    """
    zone, seen = parse_zone(zone_name), [list[int]() for _ in range(HOURS)]
    began_s = math.floor(began_utc_s)
    step_s = ZONE_STEP_S - began_s % ZONE_STEP_S
    at = 0
    while at < len(most):
        local_s = began_s + at + offset_at(began_s + at, zone)
        seen[local_s % DAY_S // 3600] += most[at : at + step_s]
        at, step_s = at + step_s, ZONE_STEP_S
    return [math.ceil((percentile(sorted(counts), share) or 0) / slots) for counts in seen]


def actions(levels: Sequence[int], lead_s: float, zone_name: str) -> Actions:
    """Scheduled actions that keep them, a rise so long before its hour; none where all hours are alike."""
    lead = min(math.ceil(lead_s), 3599)
    found = []
    for hour, level in enumerate(levels):
        before = levels[hour - 1]
        if level == before:
            continue
        at_s = (hour * 3600 - (lead if level > before else 0)) % DAY_S
        found.append(
            {
                "name": f"from-{hour:02d}:00",
                "target": level,
                "scheduleExpression": f"cron({at_s % 60} {at_s // 60 % 60} {at_s // 3600} * * *)",
                "timeZone": zone_name,
            }
        )
    return found
