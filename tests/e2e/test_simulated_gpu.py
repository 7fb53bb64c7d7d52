"""Scaling by GPU load on a machine without a GPU: by the simulated device, which says what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stoke import Load, Stoke, eventually

pytestmark = pytest.mark.alone

# Keeps a processor busy while a request is inside, which is what the simulated device takes for work.
BUSY = """
import time

def handler(environ, start_response):
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        pass
    start_response("200 OK", [])
    return [b"done"]
"""
POLICY = {
    "name": "sm", "metricType": "GPUSmUtilization", "metricTarget": 0.2, "minCapacity": 1, "maxCapacity": 2,
    "stableWindowSeconds": 10, "panicWindowSeconds": 2,
}  # fmt: skip


@pytest.fixture
def stoke(tmp_path: Path) -> Iterator[Stoke]:
    with Stoke(tmp_path / "data", "--listen", "127.0.0.1:0", "--simulated-gpu", "1:16384") as running:
        yield running


def test_gpu_load_scales_out_and_every_figure_is_marked_as_simulated(stoke: Stoke) -> None:
    stoke.deploy("g", {"app.py": BUSY}, instanceType="fc.gpu.tesla.1", gpuMemorySize=4096)
    stoke.provision("g", 1, POLICY)
    stoke.await_current("g", 1)
    assert [card["simulated"] for card in stoke.call("GET", "/stoke/v1/status")["node"]["gpus"]] == [True]
    with Load(stoke.trigger_url("g"), users=3).running() as load:
        status = eventually(lambda: (s := stoke.status("g"))["target"] == 2 and s, "the target follows the load")
    assert load.failures == {}
    assert status["in_force"] == ["sm"]
    # A share of time is between two looks: the first sample of the instance that has just come has none.
    samples = eventually(lambda: _samples(stoke, "g"), "a share of the card's time of each instance")
    assert all(sample["simulated"] for sample in samples)


def _samples(stoke: Stoke, function: str) -> list[dict[str, Any]]:
    """The last sample of each instance; none before each has all figures."""
    samples = [row["sample"] for row in stoke.ready(function)]
    return samples if all(each and each["gpu_sm_utilization"] is not None for each in samples) else []


def test_an_instance_on_a_card_that_is_lost_is_replaced_on_another_and_that_is_seen(tmp_path: Path) -> None:
    with Stoke(tmp_path / "data", "--listen", "127.0.0.1:0", "--simulated-gpu", "2:16384") as stoke:
        stoke.deploy("g", {"app.py": BUSY}, instanceType="fc.gpu.tesla.1", gpuMemorySize=4096)
        stoke.provision("g", 1)
        stoke.await_current("g", 1)
        (before,) = stoke.ready("g")
        assert (before["device"], before["gpu_memory_mib"]) == ("simulated-0", 4096)
        (tmp_path / "data" / "simulated-gpu-0.lost").touch()
        (after,) = eventually(lambda: (r := stoke.ready("g")) and r[0]["device"] == "simulated-1" and r, "another one")
        (node,) = stoke.call("GET", "/stoke/v1/nodes")["nodes"]
        shown = [(d["is_healthy"], d["simulated"], d["promised_mib"], d["instances"]) for d in node["devices"]]
        assert shown == [(False, True, 0, []), (True, True, 4096, [after["instance_id"]])]


def test_more_gpu_memory_than_the_cards_have_is_said(stoke: Stoke) -> None:
    stoke.deploy("g", {"app.py": BUSY}, instanceType="fc.gpu.tesla.1", gpuMemorySize=8192)
    stoke.provision("g", 3)
    stoke.await_current("g", 2)
    error = eventually(lambda: stoke.status("g")["currentError"], "a currentError")
    assert error == (
        "no room for 1 more instance: 8192 MiB of GPU memory asked for; device 0 (simulated): 0 of 16384 MiB left"
    )
