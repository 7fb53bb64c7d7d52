"""The least that anybody could need: figures that can be worked out by hand, and never more than any policy used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.simulator.baselines import StaticTarget
from loadtests.simulator.compare import FILES, RULES, STOKE, TRACES
from loadtests.simulator.formats import read_trace
from loadtests.simulator.generated import generate, parse
from loadtests.simulator.optimum import least_instance_seconds, problem_of, with_optimum
from loadtests.simulator.outcome import outcome
from loadtests.simulator.run import simulate_config, simulate_rule
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import Trace, trace_of

pytest.importorskip("highspy", reason="highspy, of the extra 'loadtests', is not installed")

CALM = Scenario(service_s=1.0, launch_s=5.0, wait_limit_s=0.0)


def trace(*arrivals_s: float, duration_s: float = 60.0) -> Trace:
    return trace_of("told", [(t, None) for t in arrivals_s], duration_s=duration_s)


def test_one_request_costs_a_launch_and_its_service() -> None:
    assert least_instance_seconds(trace(20.0), CALM, 1.0) == pytest.approx(6.0, abs=0.01)


def test_two_requests_far_apart_are_served_by_two_launches_and_close_ones_by_an_idle_instance() -> None:
    assert least_instance_seconds(trace(20.0, 40.0), CALM, 1.0) == pytest.approx(12.0, abs=0.01)
    assert least_instance_seconds(trace(20.0, 23.0), CALM, 1.0) == pytest.approx(9.0, abs=0.01)


def test_requests_that_may_wait_share_an_instance_and_it_may_be_a_part_of_one() -> None:
    """One instance would need 8 s: a launch and three services. A bound with divisible instances lies below."""
    patient = replace(CALM, wait_limit_s=10.0)
    assert 3.0 < least_instance_seconds(trace(20.0, 20.0, 20.0), patient, 1.0) < 8.0
    assert least_instance_seconds(trace(20.0, 20.0, 20.0), CALM, 1.0) == pytest.approx(18.0, abs=0.01)


def test_slots_divide_what_is_needed() -> None:
    assert least_instance_seconds(trace(20.0, 20.0), replace(CALM, slots=2), 1.0) == pytest.approx(6.0, abs=0.01)


def test_what_may_miss_the_limit_need_not_be_done() -> None:
    assert 0.0 < least_instance_seconds(trace(20.0, 40.0), CALM, 0.5) < 6.0
    assert least_instance_seconds(trace(20.0, 40.0), CALM, 0.0) == 0.0


def test_an_instance_from_before_the_judged_part_is_paid_for_from_its_beginning() -> None:
    judged = replace(CALM, history_s=10.0)
    assert least_instance_seconds(trace(1.0, 10.0), judged, 1.0) == pytest.approx(1.0, abs=0.01)
    assert least_instance_seconds(trace(1.0, 12.0), judged, 1.0) == pytest.approx(3.0, abs=0.3)


def test_what_could_be_done_is_never_less_than_what_must() -> None:
    whole = read_trace(TRACES / FILES["code"])
    problem = problem_of(whole, Scenario(history_s=1200.0), 0.99)
    assert (problem.could - problem.must > -1e-6).all()


@pytest.mark.parametrize("text", ["shape:burst,low=1,high=8,duration_s=90", "shape:day,peak_rps=3,duration_s=90"])
@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(service_s=1.0, launch_s=8.0, wait_limit_s=4.0, history_s=20.0),
        Scenario(service_s=0.5, launch_s=3.0, wait_limit_s=0.5, slots=2, history_s=0.0),
    ],
)
def test_no_policy_gets_by_with_less(text: str, scenario: Scenario) -> None:
    made = generate(parse(text), scenario.service_s, seed=3)
    records = [simulate_config(made, scenario, STOKE), simulate_config(made, replace(scenario, on_demand_max=0), STOKE)]
    records += [simulate_rule(made, scenario, StaticTarget(count)) for count in (1, 12)]
    records += [simulate_rule(made, scenario, make(0.5)) for make, _grid in RULES.values()]
    for record in records:
        found = with_optimum(outcome(record), made, scenario)
        assert found.optimum_seconds is not None
        assert found.optimum_seconds <= found.instance_seconds + 1e-6
