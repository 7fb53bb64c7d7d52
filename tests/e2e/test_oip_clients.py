"""Published clients of the Open Inference Protocol against functions that are models, through the gateway."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import oip
from tests.support.stoke import Stoke, eventually


@pytest.fixture(scope="module")
def stoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    with Stoke(tmp_path_factory.mktemp("oip") / "data", "--listen", "127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="module")
def base(stoke: Stoke) -> str:
    return oip.deploy(stoke)


@pytest.mark.parametrize("kind", ["http", "aio"])
def test_every_call_of_tritonclient_is_answered_as_it_expects(base: str, kind: str) -> None:
    printed = oip.run("calls_tritonclient.py", base, kind)
    assert printed[-1] == "answered 32 at once"
    assert len({line.split()[1] for line in printed if line.startswith("answered")}) >= 20


def test_every_call_of_kserves_rest_client_is_answered_as_it_expects(base: str) -> None:
    assert oip.run("calls_kserve.py", base) == [
        "answered health", "answered infer binary binary", "answered infer binary json", "answered infer json binary",
        "answered infer json json", "refused infer 400"]  # fmt: skip


def test_every_call_of_the_protocols_own_client_is_answered_as_it_expects(base: str) -> None:
    printed = oip.run("calls_open_inference.py", base)
    assert printed == ["answered synchronous calls", "refused 404 and 400", "answered an asynchronous call"]


def test_perf_analyzer_runs_its_concurrency_sweep(base: str, tmp_path: Path) -> None:
    """Windows are of 20 requests: what counts is that it asks, and reads our statistics, not its figures."""
    report = tmp_path / "report.csv"
    printed = oip.analyze(
        base, "adder", "--concurrency-range", "1:3:2", "--measurement-mode", "count_windows",
        "--measurement-request-count", "20", "--measurement-interval", "200", "--max-trials", "5",
        "--stability-percentage", "999", "-f", str(report),
    )  # fmt: skip
    rows = list(csv.DictReader(report.read_text().splitlines()))
    assert [row["Concurrency"] for row in rows] == ["1", "3"], printed
    assert all(float(row["Inferences/Second"]) > 0 for row in rows), printed
    assert "Execution count" in printed, printed  # what it read of our statistics


def test_an_instances_metrics_count_what_was_asked(base: str) -> None:
    asked = {"inputs": [{"name": "in", "shape": [2, 1], "datatype": "BYTES", "data": ["a", "b"]}]}
    before = _counted(base)
    answer = httpx.post(f"http://{base}/texts/v2/models/texts/infer", json=asked)
    assert answer.json()["outputs"][0]["data"] == ["a", "b"]
    after = _counted(base)
    names = ("nv_inference_request_success", "nv_inference_count", "nv_inference_exec_count")
    assert [after[name] - before[name] for name in names] == [1, 2, 1]


def test_an_instance_whose_model_is_not_ready_fails_its_health_check(stoke: Stoke, base: str) -> None:
    check = {"httpGetUrl": "/v2/health/ready", "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1}
    stoke.deploy("watched", oip.adder(), handler="./", customHealthCheckConfig=check)
    stoke.provision("watched", 1)
    stoke.await_current("watched", 1)
    (first,) = stoke.ready("watched")
    httpx.post(f"http://{base}/watched/v2/repository/models/adder/unload").raise_for_status()
    eventually(
        lambda: [row["instance_id"] for row in stoke.ready("watched")] not in ([], [first["instance_id"]]),
        "another instance takes the place of the one that failed",
    )


def _counted(base: str) -> dict[str, float]:
    lines = httpx.get(f"http://{base}/texts/metrics").text.splitlines()
    named = [line.rpartition(" ") for line in lines if "{" in line and "reason" not in line]
    return {name.partition("{")[0]: float(value) for name, _, value in named}
