"""Published clients of the Open Inference Protocol against functions that are models, through the gateway."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support import oip
from tests.support.stoke import Stoke


@pytest.fixture(scope="module")
def stoke(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stoke]:
    running = Stoke(tmp_path_factory.mktemp("oip") / "data", "--listen", "127.0.0.1:0").up()
    try:
        yield running
    finally:
        running.down()


@pytest.fixture(scope="module")
def base(stoke: Stoke) -> str:
    return oip.deploy(stoke)


@pytest.mark.parametrize("kind", ["http", "aio"])
def test_every_call_of_tritonclient_is_answered_as_it_expects(base: str, kind: str) -> None:
    printed = oip.run("tritonclient", "calls_tritonclient.py", base, kind)
    assert printed[-1] == "answered 32 at once"
    assert len({line.split()[1] for line in printed if line.startswith("answered")}) >= 20


def test_every_call_of_kserves_rest_client_is_answered_as_it_expects(base: str) -> None:
    assert oip.run("kserve", "calls_kserve.py", base) == [
        "answered health", "answered infer binary binary", "answered infer binary json", "answered infer json binary",
        "answered infer json json", "refused infer 400"]  # fmt: skip


def test_an_instances_metrics_count_what_was_asked(base: str) -> None:
    asked = {"inputs": [{"name": "in", "shape": [2, 1], "datatype": "BYTES", "data": ["a", "b"]}]}
    before = _counted(base)
    answer = httpx.post(f"http://{base}/texts/v2/models/texts/infer", json=asked)
    assert answer.json()["outputs"][0]["data"] == ["a", "b"]
    after = _counted(base)
    names = ("nv_inference_request_success", "nv_inference_count", "nv_inference_exec_count")
    assert [after[name] - before[name] for name in names] == [1, 2, 1]


def _counted(base: str) -> dict[str, float]:
    lines = httpx.get(f"http://{base}/texts/metrics").text.splitlines()
    named = [line.rpartition(" ") for line in lines if "{" in line and "reason" not in line]
    return {name.partition("{")[0]: float(value) for name, _, value in named}
