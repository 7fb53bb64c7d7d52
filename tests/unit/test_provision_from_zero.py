"""`minCapacity` 0: the first request brings the first instance back, whatever the metric of the policy."""

from __future__ import annotations

from typing import Any

import pytest

from provision.config import MetricType
from provision.decide import Reading
from tests.unit.provision_story import START, Story, config, surge, tracking

URL, QUERY = "http://127.0.0.1:9090", "q"
# Requests that wait at 0 instances produce nothing that such a query could count, where none may start on demand.
UNSEEN = pytest.mark.xfail(strict=True, reason="a reading of 0 asks for no instance though requests wait for one")


@pytest.mark.parametrize(
    "metric", [pytest.param(metric, marks=UNSEEN if metric is MetricType.PROMETHEUS else ()) for metric in MetricType]
)
def test_the_first_request_brings_the_first_instance_back(metric: MetricType) -> None:
    own: dict[str, Any] = {"metricType": str(metric), "minCapacity": 0}
    if metric is MetricType.PROMETHEUS:
        own |= {"url": URL, "query": QUERY}
    story = Story(
        config(tracking(**own)),
        surge(1.0, 100.0, 400.0),
        rate=surge(1.0, 100.0, 101.0),
        reading=lambda t: Reading(URL, QUERY, 0.0, START + t),
    )
    assert story.until(99).target == 0
    assert story.until(110).target >= 1
