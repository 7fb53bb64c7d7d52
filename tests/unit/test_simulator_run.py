from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from loadtests.simulator.baselines import StaticTarget
from loadtests.simulator.compare import FILES, STOKE, TRACES
from loadtests.simulator.formats import read_trace
from loadtests.simulator.outcome import outcome
from loadtests.simulator.run import Record, simulate_config, simulate_rule
from loadtests.simulator.scenario import Scenario
from loadtests.simulator.trace import Trace, trace_of
from provision.config import ProvisionConfig, parse
from runtime.contract import Kind

CALM = Scenario(service_s=1.0, launch_s=5.0, wait_limit_s=2.0, tick_phase_s=0.0)


def trace(*arrivals_s: float, duration_s: float = 60.0) -> Trace:
    return trace_of("told", [(t, None) for t in arrivals_s], duration_s=duration_s)


def static(count: int) -> ProvisionConfig:
    return parse({"target": count})


def waits(record: Record) -> list[float | None]:
    return [None if r.started_s is None else round(r.started_s - r.arrived_s, 3) for r in record.requests]


def everything(record: Record) -> tuple[Any, ...]:
    requests = [(r.arrived_s, r.started_s, r.finished_s, r.cold_start, r.retries) for r in record.requests]
    instances = [(i.instance_id, i.kind, i.launched_s, i.ready_s, i.ended_s) for i in record.instances]
    return requests, instances, record.samples, record.changes


def test_a_request_is_served_by_a_ready_instance_at_once_and_the_next_waits_for_its_slot() -> None:
    record = simulate_config(trace(10.0, 10.25), replace(CALM, on_demand_max=0), static(1))
    assert waits(record) == [0.0, 0.75]
    assert [r.finished_s for r in record.requests] == [11.0, 12.0]
    found = outcome(record)
    assert (found.lost, found.refused, found.launches, found.attainment) == (0, 0, 1, 1.0)
    assert found.instance_seconds == 60.0
    assert found.cold_start_share == 0.0


def test_a_request_that_takes_hours_is_waited_for_and_not_lost() -> None:
    hours = trace_of("hours", [(10.0, 9000.0), (20.0, 1.0)], duration_s=60.0)
    found = outcome(simulate_config(hours, CALM, static(2)))
    assert (found.lost, found.attainment) == (0, 1.0)


def test_from_zero_a_request_waits_for_the_report_the_tick_and_the_launch() -> None:
    record = simulate_config(trace(10.5), CALM, static(0))
    assert waits(record) == [pytest.approx(CALM.launch_s, abs=0.11)]
    assert [i.kind for i in record.instances] == [Kind.ON_DEMAND]
    assert record.requests[0].cold_start
    found = outcome(record)
    assert (found.launches, found.useful_launches, found.cold_start_share) == (1, 1, 1.0)
    assert found.attainment == 0.0


def test_several_requests_at_once_fit_into_an_instance_with_as_many_slots() -> None:
    record = simulate_config(trace(10.0, 10.1, 10.2), replace(CALM, slots=2, on_demand_max=0), static(1))
    assert waits(record) == [0.0, 0.0, 0.8]


def test_an_idle_on_demand_instance_is_reaped_and_paid_for_until_then() -> None:
    record = simulate_config(trace(10.5, duration_s=300.0), replace(CALM, on_demand_idle_s=30.0), static(0))
    assert record.instances[0].ended_s == pytest.approx(10.5 + 5.0 + 1.0 + 30.0, abs=2.5)
    assert outcome(record).instance_seconds == pytest.approx(36.0, abs=2.5)


def test_only_what_comes_after_the_history_is_judged_and_paid_for() -> None:
    found = outcome(simulate_config(trace(1.0, 40.0), replace(CALM, history_s=30.0), static(1)))
    assert (found.requests, found.launches, found.instance_seconds, found.work_seconds) == (1, 0, 30.0, 1.0)


def test_a_full_queue_refuses_and_a_long_wait_ends() -> None:
    narrow = replace(CALM, queue_length_max=1, queue_wait_max_s=0.5, on_demand_max=0)
    record = simulate_config(trace(10.0, 10.1, 10.2), narrow, static(1))
    found = outcome(record)
    assert [r.refused for r in record.requests] == [False, True, True]
    assert (found.refused, found.lost) == (2, 0)
    assert found.attainment == pytest.approx(1 / 3)


def test_instances_are_placed_on_devices_and_none_of_them_is_over_full() -> None:
    # A card of 16 GiB holds two instances of 6000 MiB and one of 8 GiB one more: memory does not add up over cards.
    scenario = replace(CALM, devices_mib=(16_384, 8192), gpu_memory_mib=6000)
    record = simulate_config(trace(*(10.0 + n / 50 for n in range(200))), scenario, STOKE)
    assert outcome(record).instances_peak == 3
    assert outcome(record).lost == 0
    assert {i.place.device for i in record.instances if i.place} == {"simulated-0", "simulated-1"}


def test_a_baseline_asks_for_no_more_than_the_devices_hold() -> None:
    scenario = replace(CALM, devices_mib=(16_384,), gpu_memory_mib=6000)
    record = simulate_rule(trace(10.0, 20.0), scenario, StaticTarget(5))
    assert outcome(record).instances_peak == 2


@pytest.mark.parametrize("values", [{"devices_mib": (1,)}, {"gpu_memory_mib": 5}, {"devices_mib": (0,)}])
def test_devices_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="devices_mib"):
        replace(CALM, **values)


def test_the_capacity_is_never_exceeded() -> None:
    record = simulate_config(trace(*(10.0 + n / 50 for n in range(200))), replace(CALM, capacity=3), STOKE)
    assert outcome(record).instances_peak == 3
    assert outcome(record).lost == 0


def test_a_failing_launch_is_tried_again_after_its_backoff() -> None:
    record = simulate_config(trace(10.0), replace(CALM, launch_failure_share=0.6, seed=1), static(1))
    assert len(record.instances) > 1
    assert record.instances[0].ready_s is None
    assert outcome(record).lost == 0


def test_requests_inside_a_crashing_instance_begin_again_and_none_is_lost() -> None:
    busy = trace(*(n * 0.5 for n in range(400)), duration_s=200.0)
    record = simulate_config(busy, replace(CALM, crashes_per_instance_hour=120.0), STOKE)
    found = outcome(record)
    assert found.retried > 0
    assert found.lost == 0


def test_another_systems_instances_are_launched_and_drained_by_the_same_plan() -> None:
    record = simulate_rule(trace(10.0, 10.25), CALM, StaticTarget(2))
    assert waits(record) == [0.0, 0.0]
    assert outcome(record).instances_peak == 2


def test_two_runs_give_identical_decisions() -> None:
    whole = read_trace(TRACES / FILES["code"])
    part = replace(whole, arrivals_s=whole.arrivals_s[:500], duration_s=200.0)
    rough = replace(CALM, launch_failure_share=0.1, crashes_per_instance_hour=5.0)
    assert everything(simulate_config(part, rough, STOKE)) == everything(simulate_config(part, rough, STOKE))


def test_a_policy_on_what_a_simulation_does_not_have_is_refused() -> None:
    policy = {"name": "sm", "metricType": "GPUSmUtilization", "metricTarget": 0.5, "minCapacity": 0, "maxCapacity": 2}
    with pytest.raises(
        ValueError, match=r"targetTrackingPolicies\[0\].metricType is GPUSmUtilization: a simulation has"
    ):
        simulate_config(trace(1.0), CALM, parse({"targetTrackingPolicies": [policy]}))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("service_s", 0.0, "service_s: 0.0; a finite number above 0 is allowed"),
        ("launch_s", -1.0, "launch_s: -1.0; a finite number 0 or more is allowed"),
        ("launch_failure_share", 1.5, "launch_failure_share: 1.5; a finite number from 0 to 1 is allowed"),
        ("launch_s", float("inf"), "launch_s: inf"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(field: str, value: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Scenario(**{field: value})  # type: ignore[arg-type]


def test_a_history_longer_than_the_trace_is_refused() -> None:
    with pytest.raises(ValueError, match="history_s: 1200"):
        simulate_config(trace(1.0), replace(CALM, history_s=1200.0), static(1))
