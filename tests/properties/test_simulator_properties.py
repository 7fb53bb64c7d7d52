"""Whatever arrives and whatever fails, the simulated parts keep what the real ones promise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtests.simulator.compare import STOKE
from loadtests.simulator.outcome import outcome
from loadtests.simulator.run import simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import trace_of
from tests.support.examples import examples

ARRIVALS = st.lists(st.floats(0.0, 59.0), min_size=1, max_size=60)
SCENARIOS = st.builds(
    Scenario,
    service_s=st.floats(0.01, 5.0),
    launch_s=st.floats(0.0, 10.0),
    slots=st.integers(1, 4),
    seed=st.integers(0, 1000),
    launch_failure_share=st.sampled_from([0.0, 0.3]),
    crashes_per_instance_hour=st.sampled_from([0.0, 60.0]),
    capacity=st.sampled_from([None, 1, 5]),
)


@examples(40)
@given(ARRIVALS, SCENARIOS)
def test_every_request_is_answered_or_refused_and_never_served_before_it_came(
    arrivals_s: list[float], scenario: Scenario
) -> None:
    record = simulate_config(trace_of("any", [(t, None) for t in arrivals_s], duration_s=60.0), scenario, STOKE)
    found = outcome(record)
    assert found.lost == 0
    assert all(r.refused or (r.started_s or 0.0) >= r.arrived_s for r in record.requests)
    assert scenario.capacity is None or found.instances_peak <= scenario.capacity
    assert found.useful_launches <= found.launches


@examples(40)
@given(ARRIVALS, SCENARIOS)
def test_the_same_arguments_give_the_same_history(arrivals_s: list[float], scenario: Scenario) -> None:
    trace = trace_of("any", [(t, None) for t in arrivals_s], duration_s=60.0)
    first, second = (simulate_config(trace, scenario, STOKE) for _ in range(2))
    assert first.changes == second.changes
    assert first.samples == second.samples
    assert outcome(first) == outcome(second)
