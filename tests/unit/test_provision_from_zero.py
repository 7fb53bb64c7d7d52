"""`minCapacity` 0: the first request brings the first instance back, whatever the metric of the policy."""

from __future__ import annotations

from typing import Any

import pytest

from provision.config import MetricType
from provision.decide import Reading
from tests.unit.provision_story import START, Story, config, surge, tracking

URL, QUERY = "http://127.0.0.1:9090", "q"


@pytest.mark.parametrize("metric", MetricType)
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


def test_a_query_that_tells_of_nothing_keeps_the_last_instance_while_requests_come() -> None:
    own: dict[str, Any] = {"metricType": "Prometheus", "url": URL, "query": QUERY, "minCapacity": 0}
    story = Story(
        config(tracking(**own)), surge(1.0, 100.0, 400.0), reading=lambda t: Reading(URL, QUERY, 0.0, START + t)
    )
    story.until(110)
    assert {story.until(second).target for second in range(111, 400)} == {1}
    assert story.until(480).target == 0
