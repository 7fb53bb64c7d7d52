"""A step in demand on a real Stoke: what happens in which order, with bounds that hold on a busy machine too.

How fast it is on a quiet one, `python -m loadtests.bench.reaction` measures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_main_job import FAST_POLICY, deploy_slow
from tests.support.stoke import Load, Stoke, eventually

pytestmark = [pytest.mark.alone, pytest.mark.long]

QUERY = "service=svc&qualifier=LATEST&function=f"


@pytest.fixture
def stoke(tmp_path: Path) -> Iterator[Stoke]:
    with Stoke(tmp_path / "data", "--listen", "127.0.0.1:0") as running:
        yield running


def test_a_step_is_decided_upon_then_answered_by_new_instances_and_taken_back_without_a_failed_request(
    stoke: Stoke,
) -> None:
    deploy_slow(stoke)
    stoke.provision("f", 0, {**FAST_POLICY, "minCapacity": 1, "metricTarget": 1.0})
    stoke.await_current("f", 1)
    with Load(stoke.trigger_url("f"), users=1).running() as before:
        before.await_more(20)
        there = {row["instance_id"] for row in stoke.instances("f")}
        began_s = time.time()
        with Load(stoke.trigger_url("f"), users=7).running() as step:
            new = eventually(
                lambda: [row for row in stoke.ready("f") if row["instance_id"] not in there], "a new instance is ready"
            )
            step.await_more(50)
            stoke.await_current("f", 8)
            time_of = {one["at_s"]: one["target"] for one in explained(stoke) if one["at_s"] >= began_s}
    decided_s = min(at_s for at_s, target in time_of.items() if target > 1)
    ready_s = min(row["ready_at_s"] for row in new)
    assert began_s < decided_s < began_s + 1.5
    assert decided_s <= ready_s < began_s + 5.0
    eventually(lambda: stoke.status("f")["target"] <= 4, "half of them are taken back", 90.0)
    assert (before.failures, step.failures) == ({}, {})
    targets = [one["target"] for one in sorted(explained(stoke), key=lambda one: one["at_s"]) if one["at_s"] >= began_s]
    top = targets.index(max(targets))
    assert targets == sorted(targets[:top]) + sorted(targets[top:], reverse=True), "up once and down once"


def explained(stoke: Stoke) -> list[dict[str, float]]:
    decisions: list[dict[str, float]] = stoke.call("GET", f"/stoke/v1/provision/explain?{QUERY}")["decisions"]
    return decisions
