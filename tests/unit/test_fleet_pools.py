"""Which pool an instance goes to, who moves, who leaves first, and what a notice means."""

from __future__ import annotations

import random
from typing import Any

import pytest

from control_plane.backends.pools import Pools, parse_pools
from control_plane.errors import InvalidArgument
from control_plane.fleet.pools import (
    Choice,
    Member,
    Stock,
    choose,
    leaving_order,
    on_demand_share,
    on_reclaim,
    rebalance,
)

STEADY = {"name": "steady", "kind": "on-demand", "price": 3.0}
DEAR = {"name": "dear", "kind": "on-demand", "price": 4.0}
SPOT_A = {"name": "spot-a", "kind": "spot", "price": 0.9}
SPOT_B = {"name": "spot-b", "kind": "spot", "price": 1.1}


def pools(*given: dict[str, Any], **more: Any) -> Pools:
    return parse_pools({"pools": list(given) or [STEADY, SPOT_A, SPOT_B], **more})


def third(**more: Any) -> Pools:
    return pools(onDemandPercentageAboveBaseCapacity=30, **more)


@pytest.mark.parametrize(
    ("base", "percent", "n", "on_demand"),
    [
        (0, 30, 20, 6),
        (0, 30, 5, 2),  # 1.5, halves up
        (0, 30, 1, 0),
        (0, 50, 1, 1),
        (2, 30, 20, 7),  # 2 + 5.4
        (2, 0, 1, 1),
        (2, 0, 20, 2),
        (25, 30, 20, 20),
        (0, 100, 20, 20),
    ],
)
def test_the_share_is_the_base_and_the_nearest_of_what_is_above(
    base: int, percent: int, n: int, on_demand: int
) -> None:
    shared = pools(onDemandBaseCapacity=base, onDemandPercentageAboveBaseCapacity=percent)
    assert on_demand_share(shared, n) == on_demand


def test_with_one_kind_of_pools_all_are_there() -> None:
    assert on_demand_share(pools(STEADY, onDemandPercentageAboveBaseCapacity=0), 7) == 7
    assert on_demand_share(pools(SPOT_A, onDemandBaseCapacity=5), 7) == 0


def test_launches_one_by_one_come_to_the_same_share_as_all_at_once() -> None:
    shared = third()
    one_by_one: list[str] = []
    for _ in range(20):
        one_by_one += [choice.pool for choice in choose(shared, one_by_one, 1)]
    at_once = [choice.pool for choice in choose(shared, [], 20)]
    assert one_by_one == at_once
    assert at_once.count("steady") == 6
    assert at_once.count("spot-a") == 14, "the cheapest of its kind"


def test_the_next_cheapest_pool_is_taken_while_one_is_out() -> None:
    assert {c.pool for c in choose(third(), ["steady"] * 6, 10, {"spot-a"})} == {"spot-b"}
    shared = pools(STEADY, DEAR)
    assert [c.pool for c in choose(shared, [], 2, {"steady"})] == ["dear", "dear"]


def test_compensation_is_said_and_can_be_turned_off() -> None:
    out = {"spot-a", "spot-b"}
    assert choose(third(), ["steady"] * 6, 2, out) == [Choice("steady", compensates=True)] * 2
    assert choose(third(compensateWithOnDemand=False), ["steady"] * 6, 2, out) == []


def test_a_spot_instance_serves_better_than_none() -> None:
    assert choose(third(compensateWithOnDemand=False), [], 2, {"steady"}) == [
        Choice("spot-a", compensates=False),
        Choice("spot-a", compensates=True),
    ]


def test_nothing_is_chosen_while_every_pool_is_out() -> None:
    assert choose(third(), [], 3, {"steady", "spot-a", "spot-b"}) == []


def members(**counts: int) -> list[Member]:
    names = [name.replace("_", "-") for name, count in counts.items() for _ in range(count)]
    return [Member(f"i{at:02}", name, float(at)) for at, name in enumerate(names)]


def test_compensation_is_given_back_a_tenth_at_a_time_and_always_the_same_ones() -> None:
    there = members(steady=20)
    assert rebalance(third(), there, 20) == ["i00", "i01"]
    replaced = [*there, Member("new", "spot-a", 99.0, is_ready=False)]
    assert rebalance(third(), replaced, 20) == ["i00", "i01"]


def test_nothing_moves_while_there_is_nowhere_to_move_to() -> None:
    assert rebalance(third(), members(steady=20), 20, {"spot-a", "spot-b"}) == []
    assert rebalance(third(), members(steady=6, spot_a=14), 20) == []


def test_spot_instances_that_stand_in_for_on_demand_ones_move_too() -> None:
    assert rebalance(third(), members(spot_a=20), 20) == ["i00", "i01"]
    assert rebalance(third(), members(spot_a=20), 20, {"steady"}) == []


@pytest.mark.parametrize("seed", range(20))
def test_whoever_leaves_those_that_stay_keep_the_share(seed: int) -> None:
    chance = random.Random(seed)
    shared = pools(onDemandBaseCapacity=chance.randrange(4), onDemandPercentageAboveBaseCapacity=chance.randrange(101))
    n = chance.randrange(1, 40)
    chosen = choose(shared, [], n)
    there = [Member(f"i{at}", choice.pool, chance.random()) for at, choice in enumerate(chosen)]
    order = leaving_order(shared, there)
    assert sorted(order.values()) == list(range(n))
    for gone in range(n + 1):
        left = [m for m in there if order[m.instance_id] >= gone]
        assert sum(m.pool == "steady" for m in left) == on_demand_share(shared, len(left))


def test_a_notice_is_over_when_the_drain_is() -> None:
    reclaim = on_reclaim(1000.0, drain_s=30.0, stop_s=10.0)
    assert reclaim.replace
    assert reclaim.drain_at_s == 960.0


def test_a_pool_that_ran_out_is_left_alone_until_a_launch_has_room_or_the_time_is_over() -> None:
    stock = Stock({}).ran_out("spot-a", 100.0, 60.0)
    assert stock.out(159.0) == {"spot-a"}
    assert stock.out(160.0) == set()
    assert stock.has_room("spot-a").out(101.0) == set()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"pools": []}, "pools is []"),
        ({"pools": [STEADY], "onDemandPercentageAboveBaseCapacity": 130}, "onDemandPercentageAboveBaseCapacity is 130"),
        ({"pools": [{**STEADY, "kind": "preemptible"}]}, "pools.0.kind is 'preemptible'"),
        ({"pools": [{**STEADY, "price": -1}]}, "pools.0.price is -1"),
        ({"pools": [STEADY], "onDemandShare": 30}, "onDemandShare is 30"),
        ({"pools": [STEADY, STEADY]}, "'steady' is given twice"),
        (None, "pools is None"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(values: Any, said: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        parse_pools(values)
    assert said in error.value.message
