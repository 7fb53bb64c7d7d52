"""A suggestion of days: searched coarse to fine in several processes, and kept on the whole recording."""

from __future__ import annotations

import random

import pytest

from loadtests.simulator.outcome import between
from loadtests.simulator.run import simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.suggestion import Asked, suggest
from loadtests.simulator.trace import BEGAN_UTC_S, Trace, trace_of
from provision.config import parse

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
# Slow in everything, so that three days are few decisions.
SLOW = Scenario(
    service_s=60.0, launch_s=300.0, on_demand_max=0, tick_s=60.0, tick_phase_s=30.0, report_every_s=60.0,
    history_s=1200.0,
)  # fmt: skip


def three_days() -> Trace:
    """By chance: six at once by day, one at once by night, and a crowd each evening."""
    chance, arrivals, at_s = random.Random(3), list[tuple[float, float | None]](), 0.0
    while at_s < 3 * DAY_S:
        hour = at_s % DAY_S / HOUR_S
        at_once = 12.0 if 19.0 <= hour < 19.5 else 6.0 if 8.0 <= hour < 18.0 else 1.0
        arrivals.append((at_s, None))
        at_s += chance.expovariate(at_once / SLOW.service_s)
    return trace_of("days", arrivals, began_utc_s=BEGAN_UTC_S, duration_s=3 * DAY_S)


@pytest.mark.long
def test_three_days_are_searched_by_parts_and_what_is_taken_keeps_its_slo_on_the_whole() -> None:
    trace, asked, told = three_days(), Asked(wait_s=240.0, share=0.95), list[str]()
    made = suggest(trace, SLOW, asked, lambda number, name: told.append(f"{number} {name}"), jobs=2)
    assert made.chosen is not None
    assert made.static is not None
    assert made.config is not None
    assert made.chosen.instance_seconds <= made.static.instance_seconds
    assert len(made.tried) <= 30, "each costs a pass over all days"
    assert any(name.endswith("on a part") for name in told)
    record = simulate_config(trace, made.scenario, parse(made.config))
    for begin_s, end_s in ((SLOW.history_s, made.split_s), (made.split_s, trace.duration_s)):
        assert between(record, begin_s, end_s).attainment >= asked.share
    fewer = simulate_config(trace, made.scenario, parse({"target": made.static.candidate.floor - 1}))
    parts = (between(fewer, SLOW.history_s, made.split_s), between(fewer, made.split_s, trace.duration_s))
    assert min(part.attainment for part in parts) < asked.share, "no fewer static instances do"
