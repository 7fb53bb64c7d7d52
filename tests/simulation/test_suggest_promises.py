"""Whatever was recorded, a suggestion is valid, meets its SLO, costs no more than static instances, and is stable."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from loadtests.simulator.busy import busy
from loadtests.simulator.outcome import between, outcome
from loadtests.simulator.run import simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.search import choose, meets
from loadtests.simulator.suggestion import Asked, Suggestion, suggest
from loadtests.simulator.trace import Trace, trace_of
from provision.config import parse, unknown_fields
from tests.support.examples import examples

SPAN_S = 60.0
SCENARIOS = st.builds(
    Scenario,
    service_s=st.floats(0.05, 1.5),
    launch_s=st.floats(0.0, 10.0),
    slots=st.integers(1, 3),
    history_s=st.just(15.0),
    on_demand_max=st.sampled_from([0, 0, 10]),
)
ASKED = st.builds(
    Asked,
    wait_s=st.floats(0.05, 5.0),
    share=st.sampled_from([0.5, 0.8, 0.9]),
    max_capacity=st.sampled_from([None, None, 1, 4]),
)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Steady, with bursts."""
    chance = random.Random(draw(st.integers(0, 10_000)))
    arrivals = [chance.uniform(0.0, SPAN_S) for _ in range(draw(st.integers(60, 120)))]
    for _ in range(draw(st.integers(0, 3))):
        at_s = chance.uniform(0.0, SPAN_S - 5.0)
        arrivals += [at_s + chance.uniform(0.0, 4.0) for _ in range(chance.randint(1, 40))]
    return trace_of("any", [(at_s, None) for at_s in arrivals], duration_s=SPAN_S)


def suggested(trace: Trace, scenario: Scenario, asked: Asked) -> Suggestion:
    split_s = 15.0 + (SPAN_S - 15.0) * 2.0 / 3.0
    assume(sum(at_s >= split_s for at_s in trace.arrivals_s) >= 10)
    return suggest(trace, scenario, asked)


@examples(12)
@given(traces(), SCENARIOS, ASKED)
def test_a_suggestion_is_a_valid_config_that_meets_its_own_slo_when_it_is_simulated_again(
    trace: Trace, scenario: Scenario, asked: Asked
) -> None:
    made = suggested(trace, scenario, asked)
    assert (made.config is None) is (made.chosen is None)
    if made.chosen is None or made.config is None:
        assert not any(meets(tried, made.wanted) for tried in made.tried)
        return
    assert unknown_fields(made.config) == []
    config = parse(made.config)
    assert config == made.chosen.candidate.config
    record = simulate_config(trace, made.scenario, config)
    assert outcome(record).attainment >= asked.share
    for begin_s, end_s in ((15.0, made.split_s), (made.split_s, SPAN_S)):
        assert between(record, begin_s, end_s).attainment >= asked.share
    capacity = asked.max_capacity
    assert capacity is None or outcome(record).instances_peak <= capacity


@examples(8)
@given(traces(), SCENARIOS, ASKED)
def test_a_suggestion_never_costs_more_than_the_fewest_static_instances_that_meet_the_slo(
    trace: Trace, scenario: Scenario, asked: Asked
) -> None:
    scenario = replace(scenario, on_demand_max=0)  # with none beside them, more static instances always cost more
    made = suggested(trace, scenario, asked)
    for count in range(min(made.wanted.max_capacity, 30) + 1):
        record = simulate_config(trace, made.scenario, parse({"target": count}))
        parts = (between(record, 15.0, made.split_s), between(record, made.split_s, SPAN_S))
        if min(part.attainment for part in parts) >= asked.share:
            assert made.chosen is not None
            assert made.chosen.instance_seconds <= outcome(record).instance_seconds
            return
    assert made.static is None


@examples(4)
@given(traces(), SCENARIOS, ASKED)
def test_the_same_recording_gives_the_same_suggestion(trace: Trace, scenario: Scenario, asked: Asked) -> None:
    first, second = (suggested(trace, scenario, asked) for _ in range(2))
    assert first == second
    assert choose(first.tried, first.wanted) == first.chosen


@examples(50)
@given(traces(), st.floats(0.05, 5.0))
def test_so_many_instances_as_were_busy_let_nobody_wait(trace: Trace, service_s: float) -> None:
    most = max(busy(trace, service_s))
    scenario = Scenario(service_s=service_s, launch_s=0.0, on_demand_max=0, history_s=1.0)
    found = outcome(simulate_config(trace, scenario, parse({"target": most})))
    assert found.wait_max_s is None or found.wait_max_s <= 2.0  # the first of them come before anything runs
