"""Whole hours in the simulator: how long they take, what the least is that they need, what a forecast does there."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from loadtests.bench import forecast
from loadtests.simulator.compare import FILES, SCENARIOS, STOKE, TRACES, slo
from loadtests.simulator.formats import read_trace
from loadtests.simulator.outcome import outcome
from loadtests.simulator.run import simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import Trace
from provision.config import ProvisionConfig


def test_an_hour_of_twenty_thousand_requests_takes_less_than_two_seconds_of_a_core() -> None:
    whole = read_trace(TRACES / FILES["conversation"])
    began_s = time.process_time()
    found = outcome(simulate_config(whole, Scenario(), STOKE))
    assert time.process_time() - began_s < 2.0
    assert (found.requests, found.lost, found.simulated) == (19_366, 0, True)


def test_the_same_hour_takes_at_most_six_times_as_long_with_the_slo_policy() -> None:
    """A ratio, and a wide one, as other tests run beside it: on a quiet machine it is two to three."""
    whole = read_trace(TRACES / FILES["conversation"])
    scenario = replace(SCENARIOS[0], on_demand_max=0)
    default_s, slo_s = (_processor_s(whole, scenario, config) for config in (STOKE, slo(scenario.wait_limit_s)))
    assert slo_s < 6.0 * default_s


def _processor_s(trace: Trace, scenario: Scenario, config: ProvisionConfig) -> float:
    began_s = time.process_time()
    simulate_config(trace, scenario, config)
    return time.process_time() - began_s


def test_on_an_hour_of_real_traffic_it_lies_between_the_work_and_what_was_used() -> None:
    pytest.importorskip("highspy", reason="highspy, of the extra 'loadtests', is not installed")
    from loadtests.simulator.optimum import with_optimum

    whole = read_trace(TRACES / FILES["code"])
    scenario = Scenario(history_s=1200.0)
    found = with_optimum(outcome(simulate_config(whole, scenario, STOKE)), whole, scenario)
    assert found.optimum_seconds is not None
    assert found.work_seconds * found.attainment <= found.optimum_seconds <= found.instance_seconds


def test_the_bench_of_forecasts_shows_fewer_requests_without_an_instance() -> None:
    without, ahead = (forecast.lived(forecast.ramps, season, 0.25) for season in ("without", "none"))
    assert ahead.short_request_s <= without.short_request_s
    assert ahead.instance_s >= without.instance_s
