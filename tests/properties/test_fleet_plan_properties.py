"""What holds of every fleet plan, whatever the situation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from control_plane.fleet.census import census
from control_plane.fleet.plan import NOTHING, Plan, Unit, Want, is_settled, plan
from runtime.contract import InstanceRecord, InstanceState, Kind

units = st.lists(
    st.builds(
        Unit,
        instance_id=st.uuids().map(str),
        kind=st.sampled_from(Kind),
        state=st.sampled_from([InstanceState.LAUNCHING, InstanceState.INITIALIZING, InstanceState.READY]),
        revision=st.sampled_from(["r0", "r1"]),
        launched_at_s=st.floats(0, 1000),
        in_flight=st.integers(0, 3),
        idle_since_s=st.floats(0, 1000),
    ),
    max_size=12,
    unique_by=lambda unit: unit.instance_id,
)
wants = st.builds(
    Want,
    now=st.just(1000.0),
    revision=st.sampled_from(["r1", "r1", "r1", ""]),
    slots=st.integers(1, 4),
    provisioned=st.integers(0, 12),
    queued=st.integers(0, 30),
    on_demand_max=st.integers(0, 10),
    on_demand_idle_s=st.floats(0, 600),
    launches_max=st.integers(0, 20),
)


def carried_out(want: Want, before: Sequence[Unit], todo: Plan) -> list[Unit]:
    labels, leaving = dict(todo.relabel), {i for i, _ in todo.drain}
    kept = [replace(u, kind=labels.get(u.instance_id, u.kind)) for u in before if u.instance_id not in leaving]
    for kind, count in ((Kind.PROVISIONED, todo.launch_provisioned), (Kind.ON_DEMAND, todo.launch_on_demand)):
        kept += [Unit(f"new-{kind}-{n}", kind, InstanceState.LAUNCHING, want.revision, want.now) for n in range(count)]
    return kept


@given(wants, units)
def test_a_plan_done_twice_is_empty_the_second_time(want: Want, before: list[Unit]) -> None:
    todo = plan(want, before)
    launched = todo.launch_provisioned + todo.launch_on_demand
    after = carried_out(want, before, todo)
    again = plan(replace(want, launches_max=want.launches_max - launched), after)
    # A full machine gives up one old instance a plan, so that the room it leaves is used before the next goes.
    full = todo.held and any(u.revision != want.revision for u in after)
    assert full or not again


@given(wants, units)
def test_no_instance_is_both_relabelled_and_drained_and_none_is_named_twice(want: Want, before: list[Unit]) -> None:
    todo = plan(want, before)
    named = [i for i, _ in todo.relabel] + [i for i, _ in todo.drain]
    assert len(named) == len(set(named))
    assert set(named) <= {u.instance_id for u in before}


@given(wants, units)
def test_launches_never_exceed_what_is_allowed(want: Want, before: list[Unit]) -> None:
    todo = plan(want, before)
    assert todo.launch_provisioned + todo.launch_on_demand <= want.launches_max


@given(wants, units, st.integers(1, 10))
def test_more_queued_requests_never_launch_fewer(want: Want, before: list[Unit], more: int) -> None:
    fewer = plan(want, before).launch_on_demand
    assert plan(replace(want, queued=want.queued + more), before).launch_on_demand >= fewer


@given(wants, units)
def test_a_drained_instance_was_surplus_idle_or_stale(want: Want, before: list[Unit]) -> None:
    by_id = {u.instance_id: u for u in before}
    for instance_id, why in plan(want, before).drain:
        unit = by_id[instance_id]
        if why.startswith("idle"):
            assert unit.in_flight == 0
            assert unit.kind is Kind.ON_DEMAND
        elif why.startswith("replaced"):
            assert unit.revision != want.revision


def recorded(unit: Unit) -> InstanceRecord:
    return InstanceRecord(
        unit.instance_id, "s", "f", "LATEST", unit.revision, unit.kind, unit.state, 1, "local",
        launched_at_s=unit.launched_at_s,
    )  # fmt: skip


@given(wants, units, st.booleans())
def test_what_is_settled_by_its_numbers_needs_no_plan(want: Want, there: list[Unit], steady: bool) -> None:
    if steady:  # else few of them would be settled
        there = [replace(u, revision=want.revision or "r1", kind=Kind.PROVISIONED) for u in there]
        want = replace(want, queued=0, provisioned=len(there))
    counted = census(recorded(unit) for unit in there)
    assert counted.live == len(there)
    if is_settled(want, counted):
        assert plan(want, there) == NOTHING
    else:
        assert not steady or not want.revision
