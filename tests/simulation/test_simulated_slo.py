"""The SLO policy on the Azure traces, held against the best static number that hindsight finds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtests.simulator import unseen
from loadtests.simulator.compare import FILES, SCENARIOS, TRACES, by_slo, cheapest, slo
from loadtests.simulator.formats import read_trace
from loadtests.simulator.outcome import outcome
from loadtests.simulator.run import simulate_config
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.unseen import backwards, bursts, levels, paced, step_up
from tests.unit.test_simulator_baselines import tuned

# Instance-seconds of the cheapest of static N, HPA, KPA and FC's rule, each tuned in hindsight to 99 %, as
# `python -m loadtests.simulator.compare` finds them; to find them again takes minutes.
CHEAPEST = {
    ("conversation", 1.0): 16_431.0,
    ("conversation", 0.2): 4_604.0,
    ("code", 1.0): 31_304.0,
    ("code", 0.2): 4_472.0,
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"service {scenario.service_s:g} s")
@pytest.mark.parametrize("name", FILES)
def test_the_slo_policy_keeps_its_share_at_1_3_times_the_cheapest_of_hindsight(name: str, scenario: Scenario) -> None:
    found = by_slo(read_trace(TRACES / FILES[name]), scenario).outcome
    assert found.attainment >= 0.99
    assert found.instance_seconds <= 1.3 * CHEAPEST[name, scenario.service_s]
    assert (found.refused, found.lost) == (0, 0)


@pytest.mark.parametrize("phase_s", [0.1, 0.9])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"service {scenario.service_s:g} s")
def test_the_promise_does_not_hang_on_the_moment_of_a_look(scenario: Scenario, phase_s: float) -> None:
    """On the code trace a look a fraction of a second later meets another part of a burst, and all goes another way."""
    found = by_slo(read_trace(TRACES / FILES["code"]), replace(scenario, tick_phase_s=phase_s)).outcome
    assert found.attainment >= 0.99
    assert found.instance_seconds <= 1.3 * CHEAPEST["code", scenario.service_s]


def test_requests_that_jump_between_levels_are_kept_within_the_limit_for_less_than_a_static_number() -> None:
    found = by_slo(levels(1), SCENARIOS[0]).outcome
    assert found.attainment >= 0.99
    assert found.cost < 2.04, "13 instances all the time, the fewest that attain it"


def test_two_runs_decide_alike() -> None:
    scenario = replace(SCENARIOS[1], on_demand_max=0)
    one, other = (simulate_config(bursts(1), scenario, slo(10.0)) for _ in range(2))
    assert one.changes == other.changes
    assert outcome(one) == outcome(other)


def test_the_measure_is_the_cheapest_that_attains_it_of_those_named() -> None:
    found = [
        replace(tuned("1", 0.995, 100.0), policy="static"),
        replace(tuned("2", 0.999, 90.0), policy="Kubernetes HPA"),
        replace(tuned("3", 0.9, 10.0), policy="Knative KPA"),
        replace(tuned("4", 1.0, 5.0), policy="Lambda's alarms"),
    ]
    assert cheapest(found, 0.99).policy == "Kubernetes HPA"


def test_unseen_traces_are_the_same_each_time_and_different_by_seed() -> None:
    assert levels(1) == levels(1)
    assert bursts(1) != bursts(2)
    assert step_up(1).arrivals_s == step_up(1).arrivals_s


def test_a_trace_backwards_and_at_another_pace_keeps_its_requests() -> None:
    trace = read_trace(TRACES / FILES["code"])
    assert len(backwards(trace).arrivals_s) == len(trace.arrivals_s)
    assert backwards(trace).arrivals_s[0] == 0.0
    assert paced(trace, 2.0).duration_s == pytest.approx(2 * trace.duration_s, abs=2.0)
    assert len(paced(trace, 0.5).arrivals_s) == 2 * len(trace.arrivals_s)


def test_a_trace_of_ones_own_is_read_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one static number tried instead of all: what is read is what counts here."""
    monkeypatch.setattr(unseen, "SETTINGS", ((0.2, 20.0, 10.0),))
    monkeypatch.setattr(unseen, "static", lambda *_: tuned("1", 1.0, 100.0))
    assert unseen.main(["--trace", str(TRACES / FILES["code"])]) == 0
    assert FILES["code"] in capsys.readouterr().out
