"""What the fleet plan wants, told as small situations."""

from __future__ import annotations

from control_plane.fleet.plan import Plan, Unit, Want, plan
from runtime.contract import InstanceState, Kind

READY, LAUNCHING = InstanceState.READY, InstanceState.LAUNCHING
PROVISIONED, ON_DEMAND = Kind.PROVISIONED, Kind.ON_DEMAND


def unit(
    name: str,
    kind: Kind = PROVISIONED,
    state: InstanceState = READY,
    *,
    busy: int = 0,
    idle_since_s: float = 0.0,
    launched_at_s: float = 0.0,
    revision: str = "r1",
) -> Unit:
    return Unit(name, kind, state, revision, launched_at_s, busy, idle_since_s)


def want(provisioned: int = 0, *, queued: int = 0, slots: int = 1, now: float = 1000.0, **more: float) -> Want:
    return Want(now=now, revision="r1", slots=slots, provisioned=provisioned, queued=queued, **more)  # type: ignore[arg-type]


def test_nothing_wanted_and_nothing_there_is_nothing_to_do() -> None:
    assert not plan(want(), [])


def test_missing_provisioned_instances_are_launched() -> None:
    assert plan(want(3), [unit("a")]) == Plan(launch_provisioned=2)


def test_starting_instances_count_as_coming() -> None:
    assert not plan(want(2), [unit("a"), unit("b", state=LAUNCHING)])


def test_an_on_demand_instance_is_promoted_before_anything_is_launched() -> None:
    todo = plan(want(2), [unit("a"), unit("b", ON_DEMAND)])
    assert todo == Plan(relabel=(("b", PROVISIONED),))


def test_ready_on_demand_instances_are_promoted_before_starting_ones() -> None:
    todo = plan(want(1), [unit("new", ON_DEMAND, LAUNCHING), unit("old", ON_DEMAND, launched_at_s=5.0)])
    assert todo.relabel == (("old", PROVISIONED),)


def test_surplus_drains_starting_then_idle_then_least_busy_first() -> None:
    units = [unit("busy", busy=3), unit("idle"), unit("starting", state=LAUNCHING), unit("half", busy=1)]
    assert [i for i, _ in plan(want(2), units).drain] == ["starting", "idle"]


def test_surplus_becomes_on_demand_while_requests_queue() -> None:
    todo = plan(want(1, queued=2), [unit("a", busy=1), unit("b", busy=1)])
    assert todo.relabel == (("b", ON_DEMAND),) or todo.relabel == (("a", ON_DEMAND),)
    assert todo.drain == ()


def test_queued_requests_start_on_demand_instances_beyond_free_and_starting_slots() -> None:
    # 7 queued, 2 slots an instance: one starting brings 2, one free slot takes 1, so 4 remain: 2 instances.
    units = [unit("a", busy=1), unit("b", ON_DEMAND, LAUNCHING)]
    assert plan(want(1, queued=7, slots=2), units) == Plan(launch_on_demand=2)


def test_on_demand_never_exceeds_the_functions_maximum() -> None:
    assert plan(want(queued=50, on_demand_max=3), [unit("a", ON_DEMAND, busy=1)]).launch_on_demand == 2


def test_launches_are_held_when_nothing_may_be_launched_and_the_plan_says_so() -> None:
    todo = plan(want(3, launches_max=1), [])
    assert todo.launch_provisioned == 1
    assert todo.held == "2 launches held"


def test_an_idle_on_demand_instance_is_drained_after_its_time() -> None:
    idle = unit("a", ON_DEMAND, idle_since_s=700.0)
    assert not plan(want(now=999.0, on_demand_idle_s=300.0), [idle])
    assert plan(want(now=1000.0, on_demand_idle_s=300.0), [idle]).drain == (("a", "idle for 300 s"),)


def test_an_idle_on_demand_instance_stays_while_requests_queue() -> None:
    idle = unit("a", ON_DEMAND, idle_since_s=0.0)
    assert not plan(want(queued=1, on_demand_idle_s=300.0), [idle])


def test_a_removed_function_keeps_nothing() -> None:
    todo = plan(Want(now=0.0, revision=""), [unit("a"), unit("b", ON_DEMAND)])
    assert [i for i, _ in todo.drain] == ["a", "b"]


def test_an_older_revision_serves_until_the_new_one_is_ready() -> None:
    old = unit("old", revision="r0")
    assert plan(want(1), [old]) == Plan(launch_provisioned=1)
    assert not plan(want(1), [old, unit("new", state=LAUNCHING)])
    assert plan(want(1), [old, unit("new")]).drain == (("old", "replaced by a newer revision"),)


def test_an_older_revision_makes_room_when_the_machine_is_full() -> None:
    old = [unit("old1", revision="r0"), unit("old2", revision="r0")]
    assert len(plan(want(2, launches_max=0), old).drain) == 1


def test_an_older_revision_serves_on_while_launches_wait_for_something_else_than_room() -> None:
    old = [unit("old1", revision="r0"), unit("old2", revision="r0")]
    assert plan(want(2, launches_max=0, room=2), old) == Plan(held="2 launches held")
    assert plan(want(2, launches_max=1, room=2), old) == Plan(launch_provisioned=1, held="1 launch held")
    assert len(plan(want(2, launches_max=1, room=1), old).drain) == 1
