"""The benchmarks run, for a moment each, so that their figures can be had at any time. Nothing is timed here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests import engine
from tests.support.stoke import ROOT

pytestmark = pytest.mark.long


def run(module: str, out: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"loadtests.bench.{module}", "--json", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_the_footprint_weighs_each_part_and_each_instance(tmp_path: Path) -> None:
    found = run("footprint", tmp_path / "f.json", "--instances", "1", "--settle-s", "0.2")
    assert {"supervisor", "control-plane", "gateway", "node", "store"} <= set(found["nothing deployed"])
    (instance,) = found["each instance"].values()
    assert instance["pss_mib"] > 0


def test_the_cold_start_is_told_for_a_fork_a_fresh_interpreter_and_a_bare_server(tmp_path: Path) -> None:
    found = run("coldstart", tmp_path / "c.json", "--rounds", "1")
    assert [len(found[name]) for name in ("zygote_s", "fresh_s", "bare_s")] == [1, 1, 1]
    assert found["times_faster"] > 0


def test_a_container_is_launched_beside_one_that_is_made_by_hand(tmp_path: Path) -> None:
    if why := engine.why_not():
        pytest.skip(why)
    found = run("containers", tmp_path / "d.json", "--rounds", "2")
    assert found["rounds"] == 2
    assert found["node_median_s"] > 0
    assert found["ratio"] > 0


def test_the_phases_of_a_cold_start_add_up_for_each_way_to_start(tmp_path: Path) -> None:
    found = run("coldstart_phases", tmp_path / "p.json", "--rounds", "1", "--functions", "digits", "mlp")
    for launches in found.values():
        assert list(launches) == ["function's zygote", "plain zygote", "fresh interpreter"]
        assert all(min(value for name, value in one.items() if name != "rest_s") >= 0 for (one,) in launches.values())
        assert all(one["session_s"] > 0 and one["ratio"] > 1 for (one,) in launches.values())
        assert launches["function's zygote"][0]["import_s"] == 0


def test_the_fleet_bench_tells_of_each_kind_of_tick(tmp_path: Path) -> None:
    found = run("fleet", tmp_path / "l.json", "--functions", "20", "--instances", "60", "--repetitions", "2")
    assert (found["functions"], found["instances"]) == (20, 60)
    assert [cost["functions"] for cost in found["ticks"].values()] == [0, 1, 20]


def test_the_whole_path_is_measured_for_both_kinds_of_handler_and_a_model(tmp_path: Path) -> None:
    found = run("path", tmp_path / "p.json", "--rounds", "1", "--seconds", "1")
    assert {"stoke", "stoke, sync handler", "stoke, model"} <= set(found["median"])
    assert all(each["requests_per_s"] > 0 for each in found["median"].values())
    assert ("KServe" in found["median"]) is not ("scripts/install-rivals" in found["left_out"].get("KServe", ""))
    assert (found["model_ratio_to_kserve"] is None) is ("KServe" in found["left_out"])


def test_a_slot_that_moves_between_gateways_is_told_apart_from_one_that_is_there(tmp_path: Path) -> None:
    found = run("moves", tmp_path / "m.json", "--rounds", "6", "--rest-ms", "10")
    assert (found["moves"], len(found["each"]["with_move_s"]), len(found["each"]["without_move_s"])) == (6, 6, 18)
    assert found["with_move_ms"]["p50"] > found["without_move_ms"]["p50"]


def test_batching_is_compared_with_a_bare_loop_by_the_batches_that_came_about(tmp_path: Path) -> None:
    found = run("batching", tmp_path / "b.json", "--rounds", "1", "--seconds", "1")
    assert found["mean_batch"] > 1
    assert min(found["ratio_to_loop"], found["ratio_to_best_loop"], found["requests_per_s"]) > 0


def test_ten_times_the_load_is_answered_with_what_fits_and_refusals_that_say_when_to_come_back(tmp_path: Path) -> None:
    found = run("overload", tmp_path / "o.json", "--seconds", "3")
    for phase in ("uncontended", "overloaded"):
        seen = found[phase]
        assert set(seen["statuses"]) <= {"200", "429", "503"}
        assert (seen["broken"], seen["refusals_without_retry_after"]) == (0, 0)
        assert sum(seen["statuses"].values()) == seen["sent"]
    assert found["overloaded"]["statuses"]["429"] > found["overloaded"]["statuses"]["200"] > 0
    assert found["accepted_p99_ratio"] > 0
    memory = found["resident_mib"]
    assert memory["most"] - memory["first"] < 10.0


def test_the_first_request_from_zero_is_timed_from_the_readiness_of_its_instance(tmp_path: Path) -> None:
    found = run("release", tmp_path / "z.json", "--rounds", "3")
    assert found["rounds"] == 3
    assert 0 < found["p50_ms"] <= found["most_ms"]


def test_a_large_registry_is_asked_weighed_and_started_beside_a_small_one(tmp_path: Path) -> None:
    small = ("--functions", "50", "--rounds", "2", "--starts", "1", "--settle-s", "0.1")
    found = run("registry", tmp_path / "r.json", *small)
    assert found["latency"]["invoke the warm function"]["ratio"] > 0
    assert {name: routes["routes"] for name, routes in found["routes"].items()} == {
        "10 functions": 21,
        "50 functions": 101,
    }, "a function and a trigger each, and the one that is invoked"
    for name in ("10 functions", "50 functions"):
        assert len(found["start_s"][name]["first_invocation"]) == len(found["gateway_restart_s"][name]) == 1
        assert {"control-plane", "gateway"} <= set(found["memory_mib"][name])


def test_asynchronous_invocations_are_counted_as_they_are_accepted_and_as_they_end(tmp_path: Path) -> None:
    small = ("--events", "20", "--rounds", "1", "--instances", "1", "--connections", "2")
    found = run("asynchronous", tmp_path / "a.json", *small)
    assert set(found["median"]) == {"accepted", "executed", "both at once"}
    assert all(each["per_s"] > 0 and each["cpu_us_each"]["gateway"] >= 0 for each in found["median"].values())


def test_several_gateways_are_measured_beside_one(tmp_path: Path) -> None:
    small = ("--rounds", "1", "--seconds", "0.5", "--connections", "4", "--instances", "1")
    found = run("gateways", tmp_path / "g.json", *small)
    assert set(found["median"]) == {"1", "2"}
    assert all(each["requests_per_s"] > 0 and each["gateway_cpu_us_each"] >= 0 for each in found["median"].values())


def test_added_latency_is_told_for_each_way_beside_the_straight_one(tmp_path: Path) -> None:
    found = run("latency", tmp_path / "l.json", "--rounds", "1", "--seconds", "1", "--per-s", "50")
    assert {"gateway", "gateway, 200 functions"} <= set(found["added_ms"])
    assert all(each["p99_ms"] >= each["p50_ms"] > 0 for each in found["median"].values())


def test_large_bodies_are_measured_each_way_with_the_most_memory(tmp_path: Path) -> None:
    found = run("bodies", tmp_path / "b.json", "--rounds", "1", "--seconds", "0.2", "--stream-mib", "16")
    assert set(found["cases"]) == {"1 MiB up", "1 MiB down", "16 MiB stream up", "16 MiB stream down"}
    assert 0 < found["peak_resident_mib"]["gateway"] < 150
