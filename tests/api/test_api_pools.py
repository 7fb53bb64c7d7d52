"""Pools of nodes, as they are shown and counted."""

from __future__ import annotations

from dataclasses import asdict

from control_plane.fleet_views import PoolView
from tests.api.conftest import Api

SPOT = PoolView("spot-a", "spot", 0.9, 3, 2, is_out=True, reason="no room", reclaims=4, compensations=0)
STEADY = PoolView("steady", "on-demand", 3.0, 6, 6, is_out=False, reason="", reclaims=0, compensations=2)


async def test_pools_are_shown_with_the_nodes_and_counted_in_the_metrics(api: Api) -> None:
    api.fleet.node_pools += [STEADY, SPOT]
    _, shown = await api.send("GET", "/stoke/v1/nodes")
    assert shown["pools"] == [asdict(STEADY), asdict(SPOT)]
    metrics = (await api.client.get("/stoke/v1/metrics")).text
    for line in (
        'stoke_pool_instances{kind="spot",pool="spot-a",ready="true"} 2.0',
        'stoke_pool_instances{kind="spot",pool="spot-a",ready="false"} 1.0',
        'stoke_pool_out_of_stock{kind="spot",pool="spot-a"} 1.0',
        'stoke_pool_out_of_stock{kind="on-demand",pool="steady"} 0.0',
        'stoke_pool_reclaims_total{kind="spot",pool="spot-a"} 4.0',
        'stoke_pool_compensations_total{kind="on-demand",pool="steady"} 2.0',
    ):
        assert line in metrics


async def test_without_pools_nothing_is_said_of_them(api: Api) -> None:
    _, shown = await api.send("GET", "/stoke/v1/nodes")
    assert shown["pools"] == []
    assert "stoke_pool" not in (await api.client.get("/stoke/v1/metrics")).text
