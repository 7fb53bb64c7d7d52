"""Which policies a simulation can be asked about, and that they are the ones that decide live."""

from __future__ import annotations

from typing import Any

import pytest

from loadtests.simulator.run import simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import Trace
from provision.config import parse
from tests.unit.provision_story import tracking

# Requests of 10 s: one more at once each 20 s, for ten minutes.
RISING = Trace("rising", tuple(float(t) for t in range(600) for _ in range(1 + t // 20) if t % 10 == 0), 600.0)
SCENARIO = Scenario(service_s=10.0, launch_s=40.0, on_demand_max=0, wait_limit_s=1.0)


def simulated(**changes: Any) -> Any:
    policy = tracking(minCapacity=2, maxCapacity=100, metricTarget=1.0, **changes)
    return simulate_config(RISING, SCENARIO, parse({"target": 2, "targetTrackingPolicies": [policy]}))


def test_a_forecast_is_simulated_with_the_launch_time_of_the_scenario() -> None:
    changes = simulated(forecast={"season": "none"}).changes
    assert any("in 40 s by trend" in reason for change in changes for reason in change.reasons)


def test_behavior_is_simulated() -> None:
    changes = simulated(behavior="HPA").changes
    assert any("hpa of " in reason for change in changes for reason in change.reasons)


def test_prometheus_is_refused_in_words() -> None:
    asked = {"metricType": "Prometheus", "url": "http://127.0.0.1:9090", "query": "sum(up)"}
    with pytest.raises(ValueError, match=r"targetTrackingPolicies\[0\]\.metricType is Prometheus: a simulation has "):
        simulated(**asked)
