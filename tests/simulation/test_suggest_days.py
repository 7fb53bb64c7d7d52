"""Days that are alike: a schedule read from one day keeps the SLO on the next, for less than static instances."""

from __future__ import annotations

from loadtests.simulator.busy import actions, busy, hourly
from loadtests.simulator.outcome import between
from loadtests.simulator.run import simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import BEGAN_UTC_S, Trace, trace_of
from provision.config import parse

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
# Slow in everything, so that two days are few decisions: a launch takes a quarter of an hour.
SLOW = Scenario(
    service_s=120.0, launch_s=900.0, wait_limit_s=60.0, on_demand_max=0, tick_s=60.0, tick_phase_s=30.0,
    report_every_s=60.0,
)  # fmt: skip


def office_days() -> Trace:
    """Eight at once from 8 to 18 o'clock in Shanghai, one at once otherwise, from 8 in the morning there."""
    arrivals, at_s = list[tuple[float, float | None]](), 0.0
    while at_s < 2 * DAY_S:
        arrivals.append((at_s, None))
        at_s += SLOW.service_s / (8.0 if at_s % DAY_S < 10 * HOUR_S else 1.0) * 1.001
    return trace_of("office", arrivals, began_utc_s=BEGAN_UTC_S, duration_s=2 * DAY_S)


def test_a_schedule_of_one_day_keeps_the_next_for_half_of_what_static_instances_cost() -> None:
    trace = office_days()
    known = busy(trace, SLOW.service_s)[: int(DAY_S)]
    found = actions(
        hourly(known, trace.began_utc_s, "Asia/Shanghai", 0.95, 1), SLOW.launch_s + SLOW.tick_s, "Asia/Shanghai"
    )
    by_clock, static = (
        between(simulate_config(trace, SLOW, parse(config)), DAY_S, 2 * DAY_S)
        for config in ({"scheduledActions": found}, {"target": 8})
    )
    assert {one["scheduleExpression"]: one["target"] for one in found} == {
        "cron(0 44 7 * * *)": 8,
        "cron(0 0 18 * * *)": 1,
    }
    assert by_clock.attainment >= 0.99
    assert by_clock.instance_seconds < 0.6 * static.instance_seconds
