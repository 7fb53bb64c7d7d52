"""Timeline and outcome: how the fleet answered a load, in numbers, and the pages that show them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.demo import not_as_promised
from loadtests.live import Progress, line
from loadtests.outcome import fell_at_s, outcome
from loadtests.page import table
from loadtests.recorder import NameCounts, Span
from loadtests.report import write_report
from loadtests.timeline import Sample, Timeline
from loadtests.watch import parse_sample


def span(second: int, users: int, *, requests: int = 10, new: dict[str, float] | None = None) -> Span:
    counts = NameCounts()
    for _ in range(requests):
        counts.add(8.0, "", cold_start=False)
    return Span(second, second + 1, users, float(users), users, {"POST digits": counts}, new or {})


def burst() -> list[Span]:
    """Ten seconds: users 1 until second 3, 6 until second 7, then 1. A new instance answers at 4.1 s."""
    spans = [span(second, 6 if 3 <= second < 7 else 1) for second in range(10)]
    spans[0] = replace(spans[0], new_instances={"old": 0.1})
    spans[3] = replace(spans[3], rose_at_s=3.0)
    spans[4] = replace(spans[4], new_instances={"new": 4.1})
    return spans


def sample(at_s: float, target: int, current: int, ready_at_s: dict[str, float] | None = None) -> Sample:
    starting, reasons = target - current, (f"stable={target}",)
    return Sample(at_s, target, current, starting, reasons=reasons, ready_at_s=ready_at_s or {})


def fleet() -> Timeline:
    """At rest 2; wanted 8 at 3.5 s, ready at 4.0 s; back at 9.5 s."""
    timeline = Timeline()
    old = {"old": 0.5, "older": 0.5}
    timeline.add(sample(0.5, 2, 2, ready_at_s=old))
    timeline.add(sample(2.9, 2, 2, ready_at_s=old))
    timeline.add(sample(3.5, 8, 2, ready_at_s=old))
    timeline.add(sample(4.2, 8, 8, ready_at_s={**old, "new": 4.0}))
    timeline.add(sample(9.0, 2, 5, ready_at_s=old))
    timeline.add(sample(9.5, 2, 2, ready_at_s=old))
    timeline.add(sample(9.9, 2, 2, ready_at_s=old))
    return timeline


def test_reaction_times_count_from_the_rise_and_from_the_fall_of_the_load() -> None:
    found = outcome(burst(), fleet()).reaction
    assert (found.instances_before, found.instances_peak, found.target_peak) == (2, 8, 8)
    assert found.first_ready_s == pytest.approx(1.0)
    assert found.first_served_s == pytest.approx(1.1)
    assert found.back_s == pytest.approx(2.5)


def test_an_instance_that_was_ready_before_the_rise_is_not_new_however_late_it_answers_first() -> None:
    spans = burst()
    spans[4] = replace(spans[4], new_instances={"older": 4.05})
    spans[6] = replace(spans[6], new_instances={"new": 6.5})
    assert outcome(spans, fleet()).reaction.first_served_s == pytest.approx(3.5)


def test_a_fleet_that_never_grew_has_no_reaction_times() -> None:
    timeline = Timeline()
    timeline.add(sample(0.0, 2, 2))
    found = outcome([span(0, 1), span(1, 6)], timeline).reaction
    assert (found.first_ready_s, found.first_served_s, found.back_s) == (None, None, None)


def test_a_fleet_that_is_still_large_at_the_end_is_not_back() -> None:
    timeline = fleet()
    timeline.add(sample(10.0, 2, 3))
    assert outcome(burst(), timeline).reaction.back_s is None


def test_without_a_watcher_the_requests_are_still_reported() -> None:
    found = outcome(burst(), Timeline())
    assert found.total.requests == 100
    assert found.total.requests_per_s == pytest.approx(10.0)
    assert found.total.p50_ms == pytest.approx(8.0, rel=0.011)
    assert found.reaction.instances_before is None


def test_nothing_recorded_is_said_and_not_reported_as_zero() -> None:
    with pytest.raises(ValueError, match="recorded nothing"):
        outcome([], Timeline())


@pytest.mark.parametrize(
    ("users", "at_s"), [([1, 6, 6, 1], 3), ([6, 6, 6, 0], 3), ([0, 6, 6, 0], 3), ([1, 4, 6], 3), ([0, 0], 1)]
)
def test_the_load_falls_after_the_last_second_above_its_start(users: list[int], at_s: float) -> None:
    assert fell_at_s([span(second, n) for second, n in enumerate(users)]) == at_s


def test_decisions_are_the_changes_of_target_with_their_reasons() -> None:
    changes = fleet().changes
    assert [(c.at_s, c.before, c.after, c.reasons) for c in changes] == [
        (3.5, 2, 8, ("stable=8",)),
        (9.0, 8, 2, ("stable=2",)),
    ]


def test_a_long_watch_keeps_few_samples_and_all_decisions() -> None:
    timeline = Timeline(kept_max=16)
    for i in range(1000):
        timeline.add(sample(i, 2 + (i == 500), 2))
    assert len(timeline.samples) <= 18
    assert timeline.samples[-1].at_s == 999
    assert timeline.target_peak == 3
    assert [(change.before, change.after) for change in timeline.changes] == [(2, 3), (3, 2)]


def test_looks_that_failed_are_counted() -> None:
    timeline = fleet()
    timeline.miss("ConnectError: refused")
    assert outcome(burst(), timeline).looks_missed == 1


@pytest.mark.parametrize(
    ("in_flight", "instance_id", "ready_at_s"),
    [("inFlight", "instanceId", "readyAtS"), ("in_flight", "instance_id", "ready_at_s")],
)
def test_a_look_is_read_in_either_spelling(in_flight: str, instance_id: str, ready_at_s: str) -> None:
    provision = {
        "target": 8,
        "current": 5,
        "starting": 3,
        "currentError": None,
        "in_force": ["p"],
        "reasons": ["panic=7"],
    }
    rows = [
        {instance_id: "a", "kind": "provisioned", "state": "READY", in_flight: 2, ready_at_s: 12.5},
        {instance_id: "b", "kind": "on-demand", "state": "READY", in_flight: 1, ready_at_s: 0},
        {instance_id: "c", "kind": "provisioned", "state": "DRAINING", in_flight: 1},
    ]
    seen = parse_sample(20.0, provision, rows)
    assert (seen.target, seen.current, seen.starting, seen.current_error) == (8, 5, 3, "")
    assert (seen.ready, seen.on_demand, seen.draining, seen.in_flight) == (2, 1, 1, 4)
    assert (seen.in_force, seen.reasons) == (("p",), ("panic=7",))
    assert seen.ready_at_s == {"a": 12.5, "b": 20.0}


def test_the_report_is_one_page_that_loads_nothing_and_the_same_as_json(tmp_path: Path) -> None:
    report = write_report(tmp_path, "Burst <1>", {"shape": "burst"}, burst(), fleet())
    page = report.html.read_text()
    assert "Burst &lt;1&gt;" in page
    assert "<script src" not in page
    assert "<link" not in page
    assert "stable=8" in page
    values = json.loads(report.json.read_text())
    assert values["total"]["requests"] == 100
    assert values["reaction"]["instances_peak"] == 8
    assert [row["target"] for row in values["fleet"]] == [2, 2, 8, 8, 2, 2, 2]
    assert sum(row["requests"] for row in values["load"]) == 100
    assert values["changes"][0]["reasons"] == ["stable=8"]


def test_what_goes_into_a_table_is_escaped() -> None:
    assert "<script>" not in table(["<script>"], [["<script>", "1"]], numbers_from=1)


def test_a_line_of_progress_reads_like_a_sentence() -> None:
    progress = Progress("burst", 12.0, span(0, 8, requests=812), sample(1.0, 8, 5), 0)
    expected = "burst · 8 users · target 8 · current 5 · 3 starting · 8.0 in flight · 812 requests/s · 0 failed"
    assert line(progress) == f"  12 s  {expected}"


def test_the_demo_says_what_was_not_as_promised() -> None:
    good = outcome(burst(), fleet())
    assert not_as_promised(good) == []
    failed = replace(good, total=replace(good.total, failures=3))
    assert not_as_promised(failed) == ["3 of 100 requests failed; none should"]
    flat = replace(good, reaction=replace(good.reaction, instances_peak=2))
    assert "at most; more than 2" in not_as_promised(flat)[0]
    stuck = replace(good, reaction=replace(good.reaction, back_s=None))
    assert "did not come back to 2" in not_as_promised(stuck)[0]
