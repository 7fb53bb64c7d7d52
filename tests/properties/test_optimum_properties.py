"""Whatever arrives, nobody gets by with less than the optimum."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.simulator.baselines import KnativePodAutoscaler, StaticTarget
from loadtests.simulator.compare import STOKE
from loadtests.simulator.optimum import least_instance_seconds, with_optimum
from loadtests.simulator.outcome import outcome
from loadtests.simulator.run import simulate_config, simulate_rule
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import trace_of
from tests.support.examples import examples

pytest.importorskip("highspy", reason="highspy, of the extra 'loadtests', is not installed")

REQUESTS = st.lists(st.tuples(st.floats(0.0, 59.0), st.floats(0.05, 6.0)), min_size=1, max_size=40)
SCENARIOS = st.builds(
    Scenario,
    launch_s=st.floats(0.0, 10.0),
    slots=st.integers(1, 3),
    wait_limit_s=st.floats(0.0, 8.0),
    history_s=st.sampled_from([0.0, 20.0]),
    seed=st.integers(0, 1000),
    launch_failure_share=st.sampled_from([0.0, 0.3]),
    crashes_per_instance_hour=st.sampled_from([0.0, 60.0]),
)


@examples(25)
@given(REQUESTS, SCENARIOS, st.integers(0, 6))
def test_no_policy_uses_less_than_the_optimum_for_what_it_attains(
    requests: list[tuple[float, float]], scenario: Scenario, count: int
) -> None:
    trace = trace_of("any", list(requests), duration_s=60.0)
    for record in (
        simulate_config(trace, scenario, STOKE),
        simulate_rule(trace, scenario, StaticTarget(count)),
        simulate_rule(trace, scenario, KnativePodAutoscaler(0.7, 0)),
    ):
        found = with_optimum(outcome(record), trace, scenario)
        assert found.optimum_seconds is not None
        assert found.optimum_seconds <= found.instance_seconds + 1e-6


@examples(15)
@given(REQUESTS, SCENARIOS)
def test_attaining_less_never_needs_more(requests: list[tuple[float, float]], scenario: Scenario) -> None:
    trace = trace_of("any", list(requests), duration_s=90.0)
    found = outcome(simulate_rule(trace, scenario, StaticTarget(40)))
    shares = sorted({found.attainment, found.attainment / 2, 0.0})
    least = [least_instance_seconds(trace, scenario, share) for share in shares]
    assert all(a <= b + 1e-4 for a, b in itertools.pairwise(least))
