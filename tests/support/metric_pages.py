"""Both pages of metrics with something in every family, made by what makes them, and read as Prometheus does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache
from typing import cast

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from control_plane.api.metrics import render
from control_plane.fleet_views import PoolView, ProvisionStatus
from control_plane.listing import Page, Query
from control_plane.model import QualifiedFunction
from control_plane.ports import Registry
from control_plane.testing import FakeFleet, instance_view
from provision.config import ProvisionConfig
from runtime.gateway.lease_term import LeaseState
from runtime.gateway.metrics import OUTLIER, Level, Metrics
from runtime.gateway.resolve import Names
from runtime.gateway.siblings import merged
from runtime.node_contract import NodeInfo

Listed = Page[tuple[QualifiedFunction, ProvisionConfig]]
TARGET = QualifiedFunction(service_name="s", qualifier="LATEST", function_name="f")


class _OneConfig:
    async def list_provision(self, query: Query) -> Listed:
        assert query.limit
        return Page(((TARGET, ProvisionConfig()),))


def gateways_page() -> str:
    """As several gateways at one port tell it: one of them adds nothing to what it says by itself but its number."""
    metrics = Metrics()
    series = metrics.series(Names("s", "LATEST", "f"))
    series.observe(200, 0.1, 0.0)
    series.lost["died"] += 1
    metrics.refusals["ResourceExhausted"] += 1
    metrics.throttled["s", "LATEST", "f"] += 1
    metrics.throttled["key", "LTAI1"] += 1
    metrics.ejected[("s", "LATEST", "f"), OUTLIER] += 1
    metrics.lease = lambda: LeaseState(left_s=20.0, is_by_word=False, word_left_s=600.0)
    return merged({1: metrics.text([Level("s", "LATEST", "f", in_flight=1, queued=1)], 1.0, 1)})


def control_planes_page() -> str:
    status = ProvisionStatus(target=2, current=1, starting=1, current_error="", utilization=0.5)
    pool = PoolView("spot-a", "spot", 0.9, 3, 2, is_out=True, reason="no room", reclaims=4, compensations=1)
    node = NodeInfo("local", 1, 1024, 1.0, forks={"zygotes": 1, "waiting": 1})
    fleet = FakeFleet([instance_view("c-1")], {str(TARGET): status}, machine=node, node_pools=[pool])
    return asyncio.run(render(cast(Registry, _OneConfig()), fleet)).decode()


@cache
def _families() -> tuple[Metric, ...]:
    texts = (gateways_page(), control_planes_page())
    return tuple(family for text in texts for family in text_string_to_metric_families(text))


def _full_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def every_family() -> dict[str, set[str]]:
    """The labels of each family, by its name with what a counter ends in."""
    return {
        _full_name(family): {label for sample in family.samples for label in sample.labels} - {"le", "gateway"}
        for family in _families()
    }


def every_sample() -> Iterator[tuple[str, set[str]]]:
    """Names as a query has them (`_bucket` and its like), with their labels."""
    for family in _families():
        for sample in family.samples:
            yield sample.name, set(sample.labels)
